"""Runs the work of large requests in one thread beside the event loop.

Work on a small body takes about a millisecond and stays on the event loop. A large one would hold
every other client up for seconds; in the thread it gives way to the event loop every millisecond
(the switch interval of the interpreter, which is lowered here).
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scheduler.apiserver.base.errors import too_many_requests

_MIN_BYTES = 8 * 1024
"""Smaller work stays on the event loop."""
_MAX_WAITING = 64
_SWITCH_INTERVAL_SECONDS = 0.001
Result = TypeVar("Result")


class HeavyWork:
    """The thread for the work of large requests."""

    def __init__(self) -> None:
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_SECONDS))
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="api-heavy")
        self._waiting_count = 0

    async def run(self, size_bytes: int, work: Callable[[], Result]) -> Result:
        """Returns the result of `work`, which must not use what the event loop changes meanwhile.

        Raises:
            ApiError: 429, too much work is waiting; or what `work` raises.
        """
        if size_bytes < _MIN_BYTES:
            return work()
        if self._waiting_count >= _MAX_WAITING:
            raise too_many_requests(f"{self._waiting_count} large requests are waiting")
        self._waiting_count += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting_count -= 1

    def close(self) -> None:
        """Drops waiting work; does not wait for what is running."""
        self._executor.shutdown(wait=False, cancel_futures=True)
