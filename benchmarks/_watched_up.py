"""`kapok up` with a task that measures how long the event loop is held.

A task sleeps one millisecond at a time; what a sleep takes longer is a stall. Each second one line
is appended to the file that the environment names: the time, the longest stall in milliseconds, and
the most CPU milliseconds that the loop's thread used during one sleep, in which waiting for a busy
machine does not count.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest.mock import patch  # noqa: TID251 - the real loops run, beside a task that measures

from scheduler.app import run
from scheduler.cli import entry, up_service

STALLS_FILE = "KAPOK_BENCHMARK_STALLS_FILE"
_STEP_SECONDS = 0.001


async def watch_stalls(path: Path) -> None:
    """Appends the time and the longest stall of each second; runs until cancelled."""
    with path.open("a", encoding="ascii") as file:
        while True:
            until, longest, longest_cpu = time.monotonic() + 1.0, 0.0, 0.0
            while (before := time.monotonic()) < until:
                cpu_before = time.thread_time()
                await asyncio.sleep(_STEP_SECONDS)  # noqa: TID251 - the real loop is measured
                longest = max(longest, time.monotonic() - before - _STEP_SECONDS)
                longest_cpu = max(longest_cpu, time.thread_time() - cpu_before)
            file.write(f"{time.monotonic():.3f} {longest * 1000:.1f} {longest_cpu * 1000:.1f}\n")
            file.flush()


def _with_watch(run: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Any]:
    async def watched(*arguments: object, **options: object) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(watch_stalls(Path(os.environ[STALLS_FILE])))
            try:
                await run(*arguments, **options)
            finally:
                watch.cancel()

    return watched


if __name__ == "__main__":
    with patch.object(up_service, "run_scheduler", _with_watch(run)):
        sys.exit(entry.main(sys.argv[1:]))
