"""Child processes: restarted when they die, ended with this process, also by `kill -9`."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from scheduler.runtime.clock import Clock
from scheduler.runtime.parent_death import command_tied_to_parent

_POLL_SECONDS = 0.05
_STOP_SECONDS = 6.0
_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 8.0
_LOG_TAIL_LINES, _LOG_TAIL_BYTES = 12, 64 * 1024
_MAX_LOG_BYTES, _KEPT_LOG_BYTES = 16 * 2**20, 2**20
_TRIM_SECONDS = 5.0

_T = TypeVar("_T")


class ChildError(RuntimeError):
    """A process did not start; the message shows the end of its log."""


@dataclass(slots=True)
class ChildProcess:
    """One process and its command line.

    Attributes:
        name: its name in messages, and of its log file.
        argv: its command line.
        log: file that its standard error is appended to.
        output: file with its standard output since the last start.
        is_wanted: whether to restart it when it dies; see `keep_down` and `allow_restart`.
        restarts: how often it was restarted.
        process: the running or ended process; None before the first start.
    """

    name: str
    argv: Sequence[str]
    log: Path
    output: Path
    is_wanted: bool = True
    restarts: int = 0
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process ID; None: it does not run."""
        return self.process.pid if self.process is not None and self.is_alive else None

    async def launch(self) -> None:
        """Starts the process.

        It gets a session of its own, so that Ctrl-C reaches only this process, which then stops
        its children in order.
        """
        self.output.write_bytes(b"")
        # Both are appended to: a file that `trim_logs` has cut is then written from its new end.
        with self.log.open("ab") as errors, self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *command_tied_to_parent(self.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    async def restart(self) -> None:
        """Starts the process again after it died."""
        self.restarts += 1
        await self.launch()

    def keep_down(self) -> None:
        """Terminates the process; it is not restarted."""
        self.is_wanted = False
        self.terminate()

    def allow_restart(self) -> None:
        """Takes `keep_down` back; the supervisor starts the process."""
        self.is_wanted = True

    def terminate(self) -> None:
        """Sends SIGTERM, if the process runs."""
        if self.process is not None and self.is_alive:
            with suppress(ProcessLookupError):  # it ended meanwhile
                self.process.terminate()

    async def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL if the process has not ended some seconds later."""
        if self.process is None:
            return
        self.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def trim_logs(self) -> None:
        """Cuts log and output to their last part when they are too large."""
        for path in (self.log, self.output):
            size = path.stat().st_size if path.exists() else 0
            if size > _MAX_LOG_BYTES:
                with path.open("r+b") as file:
                    file.seek(size - _KEPT_LOG_BYTES)
                    kept = file.read(_KEPT_LOG_BYTES)
                    file.truncate(0)
                    file.seek(0)
                    file.write(kept[kept.find(b"\n") + 1 :])

    def log_tail(self) -> str:
        """The last lines of its log, indented."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:]) or "  (nothing)"


class ProcessSupervisor:
    """Starts, restarts and stops all processes of a demo.

    Args:
        folder: folder of their logs and outputs.
        clock: measures time-outs and pauses.
        say: shows a line to the user, called when a process is restarted.

    Attributes:
        by_name: the processes by name, in the order of their start.
    """

    def __init__(self, *, folder: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._folder, self._clock, self._say = folder, clock, say
        self.by_name: dict[str, ChildProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    async def start(self, name: str, argv: Sequence[str]) -> ChildProcess:
        """Starts a process, and remembers it under its name."""
        child = ChildProcess(
            name=name,
            argv=tuple(argv),
            log=self._folder / f"{name}.log",
            output=self._folder / f"{name}.out",
        )
        self.by_name[name] = child
        await child.launch()
        return child

    async def wait_for_output(
        self, child: ChildProcess, parse: Callable[[str], _T | None], *, timeout_seconds: float
    ) -> _T:
        """Waits until a process has printed what `parse` looks for.

        Args:
            child: the process.
            parse: reads everything that the process has printed; None means not yet.
            timeout_seconds: time after which the start counts as failed.

        Returns:
            The result of `parse`.

        Raises:
            ChildError: the process ended, or did not print it in time.
        """
        give_up_at = self._clock.monotonic() + timeout_seconds
        while True:
            answer = parse(child.output.read_text(encoding="utf-8", errors="replace"))
            if answer is not None:
                return answer
            if not child.is_alive:
                raise ChildError(f"{child.name} ended during its start:\n{child.log_tail()}")
            if self._clock.monotonic() > give_up_at:
                raise ChildError(
                    f"{child.name} was not ready after {timeout_seconds:g} s:\n{child.log_tail()}"
                )
            await self._clock.sleep(_POLL_SECONDS)

    async def supervise(self) -> None:
        """Restarts processes that die, with growing pauses; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for child in self.by_name.values():
                group.create_task(self._supervise(child), name=f"supervise {child.name}")
            group.create_task(self._trim_logs(), name="trim logs")

    async def _trim_logs(self) -> None:
        while True:
            await self._clock.sleep(_TRIM_SECONDS)
            for child in self.by_name.values():
                child.trim_logs()

    async def _supervise(self, child: ChildProcess) -> None:
        backoff = _MIN_BACKOFF_SECONDS
        while True:
            if child.process is not None and child.is_alive:
                started = self._clock.monotonic()
                await child.process.wait()
                # A process that ran for a while did not die at its start: begin with short pauses.
                if self._clock.monotonic() - started > _MAX_BACKOFF_SECONDS:
                    backoff = _MIN_BACKOFF_SECONDS
            await self._clock.sleep(backoff)
            if child.is_wanted and not child.is_alive:
                self._say(f"{child.name} died; restarting it (restart {child.restarts + 1})")
                await child.restart()
                backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)

    async def stop(self) -> None:
        """Stops all processes: asks them to end, last started first, then waits for all."""
        for child in reversed(self.by_name.values()):
            child.keep_down()
        async with asyncio.TaskGroup() as group:
            for child in self.by_name.values():
                group.create_task(child.stop())

    def memory_bytes(self) -> int:
        """Resident memory of all processes and their children; 0 if the system has no figures."""
        pids = [child.pid for child in self.by_name.values() if child.pid]
        return sum(_resident_bytes(pid) for one in pids for pid in (one, *_children_of(one)))


def _children_of(pid: int) -> list[int]:
    """The hub of `kapok up`, and its broker."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
