"""A filter for loggers of libraries: lines of one kind are limited, and the rest is counted.

A peer can cause some lines at will (a connection without TLS, a request that does not parse). Such
lines must not fill the disk.
"""

import logging
import time
from collections.abc import Callable

_PERIOD_SECONDS = 10.0
_MAX_LINES_PER_PERIOD = 3
_MAX_KINDS = 1_000
_MAX_FORMAT_LENGTH = 60


class LogLineLimiter(logging.Filter):
    """Passes a few lines of each kind in a period; the next one says how many were left out.

    A kind is the logger, the level and the start of the format. Loggers call it from any thread.

    Args:
        left_out: exceptions that only the peer is to blame for; their lines are not written.
        monotonic: measures the periods.
    """

    def __init__(
        self,
        left_out: tuple[type[BaseException], ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._left_out = left_out
        self._monotonic = monotonic
        self._periods: dict[tuple[str, int, str], tuple[float, int]] = {}
        """When the period of a kind began, and the number of its lines since then."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.exc_info and isinstance(record.exc_info[1], self._left_out):
            return False
        first_line = str(record.msg).partition("\n")[0]
        kind = (record.name, record.levelno, first_line[:_MAX_FORMAT_LENGTH])
        now = self._monotonic()
        began, count = self._periods.get(kind, (now, 0))
        if now - began >= _PERIOD_SECONDS:
            unwritten = count - _MAX_LINES_PER_PERIOD
            if unwritten > 0:
                record.msg = f"{record.msg} ({unwritten} more of this kind before this line)"
            began, count = now, 0
        if len(self._periods) >= _MAX_KINDS:
            self._periods.clear()
        self._periods[kind] = (began, count + 1)
        return count < _MAX_LINES_PER_PERIOD
