"""Runs the work of large requests in one thread beside the event loop.

Work on a small body takes about a millisecond and stays on the event loop. A large one would hold
every other client up for seconds; in the thread it gives way to the event loop every millisecond
(the switch interval of the interpreter, which is lowered here). One call into a C library does not
give way, hence the bounds of `bodies.py` on what one call decodes.

The thread serves the identities in turn, so that one with many large requests does not keep the
others waiting.
"""

import asyncio
import gc
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

from scheduler.apiserver.base.errors import too_many_requests
from scheduler.runtime.clock import yield_loop

MIN_BYTES = 8 * 1024
"""Smaller work stays on the event loop."""
MIN_STEP_BYTES = 64 * 1024
"""The same for one of many steps of a request, for which the way to the thread costs more."""
_MAX_WAITING = 64
"""The most work of one identity that waits."""
_SWITCH_INTERVAL_SECONDS = 0.001
_MAX_SLICE_BYTES = 128 * 1024
_BYTES_PER_STEP = 512
"""What a step on the event loop costs besides its bytes."""
_OBJECTS_PER_COLLECTION = 5_000
Result = TypeVar("Result")
work_owner: ContextVar[str] = ContextVar("work_owner", default="")
"""The identity whose request is handled; empty for the server itself."""
_Job = tuple[Callable[[], object], "asyncio.Future[object]"]


class HeavyWork:
    """The thread for the work of large requests."""

    def __init__(self) -> None:
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_SECONDS))
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="api-heavy")
        self._waiting: dict[str, deque[_Job]] = {}
        """The jobs of each identity; the next one comes first."""
        self._is_running = False

    async def run(self, size_bytes: int, work: Callable[[], Result]) -> Result:
        """Returns the result of `work`, which must not use what the event loop changes meanwhile.

        Raises:
            ApiError: 429, too much work is waiting; or what `work` raises.
        """
        if size_bytes < MIN_BYTES:
            return work()
        waiting = len(self._waiting.get(work_owner.get(), ()))
        if waiting >= _MAX_WAITING:
            raise too_many_requests(f"{waiting} large requests of this identity are waiting")
        return await self._run_in_thread(work)

    async def run_step(self, size_bytes: int, work: Callable[[], Result]) -> Result:
        """The same for a step of a request that has begun, which is not refused."""
        return work() if size_bytes < MIN_STEP_BYTES else await self._run_in_thread(work)

    async def _run_in_thread(self, work: Callable[[], Result]) -> Result:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(work_owner.get(), deque()).append((work, done))
        self._start_next()
        return await done  # type: ignore[return-value] # the result of `work`

    def _start_next(self) -> None:
        while self._waiting and not self._is_running:
            owner = next(iter(self._waiting))
            jobs = self._waiting.pop(owner)
            work, done = jobs.popleft()
            if jobs:
                self._waiting[owner] = jobs  # behind the others
            if done.cancelled():
                continue
            self._is_running = True
            running = asyncio.get_running_loop().run_in_executor(self._executor, work)
            running.add_done_callback(lambda ended, done=done: self._on_end(ended, done))  # type: ignore[misc]

    def _on_end(self, ended: "asyncio.Future[object]", done: "asyncio.Future[object]") -> None:
        self._is_running = False
        error = None if ended.cancelled() else ended.exception()
        if done.done():
            pass  # the request was cancelled meanwhile
        elif ended.cancelled():
            done.cancel()
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(ended.result())
        self._start_next()

    def close(self) -> None:
        """Drops waiting work; does not wait for what is running."""
        waiting, self._waiting = self._waiting, {}
        for jobs in waiting.values():
            for _work, done in jobs:
                done.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)


class LoopSlices:
    """Slices of long work on the event loop, such as the events of a watch.

    The work gives way to other tasks after some bytes, not after some time: so it does not depend
    on the clock, and gives way as often on a slow machine.
    """

    def __init__(self) -> None:
        self._bytes = 0

    async def count(self, size_bytes: int) -> None:
        """Counts a step of the work; gives way to other tasks if the slice is used up."""
        self._bytes += size_bytes + _BYTES_PER_STEP
        if self._bytes >= _MAX_SLICE_BYTES:
            self._bytes = 0
            await yield_loop()


def freeze_heap() -> None:
    """Leaves what exists now out of later garbage collections; called once, after the start.

    A full collection gives way to no thread. The schemas and modules of a process live until its
    end, so to visit them again each time would only hold the event loop. What a request decodes
    into hundreds of maps and lists goes without the collector, so it comes less often from now on.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 10, 10)
