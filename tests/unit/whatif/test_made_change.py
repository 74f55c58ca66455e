"""The smallest change of a workload, made in a copy: what "show me" shows."""

import pytest

from scheduler.whatif.scenario.changes import MakeChange, ScenarioError
from tests.support.sites import nodes, site, workload
from tests.support.whatifs import copy_of, unplaced, what_if

ELSEWHERE = {"siteSelector": {"matchLabels": {"kind": "new"}}}


def test_the_smallest_change_places_the_work_and_nothing_else_moves() -> None:
    copy = copy_of(
        site("m1", nodes(4)),
        workload(2, name="stuck", placement=ELSEWHERE),
        workload(1, name="runs", placed={"m1": 1}),
    )
    assert [one["workload"] for one in what_if(copy, "load 1")["waiting"]] == ["ns/stuck"]
    answer = what_if(copy, "fix ns/stuck")
    assert (answer["before"]["notPlaced"], answer["after"]["notPlaced"]) == (1, 0)
    assert answer["starts"] == [{"workload": "ns/stuck", "to": "m1", "replicas": 2}]
    assert answer["moves"] == answer["ends"] == []
    assert any("workload.siteSelector" in note for note in answer["notes"])


def test_a_change_is_made_by_its_kind_and_target_as_explain_lists_it() -> None:
    copy = copy_of(site("m1", nodes(1)), workload(3, name="large"))
    asked = MakeChange(workload="ns/large", kind="workload.replicas", target="ns/large")
    answer = what_if(copy, "", asked)
    assert answer["starts"] == [{"workload": "ns/large", "to": "m1", "replicas": 1}]
    assert unplaced(answer) == []


def test_a_change_that_lets_others_give_way_ends_them() -> None:
    copy = copy_of(
        site("m1", nodes(2, cpu="0")),
        workload(2, name="low", placed={"m1": 2}),
        workload(2, name="high", priority=10),
    )
    asked = MakeChange(
        workload="ns/high", kind="workload.preemption", target="ns/high", becomes="LowerPriority"
    )
    answer = what_if(copy, "", asked)
    assert [(one["workload"], one["for"]) for one in answer["givesWay"]] == [("ns/low", "ns/high")]
    assert unplaced(answer) == ["ns/low"]


def test_a_change_that_does_not_help_now_is_refused_by_name() -> None:
    copy = copy_of(site("m1", nodes(4)), workload(2, name="stuck", placement=ELSEWHERE))
    with pytest.raises(ScenarioError, match="no smallest change with which it is placed"):
        what_if(copy, "", MakeChange(workload="ns/stuck", kind="site.add", target="x"))
    with pytest.raises(ScenarioError, match="no workload 'ns/stuk'; did you mean ns/stuck"):
        what_if(copy, "fix ns/stuk")
    with pytest.raises(ScenarioError, match="write NAMESPACE/NAME"):
        what_if(copy, "fix stuck")
