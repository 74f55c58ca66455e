"""Whose turn it is, and what wakes those who wait; the loops of `control` keep the queue itself.

Order: priority, then the share of its quota that the tenant uses already (who uses less goes
first), then age. Waiting lifts priority slowly, so that no stream of urgent work can starve the
rest for ever. Work that no site can take is woken only by events that could change the answer of a
rule that refused it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.model.reasons import Reason
from scheduler.placement.rules import Event, all_rules

LIFT_AFTER_SECONDS = 600.0
"""Every so long that work waits, its priority counts as one step higher."""
LIFT = 100
"""One step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Work that waits for its turn.

    Attributes:
        key: `namespace/name`.
        priority: higher first.
        tenant: whose it is; empty: nobody's.
        waiting_since_seconds: when it joined the queue, any clock that only grows.
        created_at_seconds: when the workload was made, since 1970.
    """

    key: str
    priority: int = 0
    tenant: str = ""
    waiting_since_seconds: float = 0.0
    created_at_seconds: float = 0.0


Turn = tuple[int, float, float, str]


def turn_of(work: Waiting, shares: Mapping[str, float], *, now_seconds: float) -> Turn:
    """A key to sort by: the smallest is next.

    Args:
        work: what waits.
        shares: by tenant, the share of its quota (weighted) that it uses; absent: none.
        now_seconds: by the clock of `waiting_since_seconds`.
    """
    waited = max(0.0, now_seconds - work.waiting_since_seconds)
    lifted = work.priority + LIFT * int(waited // LIFT_AFTER_SECONDS)
    return (-lifted, shares.get(work.tenant, 0.0), work.created_at_seconds, work.key)


def next_of(
    waiting: Iterable[Waiting], shares: Mapping[str, float], *, now_seconds: float
) -> Waiting | None:
    """Whose turn it is; None: nobody waits."""
    return min(
        waiting, key=lambda work: turn_of(work, shares, now_seconds=now_seconds), default=None
    )


def share_of(used: Mapping[str, int], quota: Mapping[str, int], *, weight: float = 1.0) -> float:
    """The dominant share of a tenant (Ghodsi et al., NSDI 2011) by its weight; 0 without quota."""
    shares = [used.get(name, 0) / amount for name, amount in quota.items() if amount > 0]
    return max(shares, default=0.0) / weight


_OF_ROOM: dict[Reason, frozenset[Event]] = {
    "full": frozenset({"capacity", "site", "workload", "grant"}),
    "fragmented": frozenset({"capacity", "site", "workload", "grant"}),
    "spread": frozenset({"capacity", "site", "workload", "grant"}),
    "quota": frozenset({"tenant", "workload"}),
    "deadline": frozenset({"time", "workload"}),
    "paused": frozenset({"workload"}),
    "invalid": frozenset({"workload", "scheme", "tenant"}),
}


def waking_events(reasons: Iterable[Reason]) -> frozenset[Event]:
    """The events that could change an answer which was refused for these reasons."""
    events: set[Event] = {"workload"}
    for reason in reasons:
        events |= _OF_ROOM.get(reason, frozenset())
        for rule in all_rules():
            if rule.reason == reason:
                events |= rule.wakes
    return frozenset(events)
