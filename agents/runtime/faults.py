"""The one barrier around everything that arrives: a fault is counted, logged, and goes no further.

Each edge of the agent (a message, an order, a sensor, a kind of the member's objects, a round of a
loop) runs inside `AgentFaults.guard`, the only place that stops every exception. So no list
of expected exceptions decides whether the agent survives. The input that caused the fault is set
aside with growing back-off, and everything else continues.
"""

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, get_args

from agents.runtime.clock import AgentClock, AgentSystemClock

_log = logging.getLogger(__name__)

FaultPlace = Literal[
    "message",  # a message from the broker
    "session",  # the connection with the broker
    "fetch",  # a round of fetching order contents
    "report",  # a round of the report loop
    "status",  # a round of the status loop
    "lease",  # a renewal of the site's lease
    "pass",  # a pass over all orders
    "order",  # one order
    "inventory",  # one kind of the member's objects
    "sensor",  # one sensor
    "energy",  # the energy totals
    "question",  # a question of the hub
    "journal",  # the journal cannot be read or written
    "boot",  # its new number cannot be written
    "certificate",  # its renewal
    "metrics",  # the page of /metrics
    "memory",  # giving back what is not needed
    "push",  # a round of a push process, or one of its members
]
"""Where a fault was caught; the label `where` of `kapok_agent_faults_total`."""

FAULT_PLACES: Final[tuple[FaultPlace, ...]] = get_args(FaultPlace)

_INITIAL_QUARANTINE_SECONDS: Final = 1.0
_MAX_QUARANTINE_SECONDS: Final = 600.0
_LOG_INTERVAL_SECONDS: Final = 60.0
_MAX_OFFENDERS: Final = 1_024
_MAX_LOGGED_KINDS: Final = 256
_MAX_LOGGED_CHARACTERS: Final = 200

Offender = tuple[FaultPlace, str]


def _count_nothing(_where: FaultPlace) -> None:
    """For parts that run alone."""


@dataclass(slots=True)
class _Quarantine:
    """How often an offender has failed in a row, and until when it is left alone."""

    failures: int
    until: float


@dataclass(slots=True)
class AgentFaults:
    """Counts, logs and sets aside what fails. Safe to use from several threads.

    Attributes:
        count: called for each fault with its place.
        clock: monotonic time, for back-off and for the rate of log lines.
    """

    count: Callable[[FaultPlace], None] = _count_nothing
    clock: AgentClock = field(default_factory=AgentSystemClock)
    _quarantines: dict[Offender, _Quarantine] = field(default_factory=dict, init=False)
    _logged_at: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def guard(
        self, where: FaultPlace, offender: str = "", *, passing: tuple[type[Exception], ...] = ()
    ) -> "_Guard":
        """A block; an exception in it is recorded and does not leave it.

        Args:
            where: the edge.
            offender: what is to be set aside if the block fails: an order, a sensor, a message.
            passing: exceptions that the caller handles itself.
        """
        return _Guard(self, where, offender, passing)

    def record(self, where: FaultPlace, error: Exception, offender: str = "") -> None:
        """Counts a fault, logs it at most once a minute per kind, and sets the offender aside."""
        now = self.clock.monotonic()
        with self._lock:
            self.count(where)
            self._extend_quarantine((where, offender), now)
            is_logged = self._may_log((where, type(error).__name__), now)
        if is_logged:
            _log.error(
                "fault at %s %s: %s: %s (%s); further ones of this kind are only counted for %d s",
                where,
                ascii(offender[:_MAX_LOGGED_CHARACTERS]),
                type(error).__name__,
                ascii(str(error)[:_MAX_LOGGED_CHARACTERS]),
                _origin_of(error),
                _LOG_INTERVAL_SECONDS,
            )

    def may_log(self, kind: str) -> bool:
        """Whether a line of this kind may be logged now: one a minute."""
        with self._lock:
            return self._may_log((kind, ""), self.clock.monotonic())

    def is_quarantined(self, where: FaultPlace, offender: str = "") -> bool:
        """Whether an offender is still to be left alone."""
        return self.quarantine_seconds(where, offender) > 0

    def quarantine_seconds(self, where: FaultPlace, offender: str = "") -> float:
        """How long an offender is still to be left alone; 0 if it is not."""
        known = self._quarantines.get((where, offender))
        return 0.0 if known is None else max(0.0, known.until - self.clock.monotonic())

    def release(self, where: FaultPlace, offender: str = "") -> None:
        """Forgets an offender, after a success."""
        if self._quarantines:
            with self._lock:
                self._quarantines.pop((where, offender), None)

    def _extend_quarantine(self, offender: Offender, now: float) -> None:
        known = self._quarantines.pop(offender, None)
        failures = known.failures + 1 if known else 1
        seconds = min(
            _INITIAL_QUARANTINE_SECONDS * 2 ** min(failures - 1, 16), _MAX_QUARANTINE_SECONDS
        )
        while len(self._quarantines) >= _MAX_OFFENDERS:  # the oldest, so that memory is bounded
            del self._quarantines[next(iter(self._quarantines))]
        self._quarantines[offender] = _Quarantine(failures, now + seconds)

    def _may_log(self, kind: tuple[str, str], now: float) -> bool:
        last = self._logged_at.get(kind)
        if last is not None and now - last < _LOG_INTERVAL_SECONDS:
            return False
        if len(self._logged_at) >= _MAX_LOGGED_KINDS:
            self._logged_at.clear()
        self._logged_at[kind] = now
        return True


@dataclass(frozen=True, slots=True)
class _Guard:
    """The barrier itself: the only place of the agent that stops every exception."""

    faults: AgentFaults
    where: FaultPlace
    offender: str
    passing: tuple[type[Exception], ...]

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if error is None:
            self.faults.release(self.where, self.offender)
            return False
        if not isinstance(error, Exception) or isinstance(error, self.passing):
            return False  # a cancellation ends the task, as it must
        self.faults.record(self.where, error, self.offender)
        return True


def _origin_of(error: Exception) -> str:
    """File and line that raised the error: the smallest context that finds the mistake."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
