"""Scheduling gates: what blocks new replicas of a workload at any site. Pause, time and quota."""

from math import inf

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_epoch_seconds
from scheduler.model.reasons import Reason
from scheduler.placement.cost.spend import explain_over_quota, with_limit_message
from scheduler.placement.filter.retention import RetainedShares
from scheduler.placement.fleet.context import DecisionContext


def scheduling_gate(
    demand: Demand, retained: RetainedShares, context: DecisionContext
) -> Reason | None:
    """The reason why no new replica may be placed now, or None.

    Scaling down is always allowed.
    """
    more = demand.replicas - sum(retained.kept.values())
    if more <= 0 and demand.strategy != "Duplicated":
        return None
    if demand.paused:
        return "paused"
    if _wrong_time_message(demand, context):
        return "deadline"
    if held_until_seconds(demand, context) is not None:
        return "quota"
    return "quota" if explain_over_quota(demand, demand.replicas, 1) else None


def held_until_seconds(demand: Demand, context: DecisionContext) -> float | None:
    """Until when work is held for its tenant's budget of the month; None: it is not held.

    Only what can wait is held: work with a deadline until its latest start, less the margin, so
    that a budget costs no deadline; and interruptible work without one for as long as the hold
    lasts. What runs already goes on.
    """
    if not demand.budget_hold:
        return None
    latest = latest_start_seconds(demand)
    if latest is None:
        return inf if demand.schedule.interruptible else None
    last = latest - context.terms.start_margin_seconds
    return last if context.now_seconds < last else None


def latest_start_seconds(demand: Demand) -> float | None:
    """The latest start that meets the deadline, in seconds since 1970; None: no deadline."""
    schedule = demand.schedule
    if schedule.deadline is None:
        return None
    return schedule.deadline.timestamp() - (schedule.duration_seconds or 0)


def with_gate_message(
    decision: Decision, demand: Demand, context: DecisionContext, gate: Reason | None
) -> Decision:
    """The decision with a sentence about time or quota, if one of these is the gate.

    Work that is too late will not be in time later: it is refused, unless a part of it runs.
    """
    if decision.phase == "Placed":
        return decision
    sentence = ""
    if gate == "deadline":
        sentence = _wrong_time_message(demand, context)
        if _missed_deadline_message(demand, context) and not decision.assignment:
            decision = msgspec.structs.replace(decision, phase="Refused")
    elif gate == "quota":
        is_held = held_until_seconds(demand, context) is not None
        hold = demand.budget_hold if is_held else ""
        sentence = hold or explain_over_quota(demand, demand.replicas, 1)
    return with_limit_message(decision, sentence) if sentence else decision


def _wrong_time_message(demand: Demand, context: DecisionContext) -> str:
    """Why the work cannot start now, as too early or too late; "" when it can."""
    earliest = demand.schedule.earliest
    if earliest is not None and context.now_seconds < earliest.timestamp():
        return f"the workload may not start before {format_epoch_seconds(earliest.timestamp())}"
    return _missed_deadline_message(demand, context)


def _missed_deadline_message(demand: Demand, context: DecisionContext) -> str:
    """Why the work can no longer meet its deadline; "" when it can."""
    latest = latest_start_seconds(demand)
    if latest is None or context.now_seconds <= latest:
        return ""
    seconds = demand.schedule.duration_seconds or 0
    return (
        f"too late for the deadline: with a duration of {seconds} s the latest start was"
        f" {format_epoch_seconds(latest)}"
    )
