"""Which replicas leave a site that is drained or about to be maintained, and what stays. Pure.

Each step moves as many replicas of a workload as its PodDisruptionBudget lets be away at once, of
all its sites together; without a budget a site is left at once. The replacement always comes first,
except for pods with numbers, which an operator has to force.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.manifests.budgets import StrictestBudget

ClearCause = Literal["drain", "maintenance"]
"""Why a site is to be emptied: an operator's word, or a window of `spec.maintenance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainCandidate:
    """Replicas of one workload that stay at one site which is to be emptied.

    Attributes:
        key: the workload.
        site: the site.
        cause: why the site is to be emptied.
        replicas: how many are there.
        total: how many the workload has at all sites.
        priority: of the workload; higher ones move first.
        created_at_seconds: when it was created; older ones first. 0: not known.
        is_forced: the operator accepts what `needs_force` says.
        needs_force: why it moves by an operator's explicit word only; empty: it just moves.
        is_whole: its replicas at a site move together, and end before they start elsewhere.
        is_everywhere: each of its sites has a whole copy, which no other site replaces.
        budget: its strictest PodDisruptionBudget; None: it has none.
        leaving: replicas that run until their replacement does, at all sites.
        away: replicas at other sites that are not known to be ready.
        ends_in_time: it ends by itself before the site has to be empty.
        not_accepted: why its last edit is not accepted; empty: it is.
    """

    key: WorkKey
    site: str
    cause: ClearCause
    replicas: int
    total: int
    priority: int = 0
    created_at_seconds: float = 0.0
    is_forced: bool = False
    needs_force: str = ""
    is_whole: bool = False
    is_everywhere: bool = False
    budget: StrictestBudget | None = None
    leaving: int = 0
    away: int = 0
    ends_in_time: bool = False
    not_accepted: str = ""

    @property
    def may_stay(self) -> bool:
        """Whether the site counts as empty although it is there."""
        return self.ends_in_time or (self.is_everywhere and self.is_forced)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStep:
    """Replicas of one workload that may leave a site now.

    Attributes:
        candidate: the workload and the site.
        keep: how many replicas stay at the site until the next step.
    """

    candidate: DrainCandidate
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainPlan:
    """What may leave now, and what does not.

    Attributes:
        steps: in the order in which they are to start.
        stays: why replicas do not leave, by workload and site. What is in neither is on its way,
            or needs not leave.
    """

    steps: tuple[DrainStep, ...]
    stays: dict[tuple[WorkKey, str], str]


def plan_drain(candidates: Iterable[DrainCandidate]) -> DrainPlan:
    """Plans the next steps: by priority, then age, then name.

    Args:
        candidates: all replicas that stay at sites which are to be emptied and which report.
    """
    steps: list[DrainStep] = []
    stays: dict[tuple[WorkKey, str], str] = {}
    started: dict[WorkKey, int] = {}
    for one in sorted(candidates, key=drain_order):
        if one.may_stay:
            continue
        reason = why_not_at_all(one)
        if reason:
            stays[one.key, one.site] = reason
            continue
        moved = one.replicas
        if one.budget is not None:
            away = max(one.leaving, one.away) + started.get(one.key, 0)
            moved = min(moved, one.budget.allowed - away)
            if one.is_whole and moved < one.replicas:
                moved = 0
            if moved <= 0:
                if not one.leaving and one.key not in started:
                    stays[one.key, one.site] = _waits_for_budget(one, one.budget)
                continue
        started[one.key] = started.get(one.key, 0) + moved
        steps.append(DrainStep(candidate=one, keep=one.replicas - moved))
    return DrainPlan(steps=tuple(steps), stays=stays)


def drain_order(one: DrainCandidate) -> tuple[int, float, WorkKey, str]:
    """The sort key: highest priority first, then the oldest, then by name."""
    return (-one.priority, one.created_at_seconds, one.key, one.site)


def why_not_at_all(one: DrainCandidate) -> str:
    """Why replicas do not leave whatever else happens, with the way out; empty: they may leave."""
    if one.not_accepted:
        return f"its last edit is not accepted, so nothing new is placed: {one.not_accepted}"
    if one.is_everywhere:
        return (
            "each of its sites runs a whole copy, so none is moved; take the site out of its "
            f"siteSelector, or accept that with kapok site drain {one.site} --force"
        )
    if one.needs_force and not one.is_forced:
        return f"{one.needs_force}; kapok site drain {one.site} --force moves it all the same"
    return "" if one.budget is None else _forbidden_by_budget(one, one.budget)


def _forbidden_by_budget(one: DrainCandidate, budget: StrictestBudget) -> str:
    if not budget.allowed:
        return f"PodDisruptionBudget {budget.name} ({budget.rule}) lets no replica be away"
    if one.is_whole and budget.allowed < one.replicas:
        return (
            f"its {one.replicas} replicas move together, and PodDisruptionBudget {budget.name} "
            f"({budget.rule}) lets {budget.allowed} be away"
        )
    return ""


def _waits_for_budget(one: DrainCandidate, budget: StrictestBudget) -> str:
    return (
        f"PodDisruptionBudget {budget.name} ({budget.rule}): {one.away} of {one.total} replicas "
        "are not ready at its other sites"
    )
