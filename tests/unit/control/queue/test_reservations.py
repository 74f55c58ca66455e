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
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
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
class ReservationsFixture:
    """Sites by name, and the sites where capacity would be reserved for each workload."""

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
            sites=self.sites, clock=self.clock, after_seconds=AFTER, choose_sites=self.choose_sites
        )
        for name in self.names:
            registry.apply_event(SITES, WatchEvent("ADDED", site(name, nodes(4))))
            registry.apply_event(GRANTS, WatchEvent("ADDED", grant(name, name=f"of-{name}")))
            self.sites.admit(name)

    def keep_facts(self, name: str, facts: SiteFacts | None) -> None:
        assert facts is not None, name
        self.facts[name] = facts

    def choose_sites(self, key: WorkKey, excluded: frozenset[str]) -> ReservationChoice:
        choices = self.wanted.get(key, [])
        free = (one for one in choices if not excluded & one.keys())
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
    fixture = ReservationsFixture()
    fixture.wait(A, {"m1": 2})
    fixture.passes(AFTER - 1)
    assert fixture.reserved() == {}
    fixture.passes(11)
    assert fixture.reserved() == {"m1": 2}
    assert fixture.facts["m1"].in_flight[0].workload == "reserved for ns/a"
    fixture.passes(AFTER)
    assert fixture.reserved() == {"m1": 4}
    fixture.passes(AFTER)
    assert fixture.reserved() == {"m1": 8}


def test_reserved_capacity_is_free_for_its_workload_and_for_higher_priorities_only() -> None:
    fixture = ReservationsFixture()
    fixture.wait(A, {"m1": 2}, priority=5)
    fixture.passes(AFTER)
    level = fixture.reservations.aged_priority(A)
    assert level == 105
    for key, priority, expected in ((A, 5, {}), (B, level, {"m1": 2}), (B, level + 1, {})):
        with fixture.reservations.released_for(key, priority):
            assert fixture.reserved() == expected
        assert fixture.reserved() == {"m1": 2}


@pytest.mark.parametrize("how", ["placed", "edited", "site", "gone"])
def test_a_reservation_is_released_and_the_site_counts_as_freed(how: str) -> None:
    fixture = ReservationsFixture()
    fixture.wait(A, {"m1": 2})
    fixture.passes(AFTER)
    match how:
        case "edited":
            fixture.reservations.set_waiting(A, is_waiting=True, generation=2)
        case "site":
            fixture.reservations.forget_site("m2")
            assert fixture.reserved() == {"m1": 2}
            fixture.reservations.forget_site("m1")
        case _:
            fixture.reservations.set_waiting(A, is_waiting=False)
    assert fixture.reserved() == {}
    assert fixture.sites.take_freed() == {"m1"}
    fixture.passes(60)
    assert fixture.reserved() == ({"m1": 2} if how in ("edited", "site") else {})


def test_a_reservation_that_does_not_help_moves_to_the_next_site_and_back_again() -> None:
    fixture = ReservationsFixture()
    fixture.wait(A, {"m1": 2}, {"m2": 2})
    fixture.passes(AFTER)
    assert fixture.reserved() == {"m1": 2}
    fixture.passes(MAX_WINDOWS_PER_SITE * AFTER)
    assert fixture.reserved() == {"m2": 2}
    fixture.passes(MAX_WINDOWS_PER_SITE * AFTER)
    fixture.passes(60)
    assert fixture.reserved() == {"m1": 2}


def test_a_site_is_reserved_for_the_workload_of_the_highest_aged_priority() -> None:
    fixture = ReservationsFixture()
    fixture.wait(A, {"m1": 2})
    fixture.passes(AFTER)
    fixture.wait(B, {"m1": 3}, priority=50)
    fixture.passes(AFTER)
    assert fixture.reserved() == {"m1": 4}  # 300 against 150: A was first
    fixture.wait(("ns", "urgent"), {"m1": 1}, priority=9000)
    fixture.passes(AFTER)
    assert fixture.reserved() == {"m1": 1}
    fixture.reservations.set_waiting(("ns", "urgent"), is_waiting=False)
    fixture.passes(60)
    assert fixture.reserved() == {"m1": 2}


def test_a_workload_that_fits_nowhere_starts_its_wait_again() -> None:
    fixture = ReservationsFixture()
    fixture.wait(A)
    fixture.passes(AFTER)
    assert fixture.reservations.aged_priority(A) == 0


def test_the_number_of_reservations_is_limited_to_the_most_urgent() -> None:
    fixture = ReservationsFixture(tuple(f"m{number}" for number in range(MAX_RESERVATIONS + 3)))
    for number, name in enumerate(fixture.names):
        fixture.wait(("ns", name), {name: 1}, priority=number)
    fixture.passes(AFTER)
    for _ in range(4):
        fixture.passes(10)
    assert sorted(fixture.reserved()) == sorted(fixture.names[-MAX_RESERVATIONS:])


def asked_at(
    *sites: Raw, asked: Demand, used: dict[str, int], excluded: str = ""
) -> dict[str, int]:
    by_site = {
        name: {"cpu": cores * 1000, "memory": cores * 2**30, "pods": cores}
        for name, cores in used.items()
    }
    moment = decision_context(NOW, DEFAULT_TERMS)
    return choose_reservation(
        asked, fleet_of(*sites), moment, used_by_site=by_site, excluded_sites={excluded}
    )


def test_the_site_is_one_that_could_hold_all_and_has_most_capacity_now() -> None:
    sites = site_with_capacity("m1", 1), site_with_capacity("m2", 2), site_with_capacity("m3", 3)
    asked = demand(workload(4))
    assert asked_at(*sites, asked=asked, used={"m1": 9, "m2": 9}) == {"m2": 4}
    assert asked_at(*sites, asked=asked, used={"m1": 9, "m2": 9}, excluded="m2") == {"m1": 4}
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
