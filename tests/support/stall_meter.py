"""An API server that measures how long each request holds its event loop.

A program, so that the work of the client is not measured with that of the server. It reads names of
measurements from stdin, one a line, and answers each with the longest stall since the line before.

On a busy machine the system itself keeps a process waiting. Therefore a stall counts at most the
processor time that the whole process used meanwhile: while another process runs, it uses none.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler.apiserver.base.heavy_work import freeze_heap
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.runtime.clock import SystemClock
from tests.support.widgets import widget_crd

_PERIOD_SECONDS = 0.001


class StallMeter:
    """Measures how late a task is that sleeps one millisecond at a time."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._clock = SystemClock()

    async def run(self) -> None:
        """Measures until it is cancelled."""
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            await self._clock.sleep(_PERIOD_SECONDS)
            late = time.perf_counter() - wall - _PERIOD_SECONDS
            self._longest = max(self._longest, min(late, time.process_time() - cpu))

    def take_longest_ms(self) -> float:
        """The longest stall since the last call, in milliseconds."""
        longest, self._longest = self._longest, 0.0
        return round(longest * 1000, 1)


class MeteredServer:
    """The running program, as its client sees it."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self.kubeconfig = folder / "kubeconfig"

    def longest_stall_ms(self) -> float:
        """The longest stall since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: float = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def metered_server(folder: Path) -> Iterator[MeteredServer]:
    """Runs the program for the duration of the context."""
    command = [sys.executable, "-m", "tests.support.stall_meter", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield MeteredServer(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


async def _main(folder: Path) -> None:
    meter = StallMeter()
    options = ApiServerOptions(data_dir=folder, crds=[widget_crd("stall.kapok.dev")])
    async with serve(options):
        freeze_heap()
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(meter.run())
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            while await asyncio.to_thread(sys.stdin.readline):
                sys.stdout.write(f"{meter.take_longest_ms()}\n")
                sys.stdout.flush()
            measuring.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
