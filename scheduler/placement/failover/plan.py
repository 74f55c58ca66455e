"""Which pairs of workload and site are due for replacement, and in which order. Pure.

The whole set is planned before the first eviction: by priority, then by age, then by name. Each
pair is due by the workload's own rules; nothing here looks at room, which is taken in that order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.policy import FailoverMode

EvictionCause = Literal["silent", "drain", "maintenance"]
"""silent: the site is lost, or an operator named the workload. The others empty a whole site."""

HoldReason = Literal["Manual", "CannotFence", "Disabled"]
"""Why nothing is replaced without an operator's word."""

HOLD_SENTENCES: Final[dict[HoldReason, str]] = {
    "Manual": "spec.failover.mode is Manual: an operator decides, by kapok failover",
    "CannotFence": "nothing keeps its pods from running at two sites: an operator decides, by "
    "kapok failover",
    "Disabled": "failover.enabled is false in the scheduler's settings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionCandidate:
    """Replicas of one workload that stay at one silent site.

    Attributes:
        key: the workload.
        site: the silent site.
        replicas: how many are there.
        priority: of the workload; higher ones are replaced first.
        created_at_seconds: when it was created; older ones first. 0: not known.
        mode: of its failover.
        after_seconds: how long the site must be silent.
        quiet_seconds: how long it has been.
        is_numbered: its pods have numbers that must not run twice, and nothing fences them.
    """

    key: WorkKey
    site: str
    replicas: int
    priority: int
    created_at_seconds: float
    mode: FailoverMode
    after_seconds: float
    quiet_seconds: float
    is_numbered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """Why the replicas of a workload are to leave a site.

    Attributes:
        site: the site.
        silent_since: since when it does not report; None: it does, or that is not known.
        word: the id of the operator's word; empty: automatic.
        by: the operator.
        refusal: why the word is not followed; it is only answered then.
        cause: what the replicas are to leave for.
        keep: how many of them stay for now, as a disruption budget lets no more be away.
    """

    site: str
    silent_since: datetime | None = None
    word: str = ""
    by: str = ""
    refusal: str = ""
    cause: EvictionCause = "silent"
    keep: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionPlan:
    """What is due now.

    Attributes:
        due: in the order in which the replacements are to be decided.
        held: those that are due and wait for an operator, with the reason.
        next_seconds: in how many seconds the next pair is due; None: none ever.
    """

    due: tuple[EvictionCandidate, ...]
    held: tuple[tuple[EvictionCandidate, HoldReason], ...]
    next_seconds: float | None


def plan_evictions(
    candidates: Iterable[EvictionCandidate], *, is_enabled: bool = True
) -> EvictionPlan:
    """Plans the replacement of replicas at silent sites.

    Args:
        candidates: all replicas that stay at sites from which evictions are allowed.
        is_enabled: whether anything is replaced without an operator's word.
    """
    due: list[EvictionCandidate] = []
    held: list[tuple[EvictionCandidate, HoldReason]] = []
    waits: list[float] = []
    for one in candidates:
        left = one.after_seconds - one.quiet_seconds
        if left > 0:
            waits.append(left)
            continue
        reason = hold_reason(one, is_enabled=is_enabled)
        if reason is None:
            due.append(one)
        else:
            held.append((one, reason))
    due.sort(key=eviction_order)
    return EvictionPlan(
        due=tuple(due), held=tuple(held), next_seconds=min(waits) if waits else None
    )


def eviction_order(one: EvictionCandidate) -> tuple[int, float, WorkKey, str]:
    """The sort key: highest priority first, then the oldest, then by name."""
    return (-one.priority, one.created_at_seconds, one.key, one.site)


class _Replaceable(Protocol):
    @property
    def mode(self) -> FailoverMode: ...
    @property
    def is_numbered(self) -> bool: ...


def hold_reason(one: _Replaceable, *, is_enabled: bool) -> HoldReason | None:
    """Why an operator has to decide; None: the replicas are replaced without one."""
    if not is_enabled:
        return "Disabled"
    if one.mode == "Manual":
        return "Manual"
    return "CannotFence" if one.mode == "Fenced" or one.is_numbered else None
