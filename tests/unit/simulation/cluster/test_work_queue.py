"""Waiting keys: each is taken once, in order, and by one worker at a time."""

import asyncio
from collections.abc import Callable

from scheduler.simulation.cluster.work_queue import MemberWorkQueue
from tests.support.fake_clock import FakeClock


async def _with_timer(body: Callable[[MemberWorkQueue[str], FakeClock], object]) -> None:
    clock = FakeClock()
    queue: MemberWorkQueue[str] = MemberWorkQueue(clock)
    async with asyncio.TaskGroup() as group:
        timer = group.create_task(queue.run_timer())
        await clock.advance(0)
        await body(queue, clock)  # type: ignore[misc]
        timer.cancel()


async def _has_key(queue: MemberWorkQueue[str]) -> bool:
    """Whether a worker gets a key at once; it takes that key."""
    try:
        async with asyncio.timeout(0):
            await queue.take()
    except TimeoutError:
        return False
    return True


async def test_a_key_that_is_added_twice_is_taken_once() -> None:
    queue: MemberWorkQueue[str] = MemberWorkQueue(FakeClock())
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    queue.done("a")
    queue.done("b")
    assert not await _has_key(queue)


async def test_a_key_that_is_added_while_being_processed_is_taken_again() -> None:
    queue: MemberWorkQueue[str] = MemberWorkQueue(FakeClock())
    queue.add("a")
    await queue.take()
    queue.add("a")
    assert not await _has_key(queue)
    queue.done("a")
    assert await queue.take() == "a"


async def test_the_earliest_of_several_due_times_counts() -> None:
    async def body(queue: MemberWorkQueue[str], clock: FakeClock) -> None:
        queue.add("a", 10)
        queue.add("a", 2)
        queue.add("a", 5)
        await clock.advance(1)
        assert not await _has_key(queue)
        await clock.advance(1)
        assert await queue.take() == "a"
        queue.done("a")
        await clock.advance(20)
        assert not await _has_key(queue)

    await _with_timer(body)


async def test_a_sooner_key_wakes_the_timer() -> None:
    async def body(queue: MemberWorkQueue[str], clock: FakeClock) -> None:
        queue.add("late", 100)
        await clock.advance(0)
        queue.add("soon", 1)
        await clock.advance(1)
        assert await queue.take() == "soon"

    await _with_timer(body)
