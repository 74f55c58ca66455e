"""What sites can promise to a grid: who gives way, who stays and why, and what never counts."""

from typing import Any

import pytest

from scheduler.cli.asking.whatif_text import format_whatif
from scheduler.whatif.scenario.changes import ScenarioError, ShedPower
from scheduler.words.catalogue import catalogue_of
from tests.support.sites import Raw, nodes, site, workload
from tests.support.whatifs import changes_of, copy_of, unplaced, what_if

PUE = {"energy": {"pue": 1.5, "gridZone": "CN-GD"}}
ROOM = site("m2", nodes(40))


def grid(answer: dict[str, Any]) -> dict[str, Any]:
    (one,) = answer["grid"]
    return dict(one)


def gives(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["workload"], one["replicas"]) for one in grid(answer)["moves"]]


def each_kilowatts(*sites: Raw) -> float:
    """What one replica draws at m1."""
    copy = copy_of(*sites, workload(1, placed={"m1": 1}))
    return float(grid(what_if(copy, "grid m1=100%"))["drawnKilowatts"])


def test_the_lowest_priority_gives_way_first_and_no_more_than_is_asked() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        ROOM,
        workload(4, name="high", priority=10, placed={"m1": 4}),
        workload(4, name="low", priority=1, placed={"m1": 4}),
    )
    answer = what_if(copy, "grid m1=75%/3h")
    found = grid(answer)
    assert gives(answer) == [("ns/low", 4), ("ns/high", 2)]
    assert found["met"]
    assert found["drawnOrigin"] == "modelled"
    assert found["promisedKilowatts"] == pytest.approx(0.75 * found["drawnKilowatts"])
    assert found["promisedKwh"] == pytest.approx(3 * found["promisedKilowatts"])
    assert [(one["workload"], one["to"], one["replicas"]) for one in answer["moves"]] == [
        ("ns/high", "m2", 2),
        ("ns/low", "m2", 4),
    ]
    assert unplaced(answer) == []


def test_only_that_is_promised_for_which_others_have_room() -> None:
    copy = copy_of(
        site("m1", nodes(0)), site("m2", nodes(3)), workload(8, name="web", placed={"m1": 8})
    )
    answer = what_if(copy, "grid m1=50%")
    found = grid(answer)
    assert not found["met"]
    assert 0 < found["promisedKilowatts"] <= 3 / 8 * found["drawnKilowatts"] + 1e-9
    assert "no other site that its rules admit has room" in found["lines"][-1]
    assert unplaced(answer) == []  # what cannot move stays where it is


def test_rules_hold_and_what_stays_is_named() -> None:
    here = {"siteSelector": {"matchLabels": {"kind": "edge"}}}
    copy = copy_of(
        site("m1", nodes(0), labels={"kind": "edge"}),
        ROOM,
        workload(2, name="bound", placement=here, placed={"m1": 2}),
        workload(2, name="copies", placement={"strategy": "Duplicated"}, placed={"m1": 2}),
    )
    found = grid(what_if(copy, "grid m1=10kW"))
    assert (found["moves"], found["promisedKilowatts"], found["met"]) == ([], 0, False)
    whys = {one["workload"]: one["why"] for one in found["stays"]}
    assert "no other site" in whys["ns/bound"]
    assert "whole copy" in whys["ns/copies"]


def test_a_zone_does_not_move_work_within_itself() -> None:
    inside = {"energy": {"gridZone": "CN-GD"}}
    copy = copy_of(
        site("m1", nodes(0), spec=inside),
        site("m2", nodes(9), spec=inside),
        workload(2, name="web", placed={"m1": 2}),
    )
    assert grid(what_if(copy, "grid m1=100%"))["met"]
    found = grid(what_if(copy, "grid zone:CN-GD=100%"))
    assert (found["sites"], found["promisedKilowatts"]) == (["m1", "m2"], 0)


def test_an_unknown_pue_promises_less_never_more() -> None:
    known = each_kilowatts(site("m1", nodes(0), spec=PUE), ROOM)
    unknown = each_kilowatts(site("m1", nodes(0)), ROOM)
    assert known == pytest.approx(1.5 * unknown, rel=1e-4)


def test_a_share_is_one_of_what_the_site_reports_where_it_does() -> None:
    power = {"watts": 4000, "origin": "measured"}
    copy = copy_of(site("m1", nodes(0), spec=PUE, power=power), ROOM, workload(1, placed={"m1": 1}))
    found = grid(what_if(copy, "grid m1=25%"))
    assert (found["drawnOrigin"], found["drawnKilowatts"]) == ("reported", 6.0)
    assert found["askedKilowatts"] == 1.5
    assert found["promisedKilowatts"] < 1.5


def test_nothing_ends_for_a_promise() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        site("m2", nodes(0)),
        workload(1, name="web", priority=10, preemption="LowerPriority", placed={"m1": 1}),
        workload(1, name="lower", placed={"m2": 1}),
    )
    answer = what_if(copy, "grid m1=100%")
    assert (gives(answer), answer["givesWay"]) == ([], [])


def test_a_freeze_and_a_site_without_work_promise_nothing() -> None:
    frozen = copy_of(
        site("m1", nodes(0)), ROOM, workload(1, placed={"m1": 1}), freeze="by an operator"
    )
    assert "by an operator" in grid(what_if(frozen, "grid m1=100%"))["lines"][-1]
    assert grid(what_if(frozen, "grid m1=100% thaw"))["met"]
    empty = grid(what_if(copy_of(site("m1", nodes(4)), ROOM), "grid m1=5kW"))
    assert (empty["promisedKilowatts"], empty["met"]) == (0, False)
    assert "no work of Kapok runs there" in empty["lines"][-1]


def test_the_promise_is_said_in_both_languages() -> None:
    copy = copy_of(site("m1", nodes(0)), site("m2"), workload(1, name="web", placed={"m1": 1}))
    lines = grid(what_if(copy, "grid m1=50%/2h"))["lines"]
    assert lines[0].startswith("grid m1: 0 of ")
    assert lines[1].startswith("grid m1 keeps ns/web: no other site")
    assert all(line in format_whatif(what_if(copy, "grid m1=50%/2h")) for line in lines)
    said = [catalogue_of("zh").say(line) for line in lines]
    assert said[0] != lines[0]
    assert "kWh" in said[0]
    assert "保留 ns/web" in said[1]
    assert "没有" in said[1]


def test_the_words_of_a_request() -> None:
    assert changes_of("grid m1=25%/3h zone:CN-GD=40kW") == (
        ShedPower(kind="site", place="m1", ratio=0.25, hours=3.0),
        ShedPower(kind="zone", place="CN-GD", kilowatts=40.0),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("grid m1=40", "neither of the units kW and %"),
        ("grid m1=40000W", "neither of the units kW and %"),
        ("grid m1=40MW", "neither of the units kW and %"),
        ("grid m1=140%", "from 0 to 100"),
        ("grid m1=0kW", "above 0"),
        ("grid m1=-5kW", "from 0 to"),
        ("grid m1=nankW", "from 0 to"),
        ("grid m1=5kW/3", "write hours"),
        ("grid m1=5kW/0h", "above 0"),
        ("grid m1=5kW/1000h", "from 0 to 168"),
        ("grid area:x=5kW", "zone:NAME"),
        ("grid m1", "grid gz-edge=25%/3h"),
        ("grid m3=5kW", "no site 'm3'"),
        ("grid zone:CN-GX=5kW", "no site has the grid zone"),
        ("grid m1=5kW m1=6kW", "two different values"),
        ("grid m1=5kW zone:CN-GD=5kW", "m1 is asked twice, by m1 and by zone:CN-GD"),
        ("grid m1=5kW drain m1", "drained or lost besides"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_by_name(words: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        what_if(copy_of(site("m1", nodes(0), spec=PUE), ROOM), words)
    assert said in str(refused.value)
