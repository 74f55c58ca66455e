"""Shows on stderr how far a what-if is; nothing for one that takes less than a second."""

import sys

from scheduler.runtime.clock import SystemClock

_FIRST_SECONDS = 1.0
_NEXT_SECONDS = 0.5
_NEXT_SECONDS_OF_FILE = 5.0
_WORDS = {
    "read": "workloads read",
    "sites": "sites read",
    "decided": "workloads decided",
    "priced": "workloads priced",
    "suggested": "changes tried",
    "solved": "batches solved",
    "losses": "losses judged",
}


class ProgressLine:
    """One line that is written over on a terminal, and now and then a line elsewhere.

    Args:
        title: of the command.
    """

    def __init__(self, title: str) -> None:
        self._title, self._clock = title, SystemClock()
        self._begun = self._clock.monotonic()
        self._next = self._begun + _FIRST_SECONDS
        self._is_terminal = sys.stderr.isatty()
        self._has_line = False

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return self._clock.monotonic() - self._begun

    def show(self, what: str, done: int, total: int) -> None:
        """Shows that `done` of `total` are done, if it is time to."""
        now = self._clock.monotonic()
        if now < self._next or not done:
            return
        self._next = now + (_NEXT_SECONDS if self._is_terminal else _NEXT_SECONDS_OF_FILE)
        text = f"kapok {self._title}: {done} of {total} {_WORDS.get(what, 'done')}"
        sys.stderr.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
        sys.stderr.flush()
        self._has_line = self._is_terminal

    def end(self) -> None:
        """Removes the line from a terminal."""
        if self._has_line:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._has_line = False
