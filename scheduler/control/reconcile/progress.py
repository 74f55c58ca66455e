"""How far the reconciliation of one workload has come, between its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.queue.requeue import RequeueReason
from scheduler.control.reconcile.draft import Draft
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.workload import DecisionReference, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step that never waits has made of a workload.

    Attributes:
        workload: as it was read, with its incarnation.
        demand: of its spec, or why that is not accepted.
        draft: what is decided.
        is_identified: its incarnation is known.
        unmarked: ids of decisions that a killed scheduler has recorded and not carried out.
    """

    workload: Workload
    demand: Demand | NotAccepted
    draft: Draft
    is_identified: bool
    unmarked: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Flight:
    """How far a decision has come.

    Attributes:
        base: the object in the hub that it was decided on.
        references: its records.
        is_written: its status is written.
    """

    base: Mapping[str, Any]
    references: list[DecisionReference] = field(default_factory=list)
    is_written: bool = False


@dataclass(slots=True, kw_only=True)
class Begun:
    """A workload that is decided, and whose decision is not carried out yet.

    Attributes:
        workload: as it was read.
        requeue_reason: why it was decided.
        step: what is decided.
        flight: how far the decision has come.
        is_ended: it was carried out, or undone.
    """

    workload: Workload
    requeue_reason: RequeueReason
    step: Step
    flight: Flight
    is_ended: bool = False
