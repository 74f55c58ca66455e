"""What keeps a workload from getting anything new, whatever the sites say: pause, time, quota."""

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
    if not _is_time(demand, moment):
        return "deadline"
    return None if _within_quota(demand, more) else "quota"


def _is_time(demand: Demand, moment: Moment) -> bool:
    schedule = demand.schedule
    if schedule.earliest is not None and moment.now_seconds < schedule.earliest.timestamp():
        return False
    if schedule.deadline is None:
        return True
    latest = schedule.deadline.timestamp() - (schedule.duration_seconds or 0)
    return moment.now_seconds <= latest


def _within_quota(demand: Demand, more: int) -> bool:
    if demand.quota_left is None:
        return True
    replicas = max(demand.replicas, more)
    requests = demand.requests
    return all(requests.get(name, 0) * replicas <= left for name, left in demand.quota_left.items())
