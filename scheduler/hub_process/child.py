"""`python -m scheduler.hub_process.child PARENT_PID`: the process of the embedded hub.

It imports what it needs, and serves when its plan comes: one line on its standard input. It ends
with the scheduler, also by kill -9, and at once: what it has acknowledged is on disk.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from scheduler.hub_process.messages import (
    ErrorKind,
    HubFailed,
    HubFault,
    HubLogLine,
    HubMessage,
    HubPlan,
    HubReady,
)
from scheduler.runtime.clock import Clock, SystemClock
from scheduler.runtime.parent_death import tie_to_parent

_LOCK_PAUSE_SECONDS = 0.1
_READ_BYTES = 2**16
EXIT_FAILED = 1


class HubChannel:
    """The pipe to the scheduler; lines of several threads do not mix."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: HubMessage) -> None:
        """Writes one message; one that the scheduler no longer reads is dropped."""
        data = msgspec.json.encode(message) + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                return


class _ChannelHandler(logging.Handler):
    """Writes log records into the scheduler's log."""

    def __init__(self, channel: HubChannel) -> None:
        super().__init__()
        self._channel = channel
        self._format_error = logging.Formatter().formatException

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        error = self._format_error(record.exc_info) if record.exc_info else ""
        line = HubLogLine(
            logger=record.name, level=record.levelno, text=record.getMessage(), error=error
        )
        self._channel.send(line)


def main() -> int:
    """Runs the hub until SIGTERM; the exit code is 1 if it could not run."""
    tie_to_parent(int(sys.argv[1]), death_signal=signal.SIGKILL)
    channel = HubChannel(os.dup(1))
    os.dup2(2, 1)  # what a library prints must not look like a message
    import scheduler.hub_process.options  # noqa: F401, PLC0415 - after tie_to_parent; before the plan

    plan = _read_plan()
    if plan is None:
        return EXIT_FAILED
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    logging.basicConfig(level=plan.log_level, handlers=[_ChannelHandler(channel)])
    return asyncio.run(_run(plan, channel, SystemClock()))


def _read_plan() -> HubPlan | None:
    """Waits for the plan; None: the scheduler has ended before it sent one."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = os.read(0, _READ_BYTES)
        if not data:
            return None
        line += data
    return msgspec.json.decode(line, type=HubPlan)


def _end_with_parent() -> None:
    """Ends the process when its standard input closes, where no signal comes when a parent dies."""
    while os.read(0, 1):
        pass
    os._exit(EXIT_FAILED)


async def _run(plan: HubPlan, channel: HubChannel, clock: Clock) -> int:
    from scheduler.apiserver.base.errors import DamagedFile  # noqa: PLC0415 - after tie_to_parent
    from scheduler.apiserver.storage.sqlite import DataDirectoryInUse  # noqa: PLC0415

    kinds: dict[type[Exception], ErrorKind] = {
        DataDirectoryInUse: "in-use",
        DamagedFile: "damaged",
        OSError: "system",
    }
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await _serve(plan, channel, clock)
    except asyncio.CancelledError:
        return 0
    except Exception as error:  # noqa: BLE001 - the scheduler says it, and ends or tries again
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        kind: ErrorKind = "other"
        for each, known in kinds.items():
            kind = known if isinstance(cause, each) else kind
        channel.send(HubFailed(kind=kind, text=str(cause) or type(cause).__name__))
    return EXIT_FAILED


async def _serve(plan: HubPlan, channel: HubChannel, clock: Clock) -> None:
    """Serves until cancelled."""
    from scheduler.apiserver.base.heavy_work import freeze_heap  # noqa: PLC0415 - see above
    from scheduler.apiserver.server import serve  # noqa: PLC0415
    from scheduler.apiserver.storage.sqlite import DataDirectoryInUse  # noqa: PLC0415
    from scheduler.hub_process.options import server_options  # noqa: PLC0415

    options = server_options(
        data_dir=Path(plan.data_dir),
        port=plan.port,
        max_objects=plan.max_objects,
        max_bytes=plan.max_bytes,
        socket_path=Path(plan.socket_path) if plan.socket_path else None,
        on_fault=lambda where: channel.send(HubFault(where=where)),
    )
    give_up_at = clock.monotonic() + plan.lock_seconds
    while True:
        try:
            async with serve(options) as server:
                freeze_heap()
                channel.send(HubReady(port=urlsplit(server.url).port or 0))
                await asyncio.Event().wait()  # for ever: nothing sets the event
        except DataDirectoryInUse:
            if clock.monotonic() >= give_up_at:
                raise
            await clock.sleep(_LOCK_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
