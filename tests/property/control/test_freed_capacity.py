"""Freed capacity requeues all workloads that could be placed, and few others.

Two schedulers see the same events: in one, freed capacity requeues all that wait for capacity; in
the other, those that the capacity watcher names. Both must place the same workloads in the same
order at the same sites.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.control.reconcile.draft import outcome_of
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape, TopologySpreadConstraint
from scheduler.placement.choose import choose
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import MinimumRequests, minimum_request_of
from tests.support.counts import seeds
from tests.support.fake_clock import FakeClock
from tests.support.queues import make_queue, take_now
from tests.support.sites import NOW, Raw, demand, facts_of, grant, nodes, site, workload

SITES = ("m1", "m2", "m3", "m4")
GIB = 2**30


@dataclass
class Scheduler:
    """A queue, a fleet, and decisions in the order of the queue."""

    is_watched: bool
    clock: FakeClock = field(default_factory=FakeClock)
    fleet: Fleet = field(default_factory=Fleet)
    demands: dict[WorkKey, Demand] = field(default_factory=dict)
    tenants: dict[WorkKey, str] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    placed: list[object] = field(default_factory=list)
    tried: int = 0
    queue: SchedulingQueue = field(init=False)

    def __post_init__(self) -> None:
        watcher = CapacityWatcher(MinimumRequests(self.fleet)) if self.is_watched else None
        self.queue = make_queue(
            self.clock,
            recheck_seconds=1e6,
            shares=lambda one: float(self.used[one]),
            capacity_watcher=watcher,
        )

    def add(self, asked: Demand, urgency: Urgency) -> None:
        namespace, _, name = asked.key.partition("/")
        self.demands[namespace, name] = asked
        self.tenants[namespace, name] = urgency.tenant
        self.queue.add((namespace, name), urgency)

    def report(self, raw: Raw, in_flight: tuple[InFlight, ...]) -> None:
        name = raw["metadata"]["name"]
        self.fleet.upsert(facts_of(raw, grant(name), in_flight=in_flight))
        self.queue.on_capacity_increased({name})

    async def drain(self, reports: list[tuple[Raw, tuple[InFlight, ...]]]) -> None:
        """Decides until the queue is empty; reports arrive during decisions."""
        while (key := await take_now(self.queue, self.clock)) is not None:
            asked = self.demands[key]
            decision = choose(asked, self.fleet, now=NOW)
            self.tried += 1
            if reports and decision.phase == "Placed":  # only these are the same in both
                self.report(*reports.pop())
            outcome = outcome_of(decision, asked)
            if decision.phase == "Placed":
                self.fleet.assume(asked, decision)
                self.used[self.tenants[key]] += 1
                self.placed.append((key, decision.assignment))
            else:
                self.queue.mark_unschedulable(
                    key, outcome.unschedulable_reasons, minimum_request=outcome.minimum_request
                )
            self.queue.finish(key)


def draw_shape(random: Random) -> PodShape:
    kind = random.choice(("plain", "plain", "plain", "cards", "one", "skewed"))
    return PodShape(
        requests={
            "cpu": random.choice((300, 500, 900, 1000, 2000, 4000)),
            "memory": random.choice((1, 2, 3)) * GIB,
            "pods": 1,
        },
        gpu_cards=random.choice((1, 2)) if kind == "cards" else 0,
        gpu_milli=random.choice((300, 1000)) if kind == "cards" else 0,
        one_per_node=kind == "one",
        skews=(TopologySpreadConstraint(topology_key="zone", max_skew=1),)
        if kind == "skewed"
        else (),
    )


def draw_demand(number: int, random: Random) -> Demand:
    unit = tuple(
        Pods(shape=draw_shape(random), count=random.choice((1, 1, 2)))
        for _ in range(random.choice((1, 1, 1, 2)))
    )
    beside = (Pods(shape=draw_shape(random), count=1),) if random.random() < 0.1 else ()
    plain = demand(workload(random.choice((1, 1, 2, 5)), name=f"w{number:02}"))
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    gang = random.random() < 0.2
    return Demand(**{**fields, "unit": unit, "beside": beside, "gang": gang})


def draw_site(name: str, random: Random) -> Raw:
    def cards(most: int) -> Raw:
        return {f"kapok.dev/gpu-milli.{i}": random.choice((0, 300, 1000)) for i in range(most)}

    classes = [
        {**nodes(
            random.choice((1, 1, 2, 3)),
            cpu=random.choice(("0", "500m", "1", "2", "4")),
            memory=f"{random.choice((0, 2, 4, 8))}Gi",
            **cards(random.choice((0, 0, 1, 2))),
        ), "labels": {"zone": zone}}
        for zone in random.sample(("a", "b"), random.choice((1, 2)))
    ]  # fmt: skip
    limits: Raw = {}
    if random.random() < 0.1:
        limits = {"namespaces": [{"name": "ns", "quotaLeft": {"pods": "4"}}]}
    return site(name, *classes, **limits)


def draw_in_flight(random: Random) -> tuple[InFlight, ...]:
    return tuple(
        InFlight(
            workload="ns/other",
            replicas=random.choice((1, 2)),
            requests={"cpu": random.choice((400, 1500)), "memory": GIB, "pods": 1},
            gpu_cards=random.choice((0, 0, 1)),
            gpu_milli=500,
        )
        for _ in range(random.choice((0, 0, 1, 2)))
    )


@pytest.mark.parametrize("seed", seeds(12, gate=3))
def test_freed_capacity_requeues_all_that_it_could_place_in_the_right_order(seed: int) -> None:
    async def both() -> tuple[Scheduler, Scheduler]:
        pair = Scheduler(is_watched=False), Scheduler(is_watched=True)
        for one in pair:
            random = Random(seed)  # noqa: S311 - a test, seeded: both see the same
            for name in SITES:
                one.report(draw_site(name, random), ())
            for number in range(25):
                tenant = random.choice(("", "x", "y"))
                urgency = Urgency(random.choice((0, 0, 100)), random.choice((1, 2, 3)), tenant)
                one.add(draw_demand(number, random), urgency)
            await one.drain([])
            for _ in range(12):
                said = [
                    (draw_site(random.choice(SITES), random), draw_in_flight(random))
                    for _ in range(random.choice((1, 1, 2)))
                ]
                one.report(*said.pop())
                await one.drain(said)
                await one.clock.advance(random.choice((0.1, 700.0)))
        return pair

    plain, watched = asyncio.run(both())
    assert watched.placed == plain.placed
    assert watched.queue.depths() == plain.queue.depths()
    assert watched.tried <= plain.tried


@pytest.mark.parametrize("seed", seeds(6, gate=2))
def test_a_site_with_enough_capacity_is_never_skipped(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet, counts = Fleet(), Counter[tuple[bool, bool]]()
    needs = MinimumRequests(fleet)
    for _ in range(60):
        name = random.choice(SITES)
        fleet.upsert(
            facts_of(draw_site(name, random), grant(name), in_flight=draw_in_flight(random))
        )
        needs.update_totals()
        for number in range(12):
            asked = draw_demand(number, random)
            need = minimum_request_of(asked)
            assert need is not None
            vendors = np.zeros(fleet.slot_capacity, np.int64)
            slots = np.array(sorted(fleet.slot_of.values()))
            rooms = SiteCapacity(fleet, asked, vendors).replicas_at(slots)
            there = SiteCapacity(fleet, asked, vendors).replicas_at_slot(fleet.slot_of[name])
            could = bool(needs.may_fit(np.array([needs.add(need)]), name)[0])
            is_enough = there > 0 and rooms.sum() >= asked.replicas
            assert could or not is_enough, (asked, fleet.facts_of(name))
            counts[could, is_enough] += 1
    assert counts[True, True] > 50
    assert counts[False, False] > counts[True, False]
