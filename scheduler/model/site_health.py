"""The health of a site, from when its messages were made and nothing else.

A pure rule: each event and the present state give the next state, and times are seconds on the
receiver's monotonic clock, which the caller passes. The thresholds follow the site's own interval:
that which its agent states, else the median of the measured ones, and how much later than that its
reports come.

A site that falls silent again soon after it returned is held: it counts as silent until it has
reported in time for a while, and twice as long each time (as the damping of routes that flap,
RFC 2439, in a simple form).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final, Literal, get_args

import msgspec
from msgspec.structs import replace

HealthName = Literal["Unknown", "Reporting", "Late", "Silent", "Lost"]
"""Unknown: since the scheduler began to listen, neither a report came nor did enough time pass."""

HEALTH_NAMES: Final[tuple[HealthName, ...]] = get_args(HealthName)

PRESENT: Final = frozenset[HealthName]({"Reporting", "Late"})
"""In these the site counts as there: nothing but what is shown depends on which one it is."""

ABSENT: Final = frozenset[HealthName]({"Silent", "Lost"})

_LATE_INTERVALS, _SILENT_INTERVALS, _WILL_INTERVALS = 2.5, 4.5, 1.5
"""One report that is lost makes no site late, and three make none silent. With the default interval
of 10 s a site is silent after 45 s."""

_LATE_FLOOR_RATIO = 1 / 3
_LATE_CEILING_RATIO = 0.75
_KEPT_GAPS = 16
_TIMELY_REPORTS = 2  # so many in a row end lateness
_MAX_DOUBLINGS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """What the settings say of health.

    Attributes:
        silent_after_seconds: no site is silent before it sent nothing for this long, unless the
            broker says that its session ended.
        max_silent_after_seconds: a site that reports rarely is silent after this time at the
            latest, or after `silent_after_seconds` if that is longer.
        lost_after_seconds: a silent site is lost after this time without a message; at least twice
            the time after which it was silent.
        first_hold_seconds: how long a site must report in time when it was silent twice; doubled
            each further time.
        max_hold_seconds: the longest such time. A site that was there for as long has no past.
    """

    silent_after_seconds: float = 45.0
    max_silent_after_seconds: float = 900.0
    lost_after_seconds: float = 300.0
    first_hold_seconds: float = 30.0
    max_hold_seconds: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthDeadlines:
    """After how many seconds without a message a site is late, silent and lost."""

    late_seconds: float
    silent_seconds: float
    lost_seconds: float


class HealthState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the health of one site.

    Attributes:
        name: the present state.
        since_seconds: since when it is that.
        quiet_since_seconds: from when silence counts: the last message, or when listening began;
            later by the time for which the receiver itself stood still.
        look_seconds: when time alone may change the state; the caller looks again then.
        received_seconds: when the last message was made at the latest; -inf: none yet.
        reported_seconds: the same of the last report, for the measured intervals.
        gaps_seconds: the last measured intervals between reports, the newest last.
        interval_seconds: the interval that the agent states; None: it states none.
        has_will: the broker has said since the last message that the site's session ended.
        was_known: an earlier process had received reports of it; if not, it cannot be lost.
        timely_reports: reports in a row that came in time.
        steady_since_seconds: since when a silent site reports in time; None: it does not.
        falls: how often it fell silent, each time soon after it had returned.
        hold_seconds: how long it must report in time before it counts as there again.
        returned_seconds: when it last returned; -inf: it was never away.
    """

    name: HealthName = "Unknown"
    since_seconds: float = -inf
    quiet_since_seconds: float = -inf
    look_seconds: float = -inf
    received_seconds: float = -inf
    reported_seconds: float = -inf
    gaps_seconds: tuple[float, ...] = ()
    interval_seconds: float | None = None
    has_will: bool = False
    was_known: bool = False
    timely_reports: int = 0
    steady_since_seconds: float | None = None
    falls: int = 0
    hold_seconds: float = 0.0
    returned_seconds: float = -inf

    @property
    def is_present(self) -> bool:
        """Whether the site counts as there."""
        return self.name in PRESENT

    @property
    def is_absent(self) -> bool:
        """Whether the site is known not to report; False while that is unknown."""
        return self.name in ABSENT

    @property
    def held_until_seconds(self) -> float | None:
        """When a silent site that reports again counts as there; None: it does not report."""
        if not self.is_absent or self.steady_since_seconds is None:
            return None
        return self.steady_since_seconds + self.hold_seconds


def on_admitted(limits: HealthLimits, now_seconds: float, *, was_known: bool) -> HealthState:
    """The health of a site to which one begins to listen."""
    begun = HealthState(
        since_seconds=now_seconds, quiet_since_seconds=now_seconds, was_known=was_known
    )
    return _with_look(begun, limits)


def on_report(
    health: HealthState,
    limits: HealthLimits,
    *,
    made_seconds: float,
    now_seconds: float,
    interval_seconds: float | None = None,
    is_new_boot: bool = False,
) -> HealthState:
    """The health after a report.

    Args:
        health: the health before.
        limits: of the settings.
        made_seconds: when the report was made at the latest; one that was withheld is old.
        now_seconds: when it arrived.
        interval_seconds: the interval that the agent states; None: it states none.
        is_new_boot: its agent has started since its last message, perhaps with other settings.
    """
    deadlines = deadlines_of(replace(health, has_will=False), limits)
    late_seconds = deadlines.late_seconds
    oldest = deadlines.silent_seconds if health.name == "Unknown" else late_seconds
    if is_new_boot:
        health = replace(health, gaps_seconds=(), reported_seconds=-inf)
    is_timely = made_seconds - health.quiet_since_seconds <= late_seconds
    health = replace(
        _with_gap(health, limits, made_seconds),
        interval_seconds=interval_seconds or None,
        timely_reports=health.timely_reports + 1 if is_timely else 1,
    )
    health = _with_message(health, made_seconds)
    if now_seconds - health.received_seconds >= oldest:
        # What was withheld and arrives now shows what the site was, not that it is there.
        return _with_look(health, limits)
    steady = health.steady_since_seconds
    if steady is None or not is_timely:
        health = replace(health, steady_since_seconds=now_seconds)
    return _with_look(_returned(health, now_seconds), limits)


def on_other_message(
    health: HealthState, limits: HealthLimits, *, made_seconds: float
) -> HealthState:
    """The health after a message that is no report: silence begins again, and no more."""
    return _with_look(_with_message(health, made_seconds), limits)


def on_will(health: HealthState, limits: HealthLimits) -> HealthState:
    """The health after the broker has said that the site's session ended.

    Sessions end on every bad link, so that alone says nothing; reports that are missing after it
    count for more.
    """
    return _with_look(replace(health, has_will=True), limits) if health.is_present else health


def on_stall(
    health: HealthState, limits: HealthLimits, *, stall_seconds: float, now_seconds: float
) -> HealthState:
    """The health after the receiver stood still: for that time no site is to blame."""
    return _with_look(
        replace(
            health,
            quiet_since_seconds=min(now_seconds, health.quiet_since_seconds + stall_seconds),
            reported_seconds=min(now_seconds, health.reported_seconds + stall_seconds),
        ),
        limits,
    )


def on_time(health: HealthState, limits: HealthLimits, *, now_seconds: float) -> HealthState:
    """The health after time has passed."""
    quiet, deadlines = now_seconds - health.quiet_since_seconds, deadlines_of(health, limits)
    if health.is_absent:
        is_lost = quiet >= deadlines.lost_seconds and was_ever_there(health)
        if health.name == "Silent" and is_lost:
            health = replace(health, name="Lost", since_seconds=now_seconds)
    elif quiet >= deadlines.silent_seconds:
        return fall_silent(health, limits, now_seconds=now_seconds)
    elif health.name == "Reporting" and quiet >= deadlines.late_seconds:
        health = replace(health, name="Late", since_seconds=now_seconds)
    return _with_look(health, limits)


def fall_silent(health: HealthState, limits: HealthLimits, *, now_seconds: float) -> HealthState:
    """The health of a site that is silent from now on."""
    falls, hold_seconds = health.falls, health.hold_seconds
    if health.is_present:
        is_calm = now_seconds - health.returned_seconds >= limits.max_hold_seconds
        falls = 1 if is_calm else falls + 1
        doublings = min(falls - 2, _MAX_DOUBLINGS)
        hold_seconds = (
            min(limits.first_hold_seconds * 2.0**doublings, limits.max_hold_seconds)
            if falls > 1
            else 0.0
        )
    fallen = replace(
        health,
        name="Silent",
        since_seconds=now_seconds,
        steady_since_seconds=None,
        timely_reports=0,
        falls=falls,
        hold_seconds=hold_seconds,
    )
    return _with_look(fallen, limits)


def interval_of(health: HealthState, limits: HealthLimits) -> float:
    """Seconds between two reports of the site; the one that suits the settings if not known.

    What an agent states counts up to the time after which every site is silent, so that no agent
    can have its site waited for without end.
    """
    if health.interval_seconds is not None:
        return min(health.interval_seconds, _ceiling_of(limits))
    if health.gaps_seconds:
        ordered = sorted(health.gaps_seconds)
        return (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
    return limits.silent_after_seconds / _SILENT_INTERVALS


def jitter_of(health: HealthState, limits: HealthLimits) -> float:
    """How much later than the interval reports come: the second worst of the last ones.

    A link that loses every fifth report has a jitter of an interval, a single loss none.
    """
    if len(health.gaps_seconds) < _KEPT_GAPS // 4:
        return 0.0
    return max(0.0, sorted(health.gaps_seconds)[-2] - interval_of(health, limits))


def deadlines_of(health: HealthState, limits: HealthLimits) -> HealthDeadlines:
    """When silence means what, for this site."""
    interval, jitter = interval_of(health, limits), jitter_of(health, limits)
    floor = limits.silent_after_seconds
    silent = min(max(floor, _SILENT_INTERVALS * interval + 2 * jitter), _ceiling_of(limits))
    late = max(_LATE_FLOOR_RATIO * floor, _LATE_INTERVALS * interval + jitter)
    late = min(late, _LATE_CEILING_RATIO * silent)
    lost = max(limits.lost_after_seconds, 2 * silent)
    if not health.has_will:
        return HealthDeadlines(late_seconds=late, silent_seconds=silent, lost_seconds=lost)
    sooner = min(_WILL_INTERVALS * interval + jitter, _LATE_CEILING_RATIO * late)
    return HealthDeadlines(late_seconds=sooner, silent_seconds=late, lost_seconds=lost)


def _ceiling_of(limits: HealthLimits) -> float:
    return max(limits.silent_after_seconds, limits.max_silent_after_seconds)


def count_healths(healths: Iterable[HealthState]) -> dict[HealthName, int]:
    """The number of sites by state, with every state."""
    counts = dict.fromkeys(HEALTH_NAMES, 0)
    for one in healths:
        counts[one.name] += 1
    return counts


def _with_gap(health: HealthState, limits: HealthLimits, made_seconds: float) -> HealthState:
    gap = made_seconds - health.reported_seconds
    if not isfinite(gap):
        return replace(health, reported_seconds=made_seconds)
    if gap <= 0:
        return health
    if health.is_absent and health.gaps_seconds:
        return replace(health, reported_seconds=made_seconds)  # an outage is no jitter
    # The first gap counts even then: it is how a site that reports rarely is recognised.
    longest = 2 * deadlines_of(replace(health, has_will=False), limits).silent_seconds
    gaps = (*health.gaps_seconds, min(gap, longest))[-_KEPT_GAPS:]
    return replace(health, reported_seconds=made_seconds, gaps_seconds=gaps)


def _with_message(health: HealthState, made_seconds: float) -> HealthState:
    if made_seconds < health.received_seconds:
        return health
    return replace(
        health,
        received_seconds=made_seconds,
        quiet_since_seconds=max(health.quiet_since_seconds, made_seconds),
        has_will=health.has_will and made_seconds <= health.quiet_since_seconds,
    )


def _returned(health: HealthState, now_seconds: float) -> HealthState:
    if health.name == "Unknown":
        return replace(health, name="Reporting", since_seconds=now_seconds)
    if health.name == "Late" and health.timely_reports >= _TIMELY_REPORTS:
        return replace(health, name="Reporting", since_seconds=now_seconds)
    until = health.held_until_seconds
    if until is None or now_seconds < until:
        return health
    return replace(
        health, name="Reporting", since_seconds=now_seconds, returned_seconds=now_seconds
    )


def was_ever_there(health: HealthState) -> bool:
    """Whether this process or an earlier one has received the site."""
    return health.was_known or isfinite(health.received_seconds)


def _with_look(health: HealthState, limits: HealthLimits) -> HealthState:
    deadlines, quiet_since = deadlines_of(health, limits), health.quiet_since_seconds
    if health.name == "Reporting":
        look = quiet_since + deadlines.late_seconds
    elif health.name == "Silent":
        look = quiet_since + deadlines.lost_seconds if was_ever_there(health) else inf
    elif health.name == "Lost":
        look = inf
    else:
        look = quiet_since + deadlines.silent_seconds
    return replace(health, look_seconds=look)
