"""What happens to a fault at an edge: it is counted, logged, and its cause set aside for a while.

Every loop handles many things one by one: a message, an object, a workload, a request, a site. A
fault that one of them causes must not end the loop, so each loop handles it in `Faults.barrier`,
the only place where the loops catch every `Exception`. What caused a fault is set aside for a pause
that doubles with each further one, so that it costs the others little; one success ends that.
"""

import logging
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import TracebackType

from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 300.0
_MAX_DOUBLINGS = 16
_MAX_OFFENDERS = 4096
_LOG_INTERVAL_SECONDS = 600.0
_MAX_LOGGED_KINDS = 256
_MAX_CONTEXT_CHARACTERS = 200
_LOGGED_FRAMES = 4


@dataclass(slots=True)
class _Offender:
    """How often a cause has failed in a row, and when it may be handled again."""

    fault_count: int = 0
    until_seconds: float = float("-inf")


@dataclass(slots=True)
class _LoggedKind:
    """When a kind of fault was logged last, and how many came since."""

    at_seconds: float
    silent_count: int = 0


@dataclass(slots=True, kw_only=True)
class Faults:
    """Keeps the faults of all edges of one process; the memory for them is bounded.

    Attributes:
        clock: for the pauses, and for how often a kind is logged.
        count: called with the edge of each fault; counts `kapok_faults_total`.
    """

    clock: Clock
    count: Callable[[str], None]
    _offenders: dict[tuple[str, Hashable], _Offender] = field(default_factory=dict)
    _logged: dict[tuple[str, str, str], _LoggedKind] = field(default_factory=dict)

    def barrier(
        self,
        where: str,
        offender: Hashable = None,
        *,
        passing: tuple[type[Exception], ...] = (),
    ) -> "_Barrier":
        """A context that ends normally, whatever `Exception` its body raises.

        Args:
            where: the edge, a value of the label of `kapok_faults_total`.
            offender: what is set aside after a fault; None: nothing is.
            passing: exceptions that are no faults; they pass.
        """
        return _Barrier(self, where, offender, passing)

    def admits(self, where: str, offender: Hashable) -> bool:
        """Whether a cause is handled now; False while it is set aside."""
        return self.pause_seconds(where, offender) <= 0

    def pause_seconds(self, where: str, offender: Hashable) -> float:
        """How much longer a cause is set aside; 0 when it is not."""
        known = self._offenders.get((where, offender))
        return max(0.0, known.until_seconds - self.clock.monotonic()) if known else 0.0

    def on_success(self, where: str, offender: Hashable) -> None:
        """Ends the pauses of a cause: it was handled without a fault."""
        if self._offenders:
            self._offenders.pop((where, offender), None)

    def on_fault(self, where: str, offender: Hashable, error: Exception) -> None:
        """Counts and logs a fault, and sets its cause aside."""
        self._set_aside(where, offender)
        self.count(where)
        self._log(where, offender, error)

    def _set_aside(self, where: str, offender: Hashable) -> None:
        if offender is None:
            return
        # Moved to the end: of too many, the one that failed longest ago is forgotten.
        known = self._offenders.pop((where, offender), None) or _Offender()
        pause = _FIRST_PAUSE_SECONDS * 2 ** min(known.fault_count, _MAX_DOUBLINGS)
        known.fault_count += 1
        known.until_seconds = self.clock.monotonic() + min(pause, _MAX_PAUSE_SECONDS)
        self._offenders[where, offender] = known
        if len(self._offenders) > _MAX_OFFENDERS:
            del self._offenders[next(iter(self._offenders))]

    def _log(self, where: str, offender: Hashable, error: Exception) -> None:
        """Logs the first fault of a kind, and then one line per interval with their number."""
        cause = _first_leaf(error)
        kind = (where, type(cause).__name__, _place_of(cause))
        now = self.clock.monotonic()
        known = self._logged.get(kind)
        if known is not None and now - known.at_seconds < _LOG_INTERVAL_SECONDS:
            known.silent_count += 1
            return
        if known is None and len(self._logged) >= _MAX_LOGGED_KINDS:
            del self._logged[next(iter(self._logged))]
        self._logged[kind] = _LoggedKind(now)
        _log.error(
            "fault at %s, %s: %s: %s; what caused it is set aside, all else goes on (%s more since "
            "the last such line)\n%s",
            where,
            _clip(repr(offender)),
            type(cause).__name__,
            _clip(repr(str(cause))),
            known.silent_count if known else 0,
            "".join(traceback.format_tb(cause.__traceback__, limit=-_LOGGED_FRAMES)).rstrip(),
        )


class _Barrier:
    """What `Faults.barrier` returns; written out, as each step of each workload makes several."""

    __slots__ = ("_faults", "_offender", "_passing", "_where")

    def __init__(
        self, faults: Faults, where: str, offender: Hashable, passing: tuple[type[Exception], ...]
    ) -> None:
        self._faults = faults
        self._where = where
        self._offender = offender
        self._passing = passing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            self._faults.on_success(self._where, self._offender)
            return False
        # A cancellation, or the end of the process, is no `Exception`.
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return False
        self._faults.on_fault(self._where, self._offender, error)
        return True


def _first_leaf(error: BaseException) -> BaseException:
    """The first error inside a group; a single error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _place_of(error: BaseException) -> str:
    """File and line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[0].filename}:{frames[0].lineno}" if frames else ""


def _clip(text: str) -> str:
    if len(text) <= _MAX_CONTEXT_CHARACTERS:
        return text
    return text[:_MAX_CONTEXT_CHARACTERS] + "..."


class FaultRelay:
    """Passes faults of what outlives a leader's term to the counter of the present term."""

    def __init__(self) -> None:
        self._count: Callable[[str], None] = lambda _where: None

    def pass_to(self, count: Callable[[str], None]) -> None:
        """Sets the counter that faults are passed to from now on."""
        self._count = count

    def count(self, where: str) -> None:
        """Counts a fault where the relay passes it to."""
        self._count(where)
