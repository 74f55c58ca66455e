"""Which workload is decided next, and which events requeue an unschedulable one.

The order is by priority, then by the share of its quota that the tenant uses (the smaller share
goes first), then by age; within a tenant, the last batch may order by gain instead of age. Waiting
in the queue raises the priority, ever faster, so that no stream of urgent work can starve the rest
(aging). A workload that no site can take is requeued only by events that could change the answer of
a rule that refused it. The queue itself is in `control.queue`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.filter.rules import WakeEvent, all_rules

AGING_WINDOW_SECONDS = 600.0
"""After each such time in the queue a workload's priority counts as higher. Time is divided into
windows of this length, and all that joined in one window ages at the same instants."""
AGING_STEP = 100
"""By how much the first window raises the priority. Each further window raises it by twice as much
as the one before, so that 25 windows exceed every priority that Kubernetes permits."""
MAX_AGING_WINDOWS = 50
"""Priorities age no further after so many windows: that exceeds any difference of priorities."""
UNRANKED = 2**31
"""The rank of work that was not in the last batch: behind what was, by age."""

TenantShare = Callable[[str], float]
"""Gives the weighted share of its quota that a tenant uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWork:
    """A workload that waits to be decided.

    Attributes:
        key: namespace and name of the workload.
        priority: higher goes first.
        tenant: the tenant of its namespace; empty: none.
        waiting_since_seconds: when it joined the queue, by a monotonic clock.
        created_at_seconds: when the workload was created, in seconds since 1970.
        rank: its place by gain in the last batch; smaller goes first.
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
    """The number of the aging window of an instant."""
    return int(seconds // AGING_WINDOW_SECONDS)


def aged_priority(priority: int, windows: int) -> int:
    """What a priority counts as after so many windows in the queue."""
    # The sum of AGING_STEP * 2**k over all windows k so far.
    return priority + AGING_STEP * ((1 << min(max(0, windows), MAX_AGING_WINDOWS)) - 1)


def sort_key_within_tenant(work: QueuedWork) -> TenantSortKey:
    """The sort key of work of one tenant and one priority: the smallest is next."""
    return (work.rank, work.created_at_seconds, work.key)


def sort_key(work: QueuedWork, tenant_share: TenantShare, *, now_seconds: float) -> SortKey:
    """The sort key of work: the smallest is next.

    Args:
        work: the work.
        tenant_share: gives the share of its quota that a tenant uses.
        now_seconds: the time by the clock of `waiting_since_seconds`.
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
    """The dominant share of a tenant over its weight; 0 without a quota.

    That is the share of the resource of which it uses the largest part (Ghodsi et al., Dominant
    Resource Fairness, NSDI 2011).

    Args:
        used: what the tenant uses, by resource.
        quota: its quota, by resource.
        weight: of the tenant; twice the weight may use twice as much.
    """
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
"""By reasons that not only rules in `constraints/` give: what can change such an answer."""

_ALL_EVENTS: frozenset[WakeEvent] = frozenset(get_args(WakeEvent))


@cache
def wake_events_of(reason: str) -> frozenset[WakeEvent]:
    """The events that could change an answer with this reason; all events if it is unknown."""
    found = [rule.wake_events for rule in all_rules() if rule.reason == reason]
    if reason in _EVENTS_BY_FIT_REASON:
        found.append(_EVENTS_BY_FIT_REASON[reason])
    return frozenset[WakeEvent]().union(*found) if found else _ALL_EVENTS


def could_wake(events: frozenset[WakeEvent], reasons: Iterable[str]) -> bool:
    """Whether any of the events could change any of the reasons."""
    return any(events & wake_events_of(reason) for reason in reasons)
