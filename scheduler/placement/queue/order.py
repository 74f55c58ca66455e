"""Whose turn it is, and what wakes those who wait; the loops of `control` keep the queue itself.

Order: priority, then the share of its quota that the tenant uses already (who uses less goes
first), then age; within a tenant the last batch may order by gain instead of age. Waiting for a
turn lifts the priority, ever faster, so that no stream of urgent work can starve the rest. Work
that no site can take is woken only by events that could change the answer of a rule that refused
it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent, all_rules

AGING_WINDOW_SECONDS = 600.0
"""Every so long that work waits for its turn, its priority counts as higher; it is also the grain:
all that joined within the same such window is lifted at the same moments."""
AGING_STEP = 100
"""The first step; each further one is twice the step before, so that 25 steps lift over any
priority there is."""
MAX_AGING_WINDOWS = 50
"""After so many, more than any difference of priorities, nothing is lifted further."""
UNRANKED = 2**31
"""Of work that the last batch did not see: behind what it saw, by age."""

TenantShare = Callable[[str], float]
"""By tenant, the share of its quota (weighted) that it uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWork:
    """Work that waits for its turn.

    Attributes:
        key: of the workload.
        priority: higher first.
        tenant: whose it is; empty: nobody's.
        waiting_since_seconds: since when it has waited for this turn, any clock that only grows.
        created_at_seconds: when the workload was made, since 1970.
        rank: its place by gain in the last batch.
    """

    key: WorkKey
    priority: int = 0
    tenant: str = ""
    waiting_since_seconds: float = 0.0
    created_at_seconds: float = 0.0
    rank: int = UNRANKED


TenantSortKey = tuple[int, float, WorkKey]
SortKey = tuple[int, float, TenantSortKey]


def aging_window_of(seconds: float) -> int:
    """The lift window that an instant lies in."""
    return int(seconds // AGING_WINDOW_SECONDS)


def aged_priority(priority: int, windows: int) -> int:
    """What a priority counts for after so many windows of waiting."""
    return priority + AGING_STEP * ((1 << min(max(0, windows), MAX_AGING_WINDOWS)) - 1)


def sort_key_within_tenant(work: QueuedWork) -> TenantSortKey:
    """A key to sort the work of one tenant and one priority by: the smallest is next."""
    return (work.rank, work.created_at_seconds, work.key)


def sort_key(work: QueuedWork, tenant_share: TenantShare, *, now_seconds: float) -> SortKey:
    """A key to sort by: the smallest is next.

    Args:
        work: what waits.
        tenant_share: how much of its quota a tenant uses.
        now_seconds: by the clock of `waiting_since_seconds`.
    """
    windows = aging_window_of(now_seconds) - aging_window_of(work.waiting_since_seconds)
    return (
        -aged_priority(work.priority, windows),
        tenant_share(work.tenant),
        sort_key_within_tenant(work),
    )


def dominant_share(
    used: Mapping[str, int], quota: Mapping[str, int], *, weight: float = 1.0
) -> float:
    """The dominant share of a tenant (Ghodsi et al., NSDI 2011) by its weight; 0 without quota."""
    shares_of_resources = [
        used.get(name, 0) / amount for name, amount in quota.items() if amount > 0
    ]
    return max(shares_of_resources, default=0.0) / weight


_CAPACITY_EVENTS: frozenset[WakeEvent] = frozenset({"capacity", "site", "grant", "workload"})
_EVENTS_BY_FIT_REASON: dict[str, frozenset[WakeEvent]] = {
    "full": _CAPACITY_EVENTS,
    "fragmented": _CAPACITY_EVENTS,
    "spread": _CAPACITY_EVENTS | {"report", "latency"},
    "quota": frozenset({"tenant", "quota", "workload"}),
    "deadline": frozenset({"time", "workload"}),
    "paused": frozenset({"workload"}),
    "invalid": frozenset({"workload", "scheme", "tenant", "gone"}),
}
"""Reasons that no rule in `constraints/` gives, or not alone."""

_ALL_EVENTS: frozenset[WakeEvent] = frozenset(get_args(WakeEvent))


@cache
def wake_events_of(reason: str) -> frozenset[WakeEvent]:
    """Events that could change an answer with this reason; of an unknown one, every event."""
    found = [rule.wake_events for rule in all_rules() if rule.reason == reason]
    if reason in _EVENTS_BY_FIT_REASON:
        found.append(_EVENTS_BY_FIT_REASON[reason])
    return frozenset[WakeEvent]().union(*found) if found else _ALL_EVENTS


def could_wake(events: frozenset[WakeEvent], reasons: Iterable[str]) -> bool:
    """Whether any of the events could change any of the reasons."""
    return any(events & wake_events_of(reason) for reason in reasons)
