"""What keeps a workload from getting anything new, whatever the sites say: pause, time, quota."""

from datetime import UTC, datetime

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand import Demand
from scheduler.model.reasons import Reason
from scheduler.placement.evicting import Standing
from scheduler.placement.moment import Moment


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
    return None if _within_quota(demand, more) else "quota"


def latest_start_seconds(demand: Demand) -> float | None:
    """When work must have started to be done by its deadline, in seconds since 1970."""
    schedule = demand.schedule
    if schedule.deadline is None:
        return None
    return schedule.deadline.timestamp() - (schedule.duration_seconds or 0)


def told(decision: Decision, demand: Demand, moment: Moment, hindered: Reason | None) -> Decision:
    """The decision with a sentence about time, if time is what hinders."""
    if hindered != "deadline" or decision.phase == "Placed":
        return decision
    line = f"{decision.line}; {_wrong_time(demand, moment)}"
    return msgspec.structs.replace(decision, line=line)


def _wrong_time(demand: Demand, moment: Moment) -> str:
    """Why it is not the time to start; "" when it is."""
    earliest, latest = demand.schedule.earliest, latest_start_seconds(demand)
    if earliest is not None and moment.now_seconds < earliest.timestamp():
        return f"it may not start before {_instant(earliest.timestamp())}"
    if latest is None or moment.now_seconds <= latest:
        return ""
    seconds = demand.schedule.duration_seconds or 0
    return (
        f"too late to be done by its deadline: with {seconds} s of work the latest start was"
        f" {_instant(latest)}"
    )


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _within_quota(demand: Demand, more: int) -> bool:
    if demand.quota_left is None:
        return True
    replicas = max(demand.replicas, more)
    requests = demand.requests
    return all(requests.get(name, 0) * replicas <= left for name, left in demand.quota_left.items())
