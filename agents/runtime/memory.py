"""Gives back memory that only the start needed, because an edge node has little of it.

The interpreter and its libraries run much code once: imports, tables of ciphers, certificates. Its
pages stay resident for as long as nothing else wants them. Shortly after the start, after a minute,
and then every hour, the kernel is asked to drop them from this process: they are files, and are
read again where they are used again. The allocator returns what it holds free, and keeps one heap
for all threads instead of one for each.

What can be dropped without loss is decided by two looks at `/proc/self/smaps`: a mapping counts if
it is of a file, cannot be written, and holds no page that differs from its file. Seen at one place
in both looks, it is no library that a thread is loading just now.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_SMAPS: Final = Path("/proc/self/smaps")
_FIRST_PAUSES_SECONDS: Final = (5.0, 55.0)
_PAUSE_SECONDS: Final = 3_600.0
_MADV_DONTNEED: Final = 4
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 1
_HEADER_WORDS: Final = 6  # addresses, rights, offset, device, inode, path

FileMapping = tuple[int, int, str]
"""First address, end, and the file."""


class Allocator(Protocol):
    """What the C library and the kernel are asked for."""

    def keep_one_heap(self) -> None:
        """Has all threads use one heap; counts for threads that start later."""

    def return_free_memory(self) -> None:
        """Returns what is free on the heap."""

    def drop_pages(self, start: int, end: int) -> bool:
        """Drops the pages of a mapping from this process; whether the kernel did."""


def read_file_mappings(lines: Iterable[str]) -> Iterator[FileMapping]:
    """The mappings of files that cannot be written, and whose pages are all as in the file.

    Args:
        lines: of `/proc/PID/smaps`.
    """
    candidate: FileMapping | None = None
    for line in lines:
        words = line.split(maxsplit=_HEADER_WORDS - 1)
        if words and not words[0].endswith(":"):
            candidate = _read_header(words)
        elif words[:1] == ["Anonymous:"]:
            if candidate is not None and words[1:2] == ["0"]:
                yield candidate
            candidate = None


def _read_header(words: list[str]) -> FileMapping | None:
    if len(words) < _HEADER_WORDS or not words[5].startswith("/"):
        return None
    start, _, end = words[0].partition("-")
    if words[1] not in {"r-xp", "r--p"}:
        return None
    return int(start, 16), int(end, 16), words[5].rstrip("\n")


@dataclass(slots=True)
class MemoryKeeper:
    """Gives memory back from time to time.

    Attributes:
        clock: time as an input.
        faults: the barrier of all edges.
        allocator: what is asked; None: nothing can be, as on another system than Linux.
        smaps: the kernel's list of mappings; tests have their own.
    """

    clock: AgentClock
    faults: AgentFaults
    allocator: Allocator | None
    smaps: Path = _SMAPS
    _seen: frozenset[FileMapping] = field(default=frozenset(), init=False)

    async def run(self) -> None:
        """Runs until cancelled; ends at once if nothing can be asked."""
        if self.allocator is None:
            return
        with self.faults.guard("memory"):
            self.allocator.keep_one_heap()
            self._seen = self._look()
        for pause in _FIRST_PAUSES_SECONDS:
            await self.clock.sleep(pause)
            self.give_back()
        while True:
            await self.clock.sleep(_PAUSE_SECONDS)
            self.give_back()

    def give_back(self) -> int:
        """Gives back what is not needed now; returns how many mappings were dropped."""
        dropped = 0
        if self.allocator is None:
            return dropped
        with self.faults.guard("memory"):
            self.allocator.return_free_memory()
            now = self._look()
            for start, end, _ in sorted(now & self._seen):
                dropped += self.allocator.drop_pages(start, end)
            self._seen = now
        return dropped

    def _look(self) -> frozenset[FileMapping]:
        with self.smaps.open(encoding="utf-8", errors="surrogateescape") as lines:
            return frozenset(read_file_mappings(lines))


def find_allocator() -> Allocator | None:
    """The C library of this process; None where it is not Linux's, or cannot be called."""
    if sys.platform != "linux":
        return None
    try:
        return _CLibrary()
    except (ImportError, OSError, MemoryError, AttributeError) as error:
        _log.debug("memory stays as it is: %s", type(error).__name__)
        return None


class _CLibrary:
    """glibc, or another C library of Linux: musl has neither heaps to choose nor a trim."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - only a process that gives memory back needs it

        # PyDLL keeps the interpreter's lock, so no other Python code runs during a call.
        library = ctypes.PyDLL(None, use_errno=True)
        self._advise = library.madvise
        self._advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._trim = getattr(library, "malloc_trim", None)
        self._option = getattr(library, "mallopt", None)

    def keep_one_heap(self) -> None:
        if self._option is not None:
            self._option(_M_ARENA_MAX, _ARENAS)

    def return_free_memory(self) -> None:
        if self._trim is not None:
            self._trim(0)

    def drop_pages(self, start: int, end: int) -> bool:
        return int(self._advise(start, end - start, _MADV_DONTNEED)) == 0
