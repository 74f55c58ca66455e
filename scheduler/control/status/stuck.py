"""The condition StuckInFlight: ordered long ago, and still not running. Pure."""

from datetime import datetime

from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import WorkloadStatus

_MAX_SITES_NAMED = 6


def stuck_condition(
    status: WorkloadStatus, after_seconds: float, now: datetime
) -> Condition | None:
    """The condition, or None while nothing has been on its way for too long.

    What is in flight keeps its room at the site until a report shows it, however long that takes:
    this only tells people.
    """
    stuck = sorted(
        site
        for group in status.placement.groups
        if group.phase == "Placing"
        and group.since is not None
        and (now - group.since).total_seconds() >= after_seconds
        for site in group.sites
    )
    if not stuck:
        return None
    named = ", ".join(stuck[:_MAX_SITES_NAMED])
    return Condition(
        type="StuckInFlight",
        status="True",
        reason="NotRunning",
        message=f"ordered more than {after_seconds:g} s ago and not running at {named}; "
        "its room there stays reserved",
    )
