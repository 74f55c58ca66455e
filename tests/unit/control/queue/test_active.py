"""New work comes first; re-checks behind it start in time, however much new work comes."""

from collections.abc import Iterable

import pytest

from scheduler.control.ports.hub import WORKLOADS, WatchEvent
from scheduler.control.queue.active import (
    MOST_NEW_AT_ONCE,
    NEW_PER_RECHECK,
    PATIENCE_SECONDS,
    Level,
)
from scheduler.control.queue.requeue import Requeuer, RequeueReasons
from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.queues import make_queue, take_now
from tests.support.sites import Raw, workload

TAKE_SECONDS = 0.005
START_LIMIT_SECONDS = 2.0


def key(name: str) -> WorkKey:
    return ("ns", name)


async def names_taken(queue: SchedulingQueue, clock: FakeClock, count: int) -> list[str]:
    """Takes so many, each in no time, and finishes them."""
    names: list[str] = []
    for _ in range(count):
        taken = await take_now(queue, clock)
        assert taken is not None
        queue.succeed(taken)
        queue.finish(taken)
        names.append(taken[1])
    return names


def add(queue: SchedulingQueue, names: Iterable[str], level: Level) -> None:
    for name in names:
        queue.add(key(name), Urgency(level=level))


async def test_new_work_comes_before_re_checks_that_came_earlier() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, ["running", "stopping"], "recheck")
    add(queue, ["violation"], "urgent")
    add(queue, ["n1", "n2"], "new")
    taken = await names_taken(queue, clock, 5)
    assert taken == ["n1", "n2", "violation", "running", "stopping"]


@pytest.mark.parametrize(("level", "limit_seconds"), [("urgent", 2.0), ("recheck", 3.0)])
async def test_a_re_check_starts_in_time_however_much_new_work_comes(
    level: Level, limit_seconds: float
) -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, (f"n{number}" for number in range(500)), "new")
    add(queue, (f"r{number}" for number in range(20)), level)
    started: dict[str, float] = {}
    next_new = 500
    while len(started) < 20:
        add(queue, [f"n{next_new}", f"n{next_new + 1}"], "new")  # twice as fast as it is taken
        next_new += 2
        (name,) = await names_taken(queue, clock, 1)
        if name.startswith("r"):
            started[name] = clock.monotonic()
        await clock.advance(TAKE_SECONDS)
        assert clock.monotonic() < 2 * limit_seconds
    assert min(started.values()) >= PATIENCE_SECONDS  # new work went first
    assert max(started.values()) <= limit_seconds


async def test_re_checks_that_are_not_urgent_take_one_turn_in_eight() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, (f"r{number}" for number in range(100)), "recheck")
    await clock.advance(PATIENCE_SECONDS)
    add(queue, (f"n{number}" for number in range(100)), "new")
    taken = await names_taken(queue, clock, 80)
    assert sum(name.startswith("r") for name in taken) == 80 // (NEW_PER_RECHECK + 1)


async def test_new_work_is_taken_together_and_the_re_checks_that_are_due_come_after_it() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, (f"r{number:03}" for number in range(100)), "recheck")
    await clock.advance(PATIENCE_SECONDS)
    add(queue, (f"n{number:03}" for number in range(200)), "new")
    names = await names_taken(queue, clock, 1)
    while (other := queue.take_next_if(lambda _: True)) is not None:
        queue.succeed(other)
        queue.finish(other)
        names.append(other[1])
    assert names == [f"n{number:03}" for number in range(MOST_NEW_AT_ONCE)]
    after = await names_taken(queue, clock, 80)
    due = MOST_NEW_AT_ONCE // NEW_PER_RECHECK
    assert after[:due] == [f"r{number:03}" for number in range(due)]
    assert sum(name.startswith("r") for name in after[due:]) == (80 - due) // (NEW_PER_RECHECK + 1)


async def test_an_urgent_re_check_of_a_workload_in_flight_stays_urgent() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, ["a"], "recheck")
    taken = await take_now(queue, clock)
    assert taken == key("a")
    add(queue, ["a"], "urgent")  # its grant ends while it is decided
    add(queue, ["a"], "recheck")  # and its site reports
    queue.succeed(taken)
    queue.finish(taken)
    add(queue, (f"n{number}" for number in range(10)), "new")
    await clock.advance(PATIENCE_SECONDS)
    assert await names_taken(queue, clock, 2) == ["a", "n0"]


async def test_what_was_urgent_once_is_not_for_ever() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, ["a"], "urgent")
    assert await names_taken(queue, clock, 1) == ["a"]
    add(queue, ["a"], "recheck")
    await clock.advance(PATIENCE_SECONDS)
    add(queue, ["b"], "new")
    assert await names_taken(queue, clock, 2) == ["b", "a"]


def level_of(raw: Raw, *, is_urgent: bool = False) -> Level:
    """The level at which a workload of the hub is queued."""
    clock = FakeClock()
    faults = make_faults(clock)
    objects = HubObjects(NullTelemetry(), lambda *_: None, faults)
    raw = {**raw, "metadata": {**raw["metadata"], "generation": 1, "resourceVersion": "1"}}
    objects.apply_event(WORKLOADS, WatchEvent("ADDED", raw))
    queue = make_queue(clock)
    fair_shares = FairShares(objects=objects, quotas=Quotas(), fleet=Fleet(), clock=clock)
    requeuer = Requeuer(
        objects=objects, queue=queue, fair_shares=fair_shares, reasons=RequeueReasons()
    )
    requeuer.redecide([key("app")], is_urgent=is_urgent)
    return queue.level_of(key("app"))


def placed(**status: object) -> Raw:
    raw = workload(1, placed={"m1": 1})
    return {**raw, "status": {**raw["status"], "observedGeneration": 1, **status}}


def test_the_turn_follows_from_what_the_workload_still_needs() -> None:
    groups = [{"sites": ["m1"], "replicas": 1, "violates": "residency"}]
    unplaced = [{"type": "Placed", "status": "False", "reason": "Waiting"}]
    assert level_of(workload(1)) == "new"
    assert level_of(placed()) == "recheck"
    assert level_of(placed(observedGeneration=0)) == "new"  # its spec was edited
    assert level_of(placed(conditions=unplaced)) == "new"
    assert level_of(placed(), is_urgent=True) == "urgent"
    assert level_of(placed(placement={"groups": groups})) == "urgent"
    assert level_of(workload(1), is_urgent=True) == "new"  # nothing of it runs


async def test_urgent_work_is_taken_ahead_in_its_order_and_given_back_to_its_place() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, ["u1", "u2", "u3", "u4"], "urgent")
    assert await take_now(queue, clock) == key("u1")
    ahead = [queue.take_next_if(lambda _: True) for _ in range(3)]
    assert ahead == [key("u2"), key("u3"), key("u4")]
    for one in reversed(ahead[1:]):
        assert one is not None
        queue.put_back(one)
    assert queue.take_next_if(lambda one: one == key("u4")) is None, "u3 is next"
    assert await names_taken(queue, clock, 2) == ["u3", "u4"]


async def test_urgent_work_is_not_taken_ahead_of_new_work() -> None:
    clock = FakeClock()
    queue = make_queue(clock)
    add(queue, ["u1", "u2"], "urgent")
    assert await take_now(queue, clock) == key("u1")
    add(queue, ["n1"], "new")
    assert queue.take_next_if(lambda one: one == key("u2")) is None
    await clock.advance(2.0)
    assert queue.take_next_if(lambda one: one == key("u2")) == key("u2"), "it has waited"
