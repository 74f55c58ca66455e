"""Reservations: for which workloads, against which others, and until when."""

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
from tests.support.faults import make_faults
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
class World:
    """Sites by name, and where capacity would be reserved for each workload."""

    names: tuple[str, ...] = ("m1", "m2")
    clock: FakeClock = field(default_factory=FakeClock)
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    wanted: dict[WorkKey, list[dict[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
        self.sites = Sites(
            objects=registry,
            clock=self.clock,
            silent_after_seconds=1e9,
            facts_sink=self.keep_facts,
        )
        self.reservations = Reservations(
            sites=self.sites, clock=self.clock, after_seconds=AFTER, choose_sites=self.where
        )
        for name in self.names:
            registry.apply_event(SITES, WatchEvent("ADDED", site(name, nodes(4))))
            registry.apply_event(GRANTS, WatchEvent("ADDED", grant(name, name=f"of-{name}")))
            self.sites.admit(name)

    def keep_facts(self, name: str, facts: SiteFacts | None) -> None:
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
        self.reservations.set_waiting(key, is_waiting=True, priority=priority)

    def passes(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))
        self.reservations.update()


def test_a_reservation_begins_after_a_long_wait_and_doubles_with_each_window() -> None:
    world = World()
    world.wait(A, {"m1": 2})
    world.passes(AFTER - 1)
    assert world.reserved() == {}
    world.passes(11)
    assert world.reserved() == {"m1": 2}
    assert world.facts["m1"].in_flight[0].workload == "reserved for ns/a"
    world.passes(AFTER)
    assert world.reserved() == {"m1": 4}
    world.passes(AFTER)
    assert world.reserved() == {"m1": 8}


def test_it_is_free_for_its_workload_and_for_higher_priorities_only() -> None:
    world = World()
    world.wait(A, {"m1": 2}, priority=5)
    world.passes(AFTER)
    level = world.reservations.aged_priority(A)
    assert level == 105
    for key, priority, expected in ((A, 5, {}), (B, level, {"m1": 2}), (B, level + 1, {})):
        with world.reservations.released_for(key, priority):
            assert world.reserved() == expected
        assert world.reserved() == {"m1": 2}


@pytest.mark.parametrize("how", ["placed", "edited", "site", "gone"])
def test_it_is_given_back_and_the_site_counts_as_freed(how: str) -> None:
    world = World()
    world.wait(A, {"m1": 2})
    world.passes(AFTER)
    match how:
        case "edited":
            world.reservations.set_waiting(A, is_waiting=True, generation=2)
        case "site":
            world.reservations.forget_site("m2")
            assert world.reserved() == {"m1": 2}
            world.reservations.forget_site("m1")
        case _:
            world.reservations.set_waiting(A, is_waiting=False)
    assert world.reserved() == {}
    assert world.sites.take_freed() == {"m1"}
    world.passes(60)
    assert world.reserved() == ({"m1": 2} if how in ("edited", "site") else {})


def test_a_reservation_that_does_not_help_moves_to_the_next_site_and_round_again() -> None:
    world = World()
    world.wait(A, {"m1": 2}, {"m2": 2})
    world.passes(AFTER)
    assert world.reserved() == {"m1": 2}
    world.passes(MAX_WINDOWS_PER_SITE * AFTER)
    assert world.reserved() == {"m2": 2}
    world.passes(MAX_WINDOWS_PER_SITE * AFTER)
    world.passes(60)
    assert world.reserved() == {"m1": 2}


def test_a_site_is_reserved_for_the_workload_of_the_highest_aged_priority() -> None:
    world = World()
    world.wait(A, {"m1": 2})
    world.passes(AFTER)
    world.wait(B, {"m1": 3}, priority=50)
    world.passes(AFTER)
    assert world.reserved() == {"m1": 4}  # 300 against 150: A was first
    world.wait(("ns", "urgent"), {"m1": 1}, priority=9000)
    world.passes(AFTER)
    assert world.reserved() == {"m1": 1}
    world.reservations.set_waiting(("ns", "urgent"), is_waiting=False)
    world.passes(60)
    assert world.reserved() == {"m1": 2}


def test_a_workload_that_fits_nowhere_begins_to_wait_again() -> None:
    world = World()
    world.wait(A)
    world.passes(AFTER)
    assert world.reservations.aged_priority(A) == 0


def test_the_number_of_reservations_is_limited_to_the_most_urgent() -> None:
    world = World(tuple(f"m{number}" for number in range(MAX_RESERVATIONS + 3)))
    for number, name in enumerate(world.names):
        world.wait(("ns", name), {name: 1}, priority=number)
    world.passes(AFTER)
    for _ in range(4):
        world.passes(10)
    assert sorted(world.reserved()) == sorted(world.names[-MAX_RESERVATIONS:])


def asked_at(*sites: Raw, asked: Demand, used: dict[str, int], besides: str = "") -> dict[str, int]:
    by_site = {
        name: {"cpu": cores * 1000, "memory": cores * 2**30, "pods": cores}
        for name, cores in used.items()
    }
    moment = decision_context(NOW, DEFAULT_TERMS)
    return choose_reservation(
        asked, fleet_of(*sites), moment, used_by_site=by_site, excluded_sites={besides}
    )


def test_the_site_is_one_that_could_hold_all_and_has_most_capacity_now() -> None:
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
def test_nothing_is_reserved_where_one_site_or_the_next_does_not_suffice(placement: Raw) -> None:
    asked = demand(workload(2, placement=placement))
    assert asked_at(site_with_capacity("m1", 9), asked=asked, used={}) == {}


def test_shares_of_cards_are_reserved_where_there_are_cards_though_all_are_in_use() -> None:
    cards = {"cpu": "1", "kapok.dev/gpu-cards": 1, "kapok.dev/gpu-milli": 500}
    asked = demand(workload(1, requests=cards))
    full = site("m2", nodes(1, **{"kapok.dev/gpu-milli.0": 0}))
    assert asked_at(site_with_capacity("m1", 9), full, asked=asked, used={}) == {"m2": 1}
