"""The next key of a fair queue, without waiting, and by brute force."""

import asyncio
from collections.abc import Iterable

from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.queue.order import QueuedWork, TenantShare, sort_key
from scheduler.runtime.clock import Clock
from tests.support.fake_clock import FakeClock


def make_queue(
    clock: Clock,
    *,
    first_backoff_seconds: float = 1,
    last_backoff_seconds: float = 8,
    recheck_seconds: float = 300,
    shares: TenantShare = lambda _: 0.0,
    capacity_watcher: CapacityWatcher | None = None,
) -> SchedulingQueue:
    """A queue with short pauses."""
    return SchedulingQueue(
        clock=clock,
        first_backoff_seconds=first_backoff_seconds,
        last_backoff_seconds=last_backoff_seconds,
        recheck_seconds=recheck_seconds,
        shares=shares,
        capacity_watcher=capacity_watcher,
    )


async def take_now(queue: SchedulingQueue, clock: FakeClock) -> WorkKey | None:
    """The next key that is due now; None: no key is due."""
    taking = asyncio.get_running_loop().create_task(queue.take())
    await clock.settle()
    if taking.done():
        return taking.result()
    taking.cancel()
    return None


def next_in_order(
    waiting: Iterable[QueuedWork], shares: TenantShare, *, now_seconds: float
) -> QueuedWork | None:
    """The work that is next in the queue, by comparing all; None: the queue is empty.

    `fair_queue.py` finds the same faster.
    """
    return min(
        waiting, key=lambda work: sort_key(work, shares, now_seconds=now_seconds), default=None
    )
