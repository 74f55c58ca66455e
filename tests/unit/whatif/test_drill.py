"""What a drill would do: expected order times by detection, own times and rate, and refusals."""

from typing import Any

import msgspec
import pytest

from scheduler.model.drills.drill import MAX_DRILL_SECONDS
from scheduler.whatif.demands import no_progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.questions import DrillQuestion, Question, answer_question
from scheduler.whatif.scenario.changes import ScenarioError
from scheduler.whatif.survival.drill import ask_drill
from tests.support.sites import Raw, nodes, site, workload
from tests.support.whatifs import copy_of

SITES = (site("m1", nodes(0)), site("m2", nodes(9)))


def drill(copy: FleetCopy, seconds: float = 600.0) -> dict[str, Any]:
    before = msgspec.json.encode(copy)
    answer = ask_drill(copy, "m1", seconds)
    assert msgspec.json.encode(copy) == before
    msgspec.json.encode(answer)  # it can be sent
    return answer


def policy(kind: str, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    metadata = {"name": "p"} | ({"namespace": "ns"} if kind == "PlacementPolicy" else {})
    return {"apiVersion": "kapok.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def test_orders_are_expected_when_the_site_is_silent_and_each_waits_for_its_own_time() -> None:
    copy = copy_of(
        *SITES,
        policy("PlacementPolicy", failover={"afterSeconds": 60}, recovery={"rtoSeconds": 90}),
        policy("ClusterPlacementPolicy", failover={"afterSeconds": 50}),
        workload(1, name="soon", placed={"m1": 1}, failover={"afterSeconds": 0}),
        workload(1, name="named", placed={"m1": 1}, policyRef={"name": "p"}),
        workload(2, name="late", placed={"m1": 2}, recovery={"rtoSeconds": 100, "rpoSeconds": 7}),
        failover_after_seconds=120.0,
    )
    answer = drill(copy)
    assert answer["detectionSeconds"] == 45.0
    assert answer["survives"] is True
    found = {one["workload"]: one for one in answer["moves"]}
    assert found["ns/soon"]["orderSeconds"] == 50.0, "the cluster's policy asks for more"
    assert found["ns/named"]["orderSeconds"] == 60.0
    assert (found["ns/named"]["rtoSeconds"], found["ns/named"]["rto"]) == (90, "unknown")
    late = found["ns/late"]
    assert (late["from"], late["to"], late["replicas"]) == ("m1", ["m2"], 2)
    assert late["orderSeconds"] == 50.0, "a cluster's time replaces that of the settings"
    assert (late["rpoSeconds"], late["readySeconds"]) == (7, None)
    assert answer["stuck"] == []


def test_orders_are_spread_by_the_rate_of_evictions() -> None:
    works = [
        workload(
            1, name=f"w{number}", placed={"m1": 1}, priority=-number, recovery={"rtoSeconds": 47}
        )
        for number in range(8)
    ]
    copy = copy_of(*SITES, *works, failover_after_seconds=0.0, evictions_per_second=1.0)
    answer = drill(copy)
    assert [one["workload"] for one in answer["moves"]] == [f"ns/w{n}" for n in range(8)]
    assert [one["orderSeconds"] for one in answer["moves"]] == [45.0] * 5 + [46.0, 47.0, 48.0]
    assert answer["rto"] == {"met": 0, "missed": 1, "unknown": 7}


def test_what_would_stay_is_named_with_its_reason() -> None:
    copy = copy_of(
        *SITES,
        workload(1, name="manual", placed={"m1": 1}, failover={"mode": "Manual"}),
        workload(1, name="slow", placed={"m1": 1}, failover={"afterSeconds": 900}),
        workload(99, name="large", placed={"m1": 99}),
        failover_after_seconds=60.0,
    )
    answer = drill(copy)
    assert answer["moves"] == []
    stuck = {one["workload"]: one["reason"] for one in answer["stuck"]}
    assert stuck["ns/manual"].startswith("spec.failover.mode is Manual")
    assert stuck["ns/slow"] == "its failover begins after 900 s of silence"
    assert "ns/large" in stuck
    assert answer["stuckCount"] == 3


@pytest.mark.parametrize(
    ("name", "seconds", "refusal"),
    [
        ("m11", 600.0, "UnknownSite: there is no Site 'm11'; did you mean m1?"),
        ("m1", MAX_DRILL_SECONDS + 1, "BadLength"),
        ("m1", 45.0, "TooShort: m1 counts as silent after 45 s"),
        ("quiet", 600.0, "SiteSilent"),
        ("hub", 600.0, "OwnSite"),
    ],
)
def test_a_drill_that_would_be_refused_says_why(name: str, seconds: float, refusal: str) -> None:
    silent = site("quiet", nodes(3))
    silent["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "Silent"}]
    own = site("hub", nodes(3))
    own["metadata"]["labels"] = {"kapok.dev/runs-hub": "true"}
    with pytest.raises(ScenarioError, match=f"^{refusal}"):
        ask_drill(copy_of(*SITES, silent, own), name, seconds)


def test_a_drill_in_a_freeze_would_move_nothing() -> None:
    with pytest.raises(ScenarioError, match="EvictionsFrozen: nothing would be replaced: works"):
        ask_drill(copy_of(*SITES, freeze="works at the exchange"), "m1", 600.0)


def test_the_question_is_one_of_those_that_another_process_answers() -> None:
    copy = copy_of(*SITES, workload(1, name="a", placed={"m1": 1}))
    asked = msgspec.json.decode(b'{"type": "drill", "site": "m1", "seconds": 600}', type=Question)
    assert asked == DrillQuestion(site="m1", seconds=600.0)
    answer = answer_question(asked, copy, no_progress)
    assert answer["dryRun"] is True
    for wrong in (b'{"type": "drill", "site": "m1", "seconds": 0}', b'{"type": "drill"}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Question)
