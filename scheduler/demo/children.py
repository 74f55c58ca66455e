"""Real processes that end with us, also by kill -9, and are started again when they die."""

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
_LOG_TAIL_LINES = 12

_T = TypeVar("_T")


class ChildError(RuntimeError):
    """A process did not come up; the message shows the end of its log."""


@dataclass(slots=True)
class ChildProcess:
    """One process and how it is started.

    Attributes:
        name: for people and for its log.
        argv: its command line.
        log: its standard error, appended.
        output: its standard output since the last start.
        is_wanted: False keeps it down (a silenced agent).
        restarts: how often it was started again.
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
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and self.is_alive else None

    async def launch(self) -> None:
        """Starts the process in a session of its own: a Ctrl-C is ours to pass on."""
        with self.log.open("ab") as errors, self.output.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *command_tied_to_parent(self.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """Asks it to end."""
        if self.process is not None and self.is_alive:
            with suppress(ProcessLookupError):
                self.process.terminate()

    async def stop(self) -> None:
        """Asks it to end, waits, and kills it if it does not."""
        if self.process is None:
            return
        self.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def log_tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:]) or "  (nothing)"


class ProcessSupervisor:
    """All processes of a demo.

    Args:
        folder: for logs and outputs.
        clock: for waiting.
        say: told when a process had to be started again.
    """

    def __init__(self, folder: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._folder, self._clock, self._say = folder, clock, say
        self.by_name: dict[str, ChildProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    async def start(self, name: str, argv: Sequence[str]) -> ChildProcess:
        """Starts a process."""
        child = ChildProcess(
            name, tuple(argv), self._folder / f"{name}.log", self._folder / f"{name}.out"
        )
        self.by_name[name] = child
        await child.launch()
        return child

    async def wait_for_output(
        self, child: ChildProcess, parse: Callable[[str], _T | None], *, timeout_seconds: float
    ) -> _T:
        """Waits until what a process has printed says what is looked for.

        Args:
            child: the process.
            parse: gets all that it has printed; None: not yet.
            timeout_seconds: after this it counts as failed.

        Raises:
            ChildError: it ended, or said nothing in time.
        """
        give_up_at = self._clock.monotonic() + timeout_seconds
        while True:
            answer = parse(child.output.read_text(encoding="utf-8", errors="replace"))
            if answer is not None:
                return answer
            if not child.is_alive:
                raise ChildError(f"{child.name} ended at its start:\n{child.log_tail()}")
            if self._clock.monotonic() > give_up_at:
                raise ChildError(
                    f"{child.name} was not ready after {timeout_seconds:g} s:\n{child.log_tail()}"
                )
            await self._clock.sleep(_POLL_SECONDS)

    async def supervise(self) -> None:
        """Starts again what dies, with growing pauses; never returns."""
        async with asyncio.TaskGroup() as group:
            for child in self.by_name.values():
                group.create_task(self._supervise(child), name=f"keep {child.name}")

    async def _supervise(self, child: ChildProcess) -> None:
        backoff = _MIN_BACKOFF_SECONDS
        while True:
            if child.process is not None and child.is_alive:
                started = self._clock.monotonic()
                await child.process.wait()
                if self._clock.monotonic() - started > _MAX_BACKOFF_SECONDS:
                    backoff = _MIN_BACKOFF_SECONDS
            await self._clock.sleep(backoff)
            if child.is_wanted and not child.is_alive:
                child.restarts += 1
                self._say(f"{child.name} died; started again ({child.restarts})")
                await child.launch()
                backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)

    async def stop(self) -> None:
        """Ends all of them, last started first, each kind together."""
        for child in self.by_name.values():
            child.is_wanted = False
        for child in reversed(self.by_name.values()):
            child.terminate()
        async with asyncio.TaskGroup() as group:
            for child in self.by_name.values():
                group.create_task(child.stop())

    def memory_bytes(self) -> int:
        """Resident memory of all of them; 0 where the system does not say."""
        return sum(_resident_bytes(child.pid) for child in self.by_name.values() if child.pid)


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
