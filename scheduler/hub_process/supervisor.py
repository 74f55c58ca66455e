"""Starts the hub's process, passes on what it says, and starts it again when it ends."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from scheduler.apiserver.base.errors import DamagedFile
from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.hub_process.launch import HubChild, launch_child
from scheduler.hub_process.messages import (
    DECODE_MESSAGE,
    ErrorKind,
    HubFailed,
    HubFault,
    HubLogLine,
    HubPlan,
    HubReady,
)
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 2**20
_MAX_SOCKET_PATH_BYTES = 100
"""A socket's path is at most 107 bytes; with a longer one the scheduler uses the hub's port."""
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.2, 30.0
_STABLE_AFTER_SECONDS = 60.0
_ERRORS: dict[ErrorKind, type[Exception]] = {
    "in-use": DataDirectoryInUse,
    "damaged": DamagedFile,
    "system": OSError,
    "other": OSError,
}


def socket_path_in(folder: Path) -> Path | None:
    """The path of the hub's socket in its folder; None: the path is too long for a socket."""
    path = folder / "api.sock"
    return path if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES else None


class HubProcess:
    """The process of the embedded hub.

    Args:
        plan: how it runs.
        clock: for pauses between starts.
        on_fault: called with the place of each fault of the server.
        early: a process that was started before and waits for its plan; None: one is started.

    Attributes:
        problem: why the hub cannot be used now; empty while it serves.
    """

    def __init__(
        self,
        plan: HubPlan,
        *,
        clock: Clock,
        on_fault: Callable[[str], None],
        early: HubChild | None = None,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._on_fault = on_fault
        self._early = early
        self._child: HubChild | None = None
        self.problem = ""

    @property
    def pid(self) -> int:
        """Its process id; 0 while none runs."""
        process = self._child.process if self._child else None
        return process.pid if process and process.returncode is None else 0

    async def start(self) -> None:
        """Starts the process and waits until it serves.

        Raises:
            DataDirectoryInUse: another server runs on the data directory.
            DamagedFile: a file of the data directory cannot be used.
            OSError: it does not start, for another reason.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[HubReady | HubFailed | None] = loop.create_future()

        def on_message(message: HubReady | HubFailed | HubFault | None) -> None:
            if isinstance(message, HubFault):
                self._on_fault(message.where)
            elif not outcome.done():
                outcome.set_result(message)

        early, self._early = self._early, None
        self._child = child = early or await launch_child()
        child.send_plan(self._plan)
        # A thread, so that a busy event loop never lets the hub wait for its log.
        read = threading.Thread(
            target=_read_messages,
            args=(child.take_messages(), loop, on_message),
            name="hub log",
            daemon=True,
        )
        read.start()
        try:
            found = await outcome
        except BaseException:
            await self.stop()
            raise
        if isinstance(found, HubReady):
            # The same port after a crash, so that clients find the hub again.
            self._plan = msgspec.structs.replace(self._plan, port=found.port)
            self.problem = ""
            return
        await self.stop()
        if found is None:
            raise OSError("the process of the embedded hub ended during its start")
        raise _ERRORS[found.kind](found.text)

    async def keep_running(self) -> None:
        """Starts the process again whenever it ends; runs until cancelled.

        The pause doubles with every one that did not live long or did not start.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            since_seconds = self._clock.monotonic()
            code = await self._child.process.wait() if self._child else None
            if self._clock.monotonic() - since_seconds >= _STABLE_AFTER_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            how = "does not run" if code is None else f"ended with {_format_code(code)}"
            self.problem = f"the process of the embedded hub {how}"
            _log.warning("%s; starting it again in %.1f s", self.problem, pause_seconds)
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _MAX_PAUSE_SECONDS)
            try:
                await self.start()
            except (DataDirectoryInUse, DamagedFile, OSError) as error:
                _log.warning("the embedded hub: %s", error)
                self._child = None

    async def stop(self) -> None:
        """Terminates the process, by SIGKILL after a time-out; may be called twice."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()


@asynccontextmanager
async def running_hub(
    plan: HubPlan,
    *,
    clock: Clock,
    on_fault: Callable[[str], None],
    early: HubChild | None = None,
) -> AsyncIterator[HubProcess]:
    """Runs the embedded hub in a process of its own for the time of the context.

    Args:
        plan: how it runs.
        clock: for pauses between starts.
        on_fault: called with the place of each fault of the server.
        early: a process that was started before and waits for its plan; None: one is started.

    Raises:
        DataDirectoryInUse, DamagedFile, OSError: it does not start; see `HubProcess.start`.
    """
    hub = HubProcess(plan, clock=clock, on_fault=on_fault, early=early)
    await hub.start()
    # No TaskGroup: it would wrap what the body of the context raises.
    task = asyncio.create_task(hub.keep_running(), name="hub process")  # noqa: TID251 - see above
    try:
        yield hub
    finally:
        task.cancel()
        await asyncio.wait({task})
        await hub.stop()


def _format_code(code: int) -> str:
    return f"code {code}" if code >= 0 else f"signal {-code}"


def _read_messages(
    descriptor: int,
    loop: asyncio.AbstractEventLoop,
    on_message: Callable[[HubReady | HubFailed | HubFault | None], None],
) -> None:
    """Reads what the hub says until it ends; log lines are written here, in this thread."""
    with open(descriptor, "rb") as lines:
        while line := lines.readline(_MAX_LINE_BYTES):
            try:
                message = DECODE_MESSAGE(line)
            except msgspec.MsgspecError:
                continue
            if isinstance(message, HubLogLine):
                _write_log_line(message)
            else:
                _call(loop, on_message, message)
    _call(loop, on_message, None)


def _call(
    loop: asyncio.AbstractEventLoop,
    on_message: Callable[[HubReady | HubFailed | HubFault | None], None],
    message: HubReady | HubFailed | HubFault | None,
) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(on_message, message)


def _write_log_line(line: HubLogLine) -> None:
    logger = logging.getLogger(line.logger)
    if logger.isEnabledFor(line.level):
        record = logging.LogRecord(line.logger, line.level, "", 0, "%s", (line.text,), None)
        record.exc_text = line.error or None
        logger.handle(record)
