"""What sites take beside pods in flight: a pod takes one node, and no more than one node has."""

import pytest

from scheduler.model.demand.facts import InFlight
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fit.caveats import NOTE_IN_FLIGHT_BOUND
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, Raw, demand, facts_of, grant, nodes, site, workload


def fleet_with(rows: Raw, *in_flight: InFlight, may_compile: bool) -> Fleet:
    facts = facts_of(site("m1", rows), grant("m1"), in_flight=in_flight)
    return Fleet([facts], may_compile=may_compile)


def flight(replicas: int, name: str = "x", **requests: int) -> InFlight:
    return InFlight(workload=f"ns/{name}", replicas=replicas, requests={"pods": 1, **requests})


def asking(replicas: int, cpu: str) -> Raw:
    raw = workload(replicas)
    raw["spec"]["demand"]["requests"] = {"cpu": cpu}
    return raw


@pytest.mark.parametrize("may_compile", [True, False])
@pytest.mark.parametrize(
    ("in_flight", "cpu", "fits"),
    [
        ([flight(1)], "10", 4),  # it asks no CPU
        ([flight(1, cpu=6000)], "10m", 439),  # its node loses one of 110 pods
        ([flight(1, cpu=15999)], "10m", 330),
        ([flight(1, cpu=16000)], "10", 3),
        ([flight(4, cpu=7000)], "10", 0),
        ([flight(2, cpu=2000), flight(1, "y", cpu=7000)], "10", 3),
        ([flight(2, cpu=4000), flight(1, "y", cpu=7000)], "10", 2),
    ],
)
def test_pods_in_flight_cost_what_their_worst_nodes_lose(
    in_flight: list[InFlight], cpu: str, fits: int, *, may_compile: bool
) -> None:
    fleet = fleet_with(nodes(4, cpu="16"), *in_flight, may_compile=may_compile)
    if fits:
        assert choose(demand(asking(fits, cpu)), fleet, now=NOW).phase == "Placed"
    assert choose(demand(asking(fits + 1, cpu)), fleet, now=NOW).phase == "Waiting"


def test_a_bound_is_named_where_there_are_too_many_pods_in_flight_to_search() -> None:
    many = [flight(2, f"w{number}", cpu=900 + number) for number in range(9)]
    notes = {
        choose(demand(asking(9, "8")), fleet, now=NOW).notes
        for fleet in (
            fleet_with(nodes(4, cpu="16"), *many, may_compile=each) for each in (True, False)
        )
    }
    assert notes == {(NOTE_IN_FLIGHT_BOUND,)}


@pytest.mark.parametrize("in_flight", [[flight(4, cpu=7000)], []])
def test_an_explanation_says_that_room_waits_for_a_report(in_flight: list[InFlight]) -> None:
    asked = demand(asking(5, "10"))
    explained = explain(asked, fleet_with(nodes(4), *in_flight, may_compile=True), now=NOW)
    [fit] = [one for one in explained.sites[0].verdicts if one.rule == "fit"]
    assert ("waiting for the site to report what was just sent" in fit.sentence) == bool(in_flight)
    assert "waiting for the site" not in explained.decision.line


@pytest.mark.parametrize("may_compile", [True, False])
@pytest.mark.parametrize(
    ("cpu", "in_flight", "waits"),
    [
        ("16", [flight(4, cpu=7000)], True),
        ("16", [flight(1, cpu=16000)], True),
        ("16", [], False),
        ("1", [flight(4, cpu=7000)], False),  # nothing would fit there without them either
    ],
)
def test_the_line_says_that_a_report_may_give_room(
    cpu: str, in_flight: list[InFlight], *, waits: bool, may_compile: bool
) -> None:
    fleet = fleet_with(nodes(4, cpu=cpu), *in_flight, may_compile=may_compile)
    decision = choose(demand(asking(5, "10")), fleet, now=NOW)
    assert decision.phase == "Waiting"
    text = "; waiting for the site to report what was just sent: m1"
    assert decision.line.endswith(text) == waits
