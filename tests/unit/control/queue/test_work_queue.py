"""The queue: urgent first, one decision at a time, and nothing is forgotten."""

import asyncio

from scheduler.control.queue.work_queue import SchedulingQueue, Urgency
from tests.support.fake_clock import FakeClock

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")


def make(clock: FakeClock) -> SchedulingQueue:
    return SchedulingQueue(
        clock=clock, first_backoff_seconds=1, last_backoff_seconds=8, recheck_seconds=300
    )


async def test_higher_priority_comes_first_then_the_older() -> None:
    queue = make(FakeClock())
    queue.add(A, Urgency(0, 10))
    queue.add(B, Urgency(0, 5))
    queue.add(C, Urgency(9, 99))
    assert [await queue.take() for _ in range(3)] == [C, B, A]


async def test_a_workload_is_never_in_two_decisions_at_once() -> None:
    queue = make(FakeClock())
    queue.add(A, Urgency())
    assert await queue.take() == A
    queue.add(A, Urgency())
    assert queue.depths()["active"] == 1
    queue.finish(A)
    assert await queue.take() == A


async def test_failed_work_waits_longer_each_time_and_comes_back() -> None:
    clock = FakeClock()
    queue = make(clock)
    queue.add(A, Urgency())
    assert await queue.take() == A
    waits = []
    for _ in range(5):
        queue.fail(A)
        queue.finish(A)
        began = clock.monotonic()
        taking = asyncio.get_running_loop().create_task(queue.take())
        while not taking.done():
            await clock.advance(0.5)
        waits.append(clock.monotonic() - began)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


async def test_unschedulable_work_is_requeued_only_by_a_change_that_may_help() -> None:
    queue = make(FakeClock())
    queue.add(A, Urgency())
    queue.mark_unschedulable(await queue.take(), {"full"})
    queue.finish(A)
    assert queue.wake("scheme") == 0
    assert queue.depths() == {"active": 0, "backoff": 0, "unschedulable": 1}
    assert queue.wake("capacity") == 1
    assert await queue.take() == A


async def test_unschedulable_work_is_decided_again_after_a_while() -> None:
    clock = FakeClock()
    queue = make(clock)
    queue.add(A, Urgency())
    queue.mark_unschedulable(await queue.take(), {"full"})
    queue.finish(A)
    taking = asyncio.get_running_loop().create_task(queue.take())
    await clock.advance(299)
    assert not taking.done()
    await clock.advance(2)
    assert await taking == A


async def test_forgotten_work_is_not_taken() -> None:
    queue = make(FakeClock())
    queue.add(A, Urgency())
    queue.add(B, Urgency())
    queue.forget(A)
    assert await queue.take() == B
