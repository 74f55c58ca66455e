"""Faults of the server itself: each one is counted, and a burst of one kind is logged once.

Every place where input arrives or work runs in the background has one barrier, an
`except Exception` that reports here and continues. A fault ends neither a loop nor the process.
"""

import logging
from collections.abc import Callable

from scheduler.runtime.clock import Clock

log = logging.getLogger(__name__)
FAULT_PLACES = {
    "api-request": "a request that the API server could not answer",
    "api-watch": "a watch that ended early",
    "api-storage": "a write that did not reach the disk",
    "api-listener": "a follower of writes, such as the index of owners",
    "api-load": "a stored object that could not be read at the start",
    "api-collector": "an object that the garbage collector will try again later",
    "api-event-expiry": "an event that could not be expired",
}
"""The values of `where`, with what each one counts."""
_LOG_PERIOD_SECONDS = 10.0
"""A kind of fault (its place and the type of the exception) is logged once in this time."""
_MAX_CONTEXT_LENGTH = 200


def escape_context(text: str) -> str:
    """A short form of text from a client for log lines, without control characters."""
    short = text if len(text) <= _MAX_CONTEXT_LENGTH else f"{text[:_MAX_CONTEXT_LENGTH]}…"
    return short if short.isprintable() else ascii(short)


class FaultReporter:
    """Counts faults, and limits the log to one line per kind and period.

    Args:
        on_fault: called with the place (`FAULT_PLACES`) of each fault.
        clock: measures the periods.
    """

    def __init__(self, on_fault: Callable[[str], None], clock: Clock) -> None:
        self._on_fault = on_fault
        self._clock = clock
        self._last_logged_at: dict[tuple[str, str], float] = {}
        self._unlogged_counts: dict[tuple[str, str], int] = {}

    def report(self, where: str, context: str, error: BaseException) -> None:
        """Counts a fault; logs it unless its kind was logged a moment ago.

        Args:
            where: the place, one of `FAULT_PLACES`.
            context: what was being done, such as the method and path of a request.
            error: the exception.
        """
        self._on_fault(where)
        kind, now = (where, type(error).__name__), self._clock.monotonic()
        last = self._last_logged_at.get(kind)
        if last is not None and now - last < _LOG_PERIOD_SECONDS:
            self._unlogged_counts[kind] = self._unlogged_counts.get(kind, 0) + 1
            return
        self._last_logged_at[kind] = now
        unlogged = self._unlogged_counts.pop(kind, 0)
        log.error(
            "%s: %s failed: %s: %s%s",
            where,
            escape_context(context),
            kind[1],
            escape_context(str(error)),
            f" ({unlogged} more of this kind since the last line)" if unlogged else "",
            exc_info=error if last is None else None,  # one traceback of each kind is enough
        )
