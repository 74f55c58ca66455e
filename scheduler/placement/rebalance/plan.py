"""Which workloads may move to save cost, and which of them move first. Pure.

Only what runs undisturbed moves: all replicas ready, none on the move, no right broken, nothing
being rolled out, and nothing that failover placed and may take back. What keeps state, has numbered
pods or is a job stays, and so does everything that has moved for a saving within a day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.model.decision import RebalanceStep
from scheduler.model.demand.demand import Demand, RebalanceQuestion
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.rebalance import RebalanceBudget
from scheduler.model.kinds.workload import Workload
from scheduler.placement.rebalance.saving import HORIZON_HOURS

_HOUR, _DAY = timedelta(hours=1), timedelta(hours=HORIZON_HOURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceCandidate:
    """A move that is worth it.

    Attributes:
        key: the workload.
        priority: of the workload.
        step: what moves and what that saves.
    """

    key: WorkKey
    priority: int
    step: RebalanceStep


def why_it_stays(workload: Workload, now: datetime) -> str:
    """Why a workload is not looked at now, as far as its status says it; "": it is."""
    status, last = workload.status, workload.status.rebalance
    groups, failover = status.placement.groups, status.failover
    is_running = status.phase == "Running" and 0 < status.replicas <= status.ready
    is_decided = status.observed_generation == workload.metadata.generation
    last_at = last.at if last is not None else None
    reasons = (
        (not is_running, "not all of its replicas run"),
        (
            any(one.phase != "Running" or one.violates for one in groups),
            "its replicas are on the move, or break a rule",
        ),
        (
            status.rollout is not None and status.rollout.phase != "Complete",
            "a change of it is being rolled out",
        ),
        (not is_decided or workload.spec.paused, "it is paused, or its spec is not decided yet"),
        (
            failover is not None and bool(failover.moved or failover.unready),
            "failover moved it, and may move it back",
        ),
        (last_at is not None and now - last_at < _DAY, "it moved for a saving within a day"),
    )
    return next((text for holds, text in reasons if holds), "")


def why_it_cannot_move(demand: Demand) -> str:
    """Why the replicas of a demand do not move for a saving, whatever it is; "": they may."""
    if demand.strategy == "Duplicated":
        return "each of its sites has a whole copy"
    if demand.evicted or demand.unready or demand.preempted:
        return "its replicas are being replaced"
    return demand.immovable


def question_of(budget: RebalanceBudget, left: int) -> RebalanceQuestion:
    """What a decision is asked about a move, while so many moves are left in this hour."""
    return RebalanceQuestion(
        moves=left,
        min_cny_per_move=budget.min_saving_cny_per_move,
        min_gco2_per_move=budget.min_saving_gco2_per_move,
    )


def moves_left(budget: RebalanceBudget, workloads: Iterable[Workload], now: datetime) -> int:
    """How many replicas may still move in this hour, of all workloads of a policy."""
    moved = 0
    for one in workloads:
        last = one.status.rebalance
        if last is not None and last.at is not None and now - last.at < _HOUR:
            moved += last.replicas
    return max(0, budget.moves - moved)


def within_budget(candidates: Sequence[RebalanceCandidate], left: int) -> list[RebalanceCandidate]:
    """The moves that are made: those that save most for each replica first, then by name.

    One that needs more moves than are left is passed over: a workload moves whole or not at all.
    """
    taken: list[RebalanceCandidate] = []
    for one in sorted(candidates, key=_order):
        if one.step.replicas <= left:
            left -= one.step.replicas
            taken.append(one)
    return taken


def _order(one: RebalanceCandidate) -> tuple[float, float, WorkKey]:
    count = one.step.replicas
    return (-one.step.saves_cny / count, -one.step.saves_gco2 / count, one.key)
