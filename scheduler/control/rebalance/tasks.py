"""Which workloads the next decision may move to save cost, and what it must save.

The loop fills it, in memory only, and decisions read it. What was moved stands in
`Workload.status.rebalance`, so that a new leader counts it; what was only asked for is found again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, RebalanceQuestion
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.rebalance import RebalanceStatus
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.placement.rebalance.plan import why_it_cannot_move, why_it_stays

REBALANCE_ANNOTATION: Final = "rebalance.kapok.dev/asked-at"
"""An operator's word that a workload may move now, `kapok rebalance`: the time when it was said.

It holds for ten minutes: long enough for the loop to look, and over before it could be a surprise.
It lifts nothing but the mode Advise: the least saving, the moves of the hour, the day between two
moves and every rule hold."""
_HOLDS = timedelta(minutes=10)
_AHEAD = timedelta(minutes=1)  # clocks differ
_MAX_CHARACTERS = 40


@dataclass(slots=True)
class RebalanceTasks:
    """One question of each workload that may move."""

    _asked: dict[WorkKey, RebalanceQuestion] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, key: WorkKey, question: RebalanceQuestion) -> None:
        """Has the next decision about a workload move it, if it still saves as much."""
        self._asked[key] = question

    def moves_asked(self, keys: Iterable[WorkKey]) -> int:
        """How many replicas of these workloads may move by decisions that are still to come."""
        return sum(self._asked[key].moves for key in keys if key in self._asked)

    def with_question(
        self, key: WorkKey, workload: Workload, demand: Demand, now: datetime
    ) -> Demand:
        """The demand of a decision, with the question about a move if it may still move."""
        question = self._asked.pop(key, None)
        if question is None or why_it_stays(workload, now) or why_it_cannot_move(demand):
            return demand
        return msgspec.structs.replace(demand, rebalance=question)

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._asked.pop(key, None)


def with_rebalance(status: WorkloadStatus, decision: Decision, now: datetime) -> WorkloadStatus:
    """The status after a decision, with what it moved to save cost."""
    step = decision.rebalance
    if step is None:
        return status
    moved = RebalanceStatus(
        at=now.replace(microsecond=0),
        replicas=step.replicas,
        saved_cny=round(step.saves_cny, 6),
        saved_gco2=round(step.saves_gco2, 3),
    )
    return msgspec.structs.replace(status, rebalance=moved)


def is_asked(annotations: Mapping[str, str], now: datetime) -> bool:
    """Whether a word holds now; what is no time is no word."""
    text = annotations.get(REBALANCE_ANNOTATION, "")
    if not text or len(text) > _MAX_CHARACTERS:
        return False
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return at.tzinfo is not None and -_AHEAD <= now - at <= _HOLDS


def write_asked(now: datetime) -> dict[str, str]:
    """The annotation of a word that is said now."""
    return {REBALANCE_ANNOTATION: format_rfc3339(now)}
