"""Limits the rate of log lines of one kind, so that no input can fill a disk through the log.

A kind is one place in the code: what arrives from outside changes the words of a line, never its
kind. The first lines of a kind are all written; of the following ones a few a minute, and each of
those says how many were left out since the last one.
"""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from scheduler.runtime.clock import Clock

_BURST_LINES = 20.0
_LINES_PER_SECOND = 0.2
_MAX_KINDS = 1024
_MAX_CHARACTERS = 8192
_MAX_CHARACTERS_OF_A_FAULT = 300

_log = logging.getLogger(__name__)

Kind = tuple[str, str, int]


@dataclass(slots=True)
class _KindState:
    """What a kind may still write, and what was left out since its last line."""

    tokens: float
    updated_seconds: float
    left_out: int = 0


class LogLimit(logging.Filter):
    """A filter for the handlers of the scheduler's log; it may be used by several threads."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: OrderedDict[Kind, _KindState] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written; adds to it how many were left out before, and bounds it."""
        left_out = self._take((record.name, record.pathname, record.lineno))
        if left_out is None:
            return False
        text = record.getMessage()
        if left_out or len(text) > _MAX_CHARACTERS:
            more = f" ({left_out} more lines of this kind were left out before)" if left_out else ""
            record.msg, record.args = text[:_MAX_CHARACTERS] + more, ()
        return True

    def __len__(self) -> int:
        """Kinds that are remembered."""
        return len(self._kinds)

    def _take(self, kind: Kind) -> int | None:
        """How many lines were left out before this one; None: this one is left out too."""
        now = self._clock.monotonic()
        with self._lock:
            state = self._kinds.pop(kind, None) or _KindState(_BURST_LINES, now)
            self._kinds[kind] = state  # at the end: of too many, the least recent is forgotten
            if len(self._kinds) > _MAX_KINDS:
                self._kinds.popitem(last=False)
            earned = (now - state.updated_seconds) * _LINES_PER_SECOND
            state.tokens = min(_BURST_LINES, state.tokens + earned)
            state.updated_seconds = now
            if state.tokens < 1:
                state.left_out += 1
                return None
            state.tokens -= 1
            left_out, state.left_out = state.left_out, 0
            return left_out


class PeerFaults(logging.Filter):
    """A filter for the logger of a server: what a client did wrong is one line, no traceback.

    A server writes its own failures and the malformed requests of clients at the same place of its
    code. The line of a client is therefore of a kind of its own: however many clients send, the
    traceback of a failure is never among those that `LogLimit` leaves out.
    """

    def __init__(self, *errors: type[Exception]) -> None:
        super().__init__()
        self._errors = errors

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written as it is: not if the error is one that a client causes."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, self._errors):
            return True
        why = " ".join(str(error).split())[:_MAX_CHARACTERS_OF_A_FAULT]
        _log.warning("%s (the client sent what cannot be read: %s)", record.getMessage(), why)
        return False


def limit_log_rate(clock: Clock) -> None:
    """Limits what all handlers of the root logger, and the default one, write."""
    limit = LogLimit(clock)
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            handler.addFilter(limit)
