"""Room that is reserved for who waits long: for whom, against whom, and until when."""

import asyncio
from dataclasses import dataclass, field

import pytest

from scheduler.control.ports.hub import GRANTS, SITES, WatchEvent
from scheduler.control.queue.reservations import (
    MAX_RESERVATIONS,
    MAX_WINDOWS_PER_SITE,
    ReservationChoice,
    Reservations,
)
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.sites import Sites
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.queue.reservation import choose_reservation
from tests.support.fake_clock import FakeClock
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    workload,
)

AFTER = 600.0
A, B = ("ns", "a"), ("ns", "b")


@dataclass
class Scene:
    """Sites by name, and where each workload would have room reserved."""

    names: tuple[str, ...] = ("m1", "m2")
    clock: FakeClock = field(default_factory=FakeClock)
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    wanted: dict[WorkKey, list[dict[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        registry = HubObjects(NullTelemetry(), lambda *_: None)
        self.sites = Sites(
            objects=registry,
            clock=self.clock,
            silent_after_seconds=1e9,
            facts_sink=self.told,
        )
        self.kept = Reservations(
            sites=self.sites, clock=self.clock, after_seconds=AFTER, choose_sites=self.where
        )
        for name in self.names:
            registry.apply_event(SITES, WatchEvent("ADDED", site(name, nodes(4))))
            registry.apply_event(GRANTS, WatchEvent("ADDED", grant(name, name=f"of-{name}")))
            self.sites.admit(name)

    def told(self, name: str, facts: SiteFacts | None) -> None:
        assert facts is not None, name
        self.facts[name] = facts

    def where(self, key: WorkKey, besides: frozenset[str]) -> ReservationChoice:
        choices = self.wanted.get(key, [])
        free = (one for one in choices if not besides & one.keys())
        return demand(workload(2, name=key[1])), next(free, {})

    def reserved(self) -> dict[str, int]:
        """Replicas in flight by site."""
        sums = {name: sum(i.replicas for i in one.in_flight) for name, one in self.facts.items()}
        return {name: count for name, count in sums.items() if count}

    def wait(self, key: WorkKey, *places: dict[str, int], priority: int = 0) -> None:
        self.wanted[key] = list(places)
        self.kept.set_waiting(key, is_waiting=True, priority=priority)

    def passes(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))
        self.kept.update()


def test_who_waited_long_enough_has_room_that_doubles_with_each_window() -> None:
    scene = Scene()
    scene.wait(A, {"m1": 2})
    scene.passes(AFTER - 1)
    assert scene.reserved() == {}
    scene.passes(11)
    assert scene.reserved() == {"m1": 2}
    assert scene.facts["m1"].in_flight[0].workload == "reserved for ns/a"
    scene.passes(AFTER)
    assert scene.reserved() == {"m1": 4}
    scene.passes(AFTER)
    assert scene.reserved() == {"m1": 8}


def test_it_is_free_for_whom_it_is_meant_and_for_a_higher_priority_only() -> None:
    scene = Scene()
    scene.wait(A, {"m1": 2}, priority=5)
    scene.passes(AFTER)
    level = scene.kept.aged_priority(A)
    assert level == 105
    for key, priority, expected in ((A, 5, {}), (B, level, {"m1": 2}), (B, level + 1, {})):
        with scene.kept.released_for(key, priority):
            assert scene.reserved() == expected
        assert scene.reserved() == {"m1": 2}


@pytest.mark.parametrize("how", ["placed", "edited", "site", "gone"])
def test_it_is_given_back_and_others_hear_of_it(how: str) -> None:
    scene = Scene()
    scene.wait(A, {"m1": 2})
    scene.passes(AFTER)
    match how:
        case "edited":
            scene.kept.set_waiting(A, is_waiting=True, generation=2)
        case "site":
            scene.kept.forget_site("m2")
            assert scene.reserved() == {"m1": 2}
            scene.kept.forget_site("m1")
        case _:
            scene.kept.set_waiting(A, is_waiting=False)
    assert scene.reserved() == {}
    assert scene.sites.take_freed() == {"m1"}
    scene.passes(60)
    assert scene.reserved() == ({"m1": 2} if how in ("edited", "site") else {})


def test_what_came_to_nothing_for_long_moves_on_to_the_next_site_and_round_again() -> None:
    scene = Scene()
    scene.wait(A, {"m1": 2}, {"m2": 2})
    scene.passes(AFTER)
    assert scene.reserved() == {"m1": 2}
    scene.passes(MAX_WINDOWS_PER_SITE * AFTER)
    assert scene.reserved() == {"m2": 2}
    scene.passes(MAX_WINDOWS_PER_SITE * AFTER)
    scene.passes(60)
    assert scene.reserved() == {"m1": 2}


def test_a_site_is_kept_for_one_at_a_time_for_who_waited_longest_by_lifted_priority() -> None:
    scene = Scene()
    scene.wait(A, {"m1": 2})
    scene.passes(AFTER)
    scene.wait(B, {"m1": 3}, priority=50)
    scene.passes(AFTER)
    assert scene.reserved() == {"m1": 4}  # 300 against 150: A was first
    scene.wait(("ns", "urgent"), {"m1": 1}, priority=9000)
    scene.passes(AFTER)
    assert scene.reserved() == {"m1": 1}
    scene.kept.set_waiting(("ns", "urgent"), is_waiting=False)
    scene.passes(60)
    assert scene.reserved() == {"m1": 2}


def test_who_would_fit_nowhere_waits_anew_and_does_not_stand_in_the_way() -> None:
    scene = Scene()
    scene.wait(A)
    scene.passes(AFTER)
    assert scene.kept.aged_priority(A) == 0


def test_no_more_than_some_have_room_reserved_the_most_urgent_of_all() -> None:
    scene = Scene(tuple(f"m{number}" for number in range(MAX_RESERVATIONS + 3)))
    for number, name in enumerate(scene.names):
        scene.wait(("ns", name), {name: 1}, priority=number)
    scene.passes(AFTER)
    for _ in range(4):
        scene.passes(10)
    assert sorted(scene.reserved()) == sorted(scene.names[-MAX_RESERVATIONS:])


def asked_at(*sites: Raw, asked: Demand, used: dict[str, int], besides: str = "") -> dict[str, int]:
    by_site = {
        name: {"cpu": cores * 1000, "memory": cores * 2**30, "pods": cores}
        for name, cores in used.items()
    }
    moment = decision_context(NOW, DEFAULT_TERMS)
    return choose_reservation(
        asked, fleet_of(*sites), moment, used_by_site=by_site, excluded_sites={besides}
    )


def test_the_site_is_one_that_could_hold_all_and_has_most_room_now() -> None:
    sites = site_with_capacity("m1", 1), site_with_capacity("m2", 2), site_with_capacity("m3", 3)
    asked = demand(workload(4))
    assert asked_at(*sites, asked=asked, used={"m1": 9, "m2": 9}) == {"m2": 4}
    assert asked_at(*sites, asked=asked, used={"m1": 9, "m2": 9}, besides="m2") == {"m1": 4}
    assert asked_at(*sites, asked=asked, used={}) == {"m3": 3, "m2": 1}
    assert asked_at(*sites, asked=demand(workload(40)), used={"m1": 9}) == {}


@pytest.mark.parametrize(
    "placement",
    [
        {"strategy": "Duplicated"},
        {"spread": [{"by": "site", "minGroups": 2}]},
        {"siteGroups": [{"name": "one", "sites": ["m1"]}]},
    ],
)
def test_nothing_is_reserved_where_one_site_or_the_next_will_not_do(placement: Raw) -> None:
    asked = demand(workload(2, placement=placement))
    assert asked_at(site_with_capacity("m1", 9), asked=asked, used={}) == {}


def test_shares_of_cards_are_reserved_where_there_are_cards_though_all_are_in_use() -> None:
    cards = {"cpu": "1", "kapok.dev/gpu-cards": 1, "kapok.dev/gpu-milli": 500}
    asked = demand(workload(1, requests=cards))
    full = site("m2", nodes(1, **{"kapok.dev/gpu-milli.0": 0}))
    assert asked_at(site_with_capacity("m1", 9), full, asked=asked, used={}) == {"m2": 1}
