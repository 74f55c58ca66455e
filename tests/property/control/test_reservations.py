"""Large work is placed, although smaller work always arrives to use every freed core.

A small cluster runs pods on nodes; more small jobs arrive than fit. The queue, the
capacity watcher, the reservations, the facts of sites and the decisions are the real ones.
"""

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest

from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.hub import GRANTS, SITES, WatchEvent
from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.reservations import CAPACITY_REASONS, ReservationChoice, Reservations
from scheduler.control.queue.work_queue import Urgency
from scheduler.control.reconcile.draft import outcome_of
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.site import FreeRow, NodeClass, SiteStatus
from scheduler.placement.choose import choose
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import MinimumRequests
from scheduler.placement.queue.order import AGING_WINDOW_SECONDS
from scheduler.placement.queue.reservation import choose_reservation
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue, take_now
from tests.support.sites import demand, grant, site, workload

NODES, CORES = 3, 4
MINUTE = 60.0
SMALL_A_MINUTE = 4
"""Small jobs that arrive each minute; each runs up to 30 minutes, and 24 fit the cluster."""
LIMIT = 260
"""Minutes; 26 aging windows."""
TERMS = Terms(report_stale_seconds=1_000_000_000)


@dataclass
class Pod:
    """A pod on a node, until it ends."""

    key: WorkKey
    cores: int
    node: tuple[str, int]
    ends_seconds: float


@dataclass
class Simulation:
    """Sites that start and end pods, and a scheduler that sees only their reports."""

    random: Random
    after_seconds: float
    names: tuple[str, ...] = ("m1", "m2")
    clock: FakeClock = field(default_factory=FakeClock)
    fleet: Fleet = field(default_factory=Fleet)
    pods: list[Pod] = field(default_factory=list)
    demands: dict[WorkKey, Demand] = field(default_factory=dict)
    priorities: dict[WorkKey, int] = field(default_factory=dict)
    number: int = 0

    def __post_init__(self) -> None:
        registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
        self.sites = Sites(
            objects=registry, clock=self.clock, silent_after_seconds=1e9, facts_sink=self.keep_facts
        )
        self.queue = make_queue(
            self.clock,
            recheck_seconds=1e9,
            capacity_watcher=CapacityWatcher(MinimumRequests(self.fleet)),
        )
        self.reservations = Reservations(
            sites=self.sites,
            clock=self.clock,
            after_seconds=self.after_seconds,
            choose_sites=self.choose_sites,
        )
        for name in self.names:
            registry.apply_event(SITES, WatchEvent("ADDED", site(name)))
            registry.apply_event(GRANTS, WatchEvent("ADDED", grant(name, name=f"usual-{name}")))
            self.sites.admit(name)
            self.report(name)

    def keep_facts(self, name: str, facts: SiteFacts | None) -> None:
        assert facts is not None, name
        self.fleet.upsert(facts)

    def choose_sites(self, key: WorkKey, excluded: frozenset[str]) -> ReservationChoice:
        used = {
            name: {"cpu": 1000 * sum(one.cores for one in self.pods if one.node[0] == name)}
            for name in self.names
        }
        moment, asked = decision_context(self.clock.now(), TERMS), self.demands[key]
        return asked, choose_reservation(
            asked, self.fleet, moment, used_by_site=used, excluded_sites=excluded
        )

    def free(self, name: str) -> list[int]:
        taken = [sum(one.cores for one in self.pods if one.node == (name, n)) for n in range(NODES)]
        return [CORES - each for each in taken]

    def report(self, name: str) -> frozenset[str]:
        rows: tuple[FreeRow, ...] = tuple(
            {"count": 1, "cpu": str(cores), "memory": "64Gi"} for cores in self.free(name)
        )
        figures = SiteStatus(node_classes=(NodeClass(architecture="amd64", free=rows),))
        seen = self.clock.monotonic()
        return self.sites.on_report(
            SiteReport(site=name, observed_seconds=seen, figures=figures, has_executor=True)
        )

    def submit(self, name: str, cores: int, replicas: int, priority: int = 0) -> WorkKey:
        asked = demand(workload(replicas, name=name, requests={"cpu": str(cores)}))
        key = ("ns", name)
        self.demands[key], self.priorities[key] = asked, priority
        self.number += 1
        self.queue.add(key, Urgency(priority, self.number))
        return key

    def waits(self, key: WorkKey) -> bool:
        return key in self.demands

    async def minute(self, *, small: int, priority: int = 0, max_minutes: int = 30) -> None:
        """Jobs end, sites report, new small jobs arrive, and the whole queue is decided."""
        await self.clock.advance(MINUTE)
        now = self.clock.monotonic()
        self.pods = [one for one in self.pods if one.ends_seconds > now]
        increased = {name for name in self.names if "capacity" in self.report(name)}
        self.reservations.update()
        self.queue.on_capacity_increased(increased | self.sites.take_freed())
        for key in self.reservations.reserved_at(increased):
            self.queue.add(key, Urgency(self.priorities[key]))
        for _ in range(small):
            self.submit(f"small{self.number}", 1, 1, priority)
        while (taken := await take_now(self.queue, self.clock)) is not None:
            self.decide(taken, max_minutes)

    def decide(self, key: WorkKey, max_minutes: int) -> None:
        asked, priority = self.demands[key], self.priorities[key]
        with self.reservations.released_for(key, priority):
            decision = choose(asked, self.fleet, now=self.clock.now(), terms=TERMS)
        outcome = outcome_of(decision, asked)
        is_waiting = bool(outcome.unschedulable_reasons & CAPACITY_REASONS)
        self.reservations.set_waiting(key, is_waiting=is_waiting, priority=priority)
        if is_waiting:
            self.queue.mark_unschedulable(
                key, outcome.unschedulable_reasons, minimum_request=outcome.minimum_request
            )
        else:
            assert decision.phase == "Placed", decision
            for each in decision.assignment:
                for _ in range(each.replicas):
                    self.run(key, each.site, asked.requests["cpu"] // 1000, max_minutes)
                self.report(each.site)
            del self.demands[key], self.priorities[key]
        self.queue.finish(key)
        if not is_waiting:
            self.queue.forget(key)

    def run(self, key: WorkKey, name: str, cores: int, max_minutes: int) -> None:
        """The site's own scheduler binds a pod to any node where it fits."""
        fitting = [n for n, left in enumerate(self.free(name)) if left >= cores]
        ends = self.clock.monotonic() + MINUTE * self.random.randint(1, max_minutes)
        self.pods.append(Pod(key, cores, (name, self.random.choice(fitting)), ends))


async def minutes_until_placed(
    simulation: Simulation, *, cores: int, replicas: int, priority: int
) -> int | None:
    for _ in range(15):
        await simulation.minute(small=SMALL_A_MINUTE, priority=priority)
    large = simulation.submit("large", cores, replicas)
    for minute in range(LIMIT):
        if not simulation.waits(large):
            return minute
        await simulation.minute(small=SMALL_A_MINUTE, priority=priority)
    return None


def minutes(cores: int, replicas: int, priority: int, *, after_seconds: float) -> int | None:
    simulation = Simulation(Random(7), after_seconds)  # noqa: S311 - a test, seeded
    return asyncio.run(
        minutes_until_placed(simulation, cores=cores, replicas=replicas, priority=priority)
    )


@pytest.mark.parametrize(
    ("cores", "replicas", "priority"), [(4, 1, 0), (2, 6, 0), (4, 6, 0), (4, 1, 90), (4, 1, 1000)]
)
def test_large_work_is_placed_though_small_work_takes_every_gap(
    cores: int, replicas: int, priority: int
) -> None:
    assert minutes(cores, replicas, priority, after_seconds=AGING_WINDOW_SECONDS) is not None


def test_without_reservations_large_work_waits_for_ever() -> None:
    assert minutes(4, 1, 0, after_seconds=0.0) is None
