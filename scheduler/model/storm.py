"""Whether replicas of silent sites may be evicted, or the hub must suspect its own link.

A pure rule, as `site_health` is: what is known of sites and of the link at one instant, and the
state before, give the state now. Times are seconds on the receiver's monotonic clock.

- A freeze: nothing is evicted. It begins at once when more than half of the fleet fell silent
  together, when the session with the broker is down or new, when no site at all is received, and
  after this process stood still. It ends when that was over for `settle_seconds`.
- A held domain: a province, a city, a provider or a stated failure domain that fell silent as a
  whole, while nearly all other sites report, is lost. Its sites are evicted later than single
  ones are; while too many others are silent as well, they are not evicted at all.
- A rate: evictions are spread over time, more when much of the fleet is away. Kubernetes' node
  lifecycle controller has the same three steps (full, secondary, none) per zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Literal, get_args

from scheduler.model.mass_silence import (
    Domain,
    FleetReading,
    SilentDomain,
    SiteReading,
    domains_of,
    find_mass_silence,
    find_silent_domains,
    read_fleet,
)
from scheduler.model.site_health import HealthLimits

FreezeReason = Literal["operator", "unread", "session", "quiet", "stalled", "fleet"]
"""operator: a person said so. unread: whether a person said so is not known yet. session: the
session with the broker is down or new. quiet: no site is received. stalled: this process stood
still. fleet: too many sites fell silent together."""

FREEZE_REASONS: Final[tuple[FreezeReason, ...]] = get_args(FreezeReason)

_QUIET_INTERVALS: Final = 1.5
_QUIET_INTERVALS_OF_FEW: Final = 2.0
"""Without any message for 1.5 intervals the link is in doubt, and for 3.5 if there is one site:
messages of many sites come more often than their interval, and one may be lost."""

_QUIET_FLOOR_RATIO: Final = 1 / 3  # of the time after which a site is silent, as for late sites


@dataclass(frozen=True, slots=True, kw_only=True)
class StormLimits:
    """What the settings say of storms.

    Attributes:
        max_silent_ratio: evictions freeze when more than this share of the fleet fell silent
            together.
        min_rest_ratio: a domain that is wholly silent is lost if this share of the other sites
            reports; below that it is held without an end.
        loss_after_ratio: the sites of a lost domain must be silent for this many times the time
            that a workload waits.
        settle_seconds: a freeze ends when its cause was over for this long.
        full_rate_ratio: evictions go at the full rate while this share of the fleet reports, or all
            sites but one.
        full_per_second: evictions per second at the full rate.
        reduced_per_second: evictions per second at the reduced rate.
    """

    max_silent_ratio: float = 0.5
    min_rest_ratio: float = 0.8
    loss_after_ratio: float = 2.0
    settle_seconds: float = 60.0
    full_rate_ratio: float = 0.8
    full_per_second: float = 200.0
    reduced_per_second: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReading:
    """What is known of the hub's own link.

    Attributes:
        listening_since_seconds: since when this scheduler receives messages.
        connected_since_seconds: since when the present session with the broker is up; None: it is
            not.
        stalled_seconds: when this process last stood still; -inf: never.
    """

    listening_since_seconds: float
    connected_since_seconds: float | None
    stalled_seconds: float = -inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Nothing is evicted.

    Attributes:
        reason: why.
        since_seconds: since when.
        why: a sentence for people.
    """

    reason: FreezeReason
    since_seconds: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDomain:
    """A failure domain whose sites are held.

    Attributes:
        domain: which one.
        since_seconds: since when it is wholly silent.
        until_seconds: its sites may be evicted from then on; None: not before more others report.
        returning_since_seconds: since when one of its sites reports again; None: none does.
    """

    domain: Domain
    since_seconds: float
    until_seconds: float | None
    returning_since_seconds: float | None = None

    def is_over(self, now_seconds: float) -> bool:
        """Whether its sites may be evicted."""
        return self.until_seconds is not None and now_seconds >= self.until_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StormState:
    """What holds evictions back at one instant.

    Attributes:
        freeze: why nothing is evicted; None: evictions are allowed. An operator's comes first.
        automatic: the freeze that no person has imposed.
        needs_calm: the automatic freeze ends only when its cause was over for a while.
        calm_since_seconds: since when the cause of an automatic freeze is over; None: it is not.
        held: domains that are held, by kind and name.
        excused: silent sites that an operator has excused: they make no storm.
        healthy_ratio: the share of known sites that report.
        per_second: evictions per second; 0 in a freeze.
        full_since_seconds: since when enough sites report for the full rate; None: too few do.
    """

    freeze: Freeze | None = None
    automatic: Freeze | None = None
    needs_calm: bool = False
    calm_since_seconds: float | None = None
    held: tuple[HeldDomain, ...] = ()
    excused: frozenset[str] = frozenset()
    healthy_ratio: float = 0.0
    per_second: float = 0.0
    full_since_seconds: float | None = None

    def is_in_lost_domain(self, domains: Sequence[Domain]) -> bool:
        """Whether a site with these domains is in one that fell silent as a whole."""
        return any(one.domain in domains for one in self.held)

    def holding(self, domains: Sequence[Domain], now_seconds: float) -> HeldDomain | None:
        """The held domain of a site that is held the longest; None: it is in none."""
        found = [one for one in self.held if one.domain in domains and not one.is_over(now_seconds)]
        return max(found, key=_end_of, default=None)


def judge_storm(
    before: StormState,
    limits: StormLimits,
    health_limits: HealthLimits,
    *,
    sites: Sequence[SiteReading],
    link: LinkReading,
    operator: Freeze | None,
    now_seconds: float,
) -> StormState:
    """The state now.

    Args:
        before: the state at the last look; `StormState()` after a start.
        limits: of the settings.
        health_limits: of the settings; for the report intervals of sites.
        sites: all sites.
        link: what is known of the hub's own link.
        operator: the freeze that an operator has imposed; None: none.
        now_seconds: the time.
    """
    fleet = read_fleet(sites, health_limits, before.excused)
    cause = _find_cause(fleet, limits, health_limits, link, now_seconds)
    state = _with_automatic(before, limits, cause, now_seconds)
    state = replace(
        state,
        freeze=operator or state.automatic,
        held=_held(before.held, fleet, limits, now_seconds),
        excused=frozenset(one.name for one in fleet.excused),
        healthy_ratio=fleet.healthy_ratio,
    )
    return _with_rate(state, limits, fleet, now_seconds)


def after_thaw(before: StormState, sites: Sequence[SiteReading]) -> StormState:
    """The state after an operator has thawed: what is silent now makes no storm any more.

    A link that is in doubt stays so: nothing could be ordered or seen over it.
    """
    return replace(
        before,
        freeze=None,
        automatic=None,
        needs_calm=False,
        calm_since_seconds=None,
        held=(),
        excused=frozenset(one.name for one in sites if one.health.is_absent),
    )


def _find_cause(
    fleet: FleetReading,
    limits: StormLimits,
    health_limits: HealthLimits,
    link: LinkReading,
    now_seconds: float,
) -> tuple[FreezeReason, str] | None:
    """Why nothing may be evicted at this instant, the most doubtful first."""
    connected_since = link.connected_since_seconds
    if connected_since is None:
        return "session", "there is no session with the broker"
    is_new = now_seconds - connected_since < limits.settle_seconds
    if is_new and not _have_all_been_received(fleet, connected_since):
        began = connected_since <= link.listening_since_seconds
        what = "began to listen" if began else "connected to the broker again"
        return "session", f"the hub {what}, and has not received all sites since"
    if now_seconds - link.stalled_seconds < limits.settle_seconds:
        return "stalled", "this process stood still, and what was sent meanwhile is still to come"
    limit_seconds = max(
        _QUIET_FLOOR_RATIO * health_limits.silent_after_seconds,
        fleet.interval_seconds * (_QUIET_INTERVALS + _QUIET_INTERVALS_OF_FEW / max(1, fleet.known)),
    )
    newest = max(
        (one.health.received_seconds for some in fleet.readings for one in some), default=-inf
    )
    if fleet.known and now_seconds - max(newest, connected_since) > limit_seconds:
        return "quiet", f"no site at all was received for {limit_seconds:.0f} s"
    silence = find_mass_silence(fleet)
    if silence.ratio > limits.max_silent_ratio:
        received = f"{silence.witnesses} were received since"
        return "fleet", f"{silence.fallen} sites fell silent together, and {received}"
    return None


def _have_all_been_received(fleet: FleetReading, since_seconds: float) -> bool:
    """Whether each site was received in a session, so that what is silent now fell silent in it."""
    known = (*fleet.present, *fleet.absent)
    return not fleet.unknown and all(one.health.received_seconds >= since_seconds for one in known)


def _with_automatic(
    before: StormState,
    limits: StormLimits,
    cause: tuple[FreezeReason, str] | None,
    now_seconds: float,
) -> StormState:
    """The automatic freeze: it begins at once, and ends after a calm."""
    frozen = before.automatic
    if cause is not None:
        reason, why = cause
        since = now_seconds if frozen is None else frozen.since_seconds
        # How long a session is new, and a stall counts, is in the causes themselves.
        needs_calm = before.needs_calm or reason in ("quiet", "fleet")
        freeze = Freeze(reason=reason, since_seconds=since, why=why)
        return replace(before, automatic=freeze, needs_calm=needs_calm, calm_since_seconds=None)
    if frozen is None:
        return before
    calm_since = before.calm_since_seconds
    calm_since = now_seconds if calm_since is None else calm_since
    if not before.needs_calm or now_seconds - calm_since >= limits.settle_seconds:
        return replace(before, automatic=None, needs_calm=False, calm_since_seconds=None)
    return replace(before, calm_since_seconds=calm_since)


def _held(
    before: Sequence[HeldDomain], fleet: FleetReading, limits: StormLimits, now_seconds: float
) -> tuple[HeldDomain, ...]:
    known = {one.domain: one for one in before}
    silent = {one.domain: one for one in find_silent_domains(fleet)}
    held = [
        _held_now(known.get(domain), one, limits, now_seconds) for domain, one in silent.items()
    ]
    alive = domains_of(fleet.present) if before else set()
    for one in before:
        if one.domain not in silent and one.domain in alive:
            held += _held_while_returning(one, limits, now_seconds)
    return tuple(sorted(held, key=lambda one: one.domain))


def _held_now(
    before: HeldDomain | None, silent: SilentDomain, limits: StormLimits, now_seconds: float
) -> HeldDomain:
    """A silent domain: held for a time if the others report, else without an end."""
    since = before.since_seconds if before else now_seconds
    if silent.rest_ratio < limits.min_rest_ratio:
        return HeldDomain(domain=silent.domain, since_seconds=since, until_seconds=None)
    until = before.until_seconds if before else None
    if until is None or (before and before.returning_since_seconds is not None):
        until = now_seconds + limits.settle_seconds
    return HeldDomain(domain=silent.domain, since_seconds=since, until_seconds=until)


def _held_while_returning(
    before: HeldDomain, limits: StormLimits, now_seconds: float
) -> list[HeldDomain]:
    """A domain of which a site reports again: the others get as long to do the same."""
    since = before.returning_since_seconds
    since = now_seconds if since is None else since
    until = since + limits.settle_seconds
    if now_seconds >= until:
        return []
    return [replace(before, until_seconds=until, returning_since_seconds=since)]


def _with_rate(
    state: StormState, limits: StormLimits, fleet: FleetReading, now_seconds: float
) -> StormState:
    """The rate; it rises to the full one only when enough sites have reported for a while."""
    missing = fleet.known - len(fleet.present)
    is_enough = missing <= 1 or fleet.healthy_ratio >= limits.full_rate_ratio
    since = state.full_since_seconds
    since = (now_seconds if since is None else since) if is_enough else None
    # One site that is away was never a storm; after one, the fleet has to be whole for a while.
    is_full = since is not None and (missing <= 1 or now_seconds - since >= limits.settle_seconds)
    rate = limits.full_per_second if is_full else limits.reduced_per_second
    return replace(state, full_since_seconds=since, per_second=0.0 if state.freeze else rate)


def _end_of(held: HeldDomain) -> float:
    return inf if held.until_seconds is None else held.until_seconds
