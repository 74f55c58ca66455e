"""A cancellation always arrives, whatever the cancelled work makes of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from scheduler.runtime.cancellation import run_cancellable


async def _cancelled(task: asyncio.Task[None]) -> bool:
    """Whether a task that was just cancelled ends by that."""
    await asyncio.wait({task}, timeout=5)
    return task.cancelled()


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)  # noqa: TID251 - each test awaits its own


async def _turn() -> None:
    """Lets every task run once."""
    await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no time


async def test_a_group_that_fails_while_it_is_cancelled_does_not_keep_the_caller() -> None:
    entered = asyncio.Event()
    cut = asyncio.Event()
    rounds = []

    async def member() -> None:
        entered.set()
        await cut.wait()
        raise OSError("the broker is gone")

    async def session() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(member())

    async def keep() -> None:
        while True:
            rounds.append(1)
            try:
                await run_cancellable(session(), name="session")
            except* OSError:
                pass

    task = _start(keep())
    await entered.wait()
    cut.set()
    await _turn()  # the member fails; its group does not know yet
    task.cancel()
    assert await _cancelled(task)
    assert len(rounds) == 1


async def test_work_that_swallows_its_cancellation_is_cancelled_again() -> None:
    seen: list[int] = []

    async def stubborn() -> None:
        while len(seen) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append(1)

    async def run() -> None:
        await run_cancellable(stubborn(), name="stubborn", repeat_seconds=0.01)

    task = _start(run())
    await _turn()
    await _turn()
    task.cancel()
    assert await _cancelled(task)
    assert len(seen) == 3


async def test_results_and_errors_pass() -> None:
    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("why")

    assert await run_cancellable(good(), name="good") == 7
    with pytest.raises(ValueError, match="why"):
        await run_cancellable(bad(), name="bad")
