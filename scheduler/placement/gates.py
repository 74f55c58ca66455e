"""What keeps a workload from getting anything new, whatever the sites say: pause, time, quota."""

from datetime import UTC, datetime

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.reasons import Reason
from scheduler.placement.cost.spend import explain_over_quota, with_limit_message
from scheduler.placement.filter.retention import Standing
from scheduler.placement.fleet.context import Moment


def hindrance(demand: Demand, standing: Standing, moment: Moment) -> Reason | None:
    """The reason why nothing new is placed now, or None.

    Fewer replicas are always allowed.
    """
    more = demand.replicas - sum(standing.kept.values())
    if more <= 0 and demand.strategy != "Duplicated":
        return None
    if demand.paused:
        return "paused"
    if _wrong_time(demand, moment):
        return "deadline"
    return "quota" if explain_over_quota(demand, demand.replicas, 1) else None


def latest_start_seconds(demand: Demand) -> float | None:
    """When work must have started to be done by its deadline, in seconds since 1970."""
    schedule = demand.schedule
    if schedule.deadline is None:
        return None
    return schedule.deadline.timestamp() - (schedule.duration_seconds or 0)


def told(decision: Decision, demand: Demand, moment: Moment, hindered: Reason | None) -> Decision:
    """The decision with a sentence about time or quota, if that is what hinders.

    What is too late never becomes timely again: it is refused, unless a part of it runs already.
    """
    if decision.phase == "Placed":
        return decision
    sentence = ""
    if hindered == "deadline":
        sentence = _wrong_time(demand, moment)
        if _too_late(demand, moment) and not decision.assignment:
            decision = msgspec.structs.replace(decision, phase="Refused")
    elif hindered == "quota":
        sentence = explain_over_quota(demand, demand.replicas, 1)
    return with_limit_message(decision, sentence) if sentence else decision


def _wrong_time(demand: Demand, moment: Moment) -> str:
    """Why it is not the time to start; "" when it is."""
    earliest = demand.schedule.earliest
    if earliest is not None and moment.now_seconds < earliest.timestamp():
        return f"it may not start before {_instant(earliest.timestamp())}"
    return _too_late(demand, moment)


def _too_late(demand: Demand, moment: Moment) -> str:
    """Why it cannot be done in time any more; "" when it can."""
    latest = latest_start_seconds(demand)
    if latest is None or moment.now_seconds <= latest:
        return ""
    seconds = demand.schedule.duration_seconds or 0
    return (
        f"too late to be done by its deadline: with {seconds} s of work the latest start was"
        f" {_instant(latest)}"
    )


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
