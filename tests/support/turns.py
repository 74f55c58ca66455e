"""Whose turn it is, without waiting for one."""

import asyncio

from scheduler.control.queue.work_queue import WorkQueue
from scheduler.model.kinds.metadata import WorkKey
from tests.support.fake_clock import FakeClock


async def take_now(queue: WorkQueue, clock: FakeClock) -> WorkKey | None:
    """Who has his turn at this moment; None: nobody."""
    taking = asyncio.get_running_loop().create_task(queue.take())
    await clock.settle()
    if taking.done():
        return taking.result()
    taking.cancel()
    return None
