"""Workloads that wait for capacity are decided again where they could fit, and only there."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.model.demand.facts import InFlight
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.minimum_requests import MinimumRequests, minimum_request_of
from tests.support.fake_clock import FakeClock
from tests.support.queues import make_queue
from tests.support.sites import (
    demand,
    facts_of,
    fleet_of,
    nodes,
    site,
    site_with_capacity,
    with_status,
    workload,
)

SMALL, LARGE, URGENT = ("ns", "small"), ("ns", "large"), ("ns", "urgent")


def queue_over(fleet: Fleet) -> SchedulingQueue:
    return make_queue(FakeClock(), capacity_watcher=CapacityWatcher(MinimumRequests(fleet)))


def add_unschedulable(
    queue: SchedulingQueue, key: WorkKey, cpu: str, *, priority: int = 0, times: int = 1
) -> None:
    asked = demand(workload(times, requests={"cpu": cpu}))
    queue.add(key, Urgency(priority))
    queue.mark_unschedulable(key, {"full"}, minimum_request=minimum_request_of(asked))


def increase_capacity(queue: SchedulingQueue, fleet: Fleet, name: str, cpu: str) -> None:
    fleet.upsert(facts_of(site(name, nodes(1, cpu=cpu))))
    queue.on_capacity_increased({name})


async def take_all(queue: SchedulingQueue) -> list[str]:
    """The workloads in the order of the queue; none is placed."""
    found: list[str] = []
    while True:
        taking = asyncio.get_running_loop().create_task(queue.take())
        await FakeClock().settle()
        if not taking.done():
            taking.cancel()
            return found
        found.append(taking.result()[1])


async def test_only_what_could_fit_is_decided_again_the_most_urgent_first() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0))
    queue = queue_over(fleet)
    add_unschedulable(queue, SMALL, "1")
    add_unschedulable(queue, URGENT, "2", priority=5)
    add_unschedulable(queue, LARGE, "3", priority=9)
    increase_capacity(queue, fleet, "m1", "2500m")
    assert await take_all(queue) == ["urgent", "small"]
    assert queue.depths()["unschedulable"] == 1


async def test_a_fleet_with_too_little_in_all_requeues_no_workload_of_many_replicas() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0), site_with_capacity("m2", 1))
    queue = queue_over(fleet)
    add_unschedulable(queue, LARGE, "1", times=4)
    increase_capacity(queue, fleet, "m1", "2")
    assert await take_all(queue) == []
    increase_capacity(queue, fleet, "m1", "3")
    assert await take_all(queue) == ["large"]


async def test_an_increase_during_a_decision_counts_for_it_where_it_could_fit() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0))
    queue = queue_over(fleet)
    for cpu, expected in (("1500m", []), ("3", ["large"])):
        queue.add(LARGE, Urgency())
        assert await queue.take() == LARGE
        increase_capacity(queue, fleet, "m1", cpu)
        queue.mark_unschedulable(
            LARGE,
            {"full"},
            minimum_request=minimum_request_of(demand(workload(1, requests={"cpu": "2"}))),
        )
        queue.finish(LARGE)
        assert await take_all(queue) == expected
        queue.finish(LARGE)


async def test_capacity_that_was_used_meanwhile_does_not_count_but_another_site_may() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0), site_with_capacity("m2", 0))
    queue = queue_over(fleet)
    add_unschedulable(queue, SMALL, "1")
    add_unschedulable(queue, URGENT, "1", priority=5)
    for name in ("m1", "m2"):
        fleet.upsert(facts_of(site(name, nodes(1, cpu="1"))))
    queue.on_capacity_increased(["m1", "m2"])
    assert await queue.take() == URGENT
    fleet.upsert(with_status(fleet.facts_of("m1"), node_classes=()))  # the urgent one used it
    assert await queue.take() == SMALL
    add_unschedulable(queue, LARGE, "1")
    increase_capacity(queue, fleet, "m1", "1")
    fleet.upsert(with_status(fleet.facts_of("m1"), node_classes=()))
    assert await take_all(queue) == []
    fleet.remove("m1")
    queue.on_capacity_increased({"m1"})
    assert await take_all(queue) == []


async def test_capacity_for_two_of_many_costs_two_decisions() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0))
    queue = queue_over(fleet)
    for number in range(200):
        add_unschedulable(queue, ("ns", f"w{number:03}"), "1")
    increase_capacity(queue, fleet, "m1", "2")
    decided = []
    for _ in range(2):
        decided.append((await queue.take())[1])
        fleet.upsert(facts_of(site("m1", nodes(1, cpu=str(2 - len(decided))))))
    assert decided == ["w000", "w001"]
    assert await take_all(queue) == []


class Fickle(MinimumRequests):
    """Answers differently for several requests at once than for a single one."""

    def fit(self, numbers: NDArray[np.int64], site: str) -> NDArray[np.bool_]:
        del site
        return np.full(len(numbers), len(numbers) > 1)


async def test_a_workload_that_does_not_fit_when_taken_advances_whatever_the_others_do() -> None:
    watcher = CapacityWatcher(Fickle(Fleet()))
    queue = make_queue(FakeClock(), capacity_watcher=watcher)
    for number in range(4):
        add_unschedulable(queue, ("ns", f"w{number}"), "1")
    queue.on_capacity_increased({"m1"})
    assert await take_all(queue) == []


async def test_orders_in_flight_use_capacity_one_by_one_and_in_great_number() -> None:
    flight = InFlight(workload="ns/x", replicas=1, requests={"cpu": 1000, "pods": 1})
    fleet = Fleet([facts_of(site("m1", nodes(1, cpu="50")), in_flight=(flight,) * 49)])
    queue = queue_over(fleet)
    add_unschedulable(queue, SMALL, "1")
    add_unschedulable(queue, LARGE, "2", priority=9)
    queue.on_capacity_increased({"m1"})
    assert await take_all(queue) == ["small"]


async def test_fitting_keys_are_those_of_a_higher_priority_that_could_fit_now() -> None:
    fleet = fleet_of(site_with_capacity("m1", 0))
    queue = queue_over(fleet)
    assert queue.capacity_watcher is not None
    add_unschedulable(queue, SMALL, "1")
    add_unschedulable(queue, URGENT, "2", priority=5)
    add_unschedulable(queue, LARGE, "3", priority=9)
    fleet.upsert(facts_of(site("m1", nodes(1, cpu="2"))))
    assert queue.capacity_watcher.fitting_keys(["m1"], above_priority=4) == [URGENT]
    assert queue.capacity_watcher.fitting_keys(["m1"], above_priority=5) == []
