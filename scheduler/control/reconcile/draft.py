"""What a reconciliation decides before it is recorded, and what comes of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from math import isinf

from scheduler.control.ports.ledger import PreparedRecord, RecordReference
from scheduler.control.queue.planned_starts import REPLAN_SECONDS
from scheduler.control.status.accepted import PackedAcceptance
from scheduler.control.status.phase import MAX_TEXT_LENGTH
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import DecisionReference, Workload, WorkloadStatus
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.gates import held_until_seconds
from scheduler.placement.queue.minimum_requests import MinimumRequest, minimum_request_of
from scheduler.placement.queue.order import could_wake


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The outcome of one reconciliation.

    Attributes:
        result: placed, waiting, refused, unchanged, not-accepted, deleted, withdrawing.
        unschedulable_reasons: slugs of the reasons that keep the workload from being placed; empty
            when it waits for nothing.
        retry_after_seconds: after this time the decision may change by itself, or a status that
            is held back is written; None: never.
        minimum_request: what a site must have free to matter to it; None: any site may.
        frees_names: it runs nowhere, and another workload waits for a name that it has given up.
    """

    result: str
    unschedulable_reasons: frozenset[str] = frozenset()
    retry_after_seconds: float | None = None
    minimum_request: MinimumRequest | None = None
    frees_names: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualMember:
    """One of several equal workloads that wait together.

    Attributes:
        key: namespace and name.
        as_read: as the hub holds it.
        workload: the same with its incarnation.
        demand: what is decided on; of all members the same but for the name.
    """

    key: WorkKey
    as_read: Workload
    workload: Workload
    demand: Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """What is decided, or refused, and not recorded yet.

    Attributes:
        append: appends its record.
        line: what is decided, in a line.
        decided_at: when.
        workload: with the spec that was decided on.
        demand: what was decided on; None: a refusal.
        decision: the decision; None: a refusal.
    """

    append: PreparedRecord
    line: str
    decided_at: datetime
    workload: Workload
    demand: Demand | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a reconciliation decides, before it is recorded.

    Attributes:
        status: the status after it, without what sites report; its reference to the ledger is
            empty while there is something to record.
        outcome: the outcome of the reconciliation.
        demand: of a decision that is to be recorded; None: nothing new is decided.
        unrecorded: what is to be recorded, in this order.
        too_large: what is accepted, if the status has no room for it; to be stored before it.
    """

    status: WorkloadStatus
    outcome: ReconcileResult
    demand: Demand | None = None
    unrecorded: tuple[Unrecorded, ...] = ()
    too_large: PackedAcceptance | None = None


def reference_of(
    line: str, decided_at: datetime, recorded: RecordReference | None = None
) -> DecisionReference:
    """A status's reference to a record; without an id until there is one."""
    return DecisionReference(
        id=recorded.id if recorded else "",
        hash=recorded.hash if recorded else "",
        line=line[:MAX_TEXT_LENGTH],
        decided_at=decided_at,
        index=recorded.index if recorded else None,
    )


def outcome_of(decision: Decision, demand: Demand) -> ReconcileResult:
    """The outcome of a decision; what is not placed waits for its reasons or its start time."""
    if decision.phase == "Placed":
        return ReconcileResult("placed")
    start, now = decision.start_at or demand.schedule.earliest, decision.decided_at
    pause = (start - now).total_seconds() if start and start > now else None
    if pause is not None and decision.start_at is not None:
        pause = min(pause, REPLAN_SECONDS)
    if pause is None and demand.budget_hold:
        pause = _seconds_held(demand, now)
    reasons = frozenset[str](decision.reasons)
    need = minimum_request_of(demand) if could_wake(frozenset({"capacity"}), reasons) else None
    return ReconcileResult(decision.phase.lower(), reasons, pause, need)


def _seconds_held(demand: Demand, now: datetime) -> float | None:
    """How long work that is held for a budget can still wait; None: without end, or not at all."""
    until = held_until_seconds(demand, decision_context(now, DEFAULT_TERMS))
    return None if until is None or isinf(until) else until - now.timestamp()
