"""Which sites are to be emptied now, and what a Site says of that: the condition `Schedulable`."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import MaintenanceWindow, Site
from scheduler.model.maintenance import window_to_clear
from scheduler.placement.failover.drain import ClearCause

CONDITION = "Schedulable"
_MAX_CHARACTERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """Why a site is to be empty.

    Attributes:
        cause: a drain comes before maintenance.
        is_forced: the operator accepts that numbered pods end first, and that data stays behind.
        window: the window, if it is maintenance.
    """

    cause: ClearCause
    is_forced: bool = False
    window: MaintenanceWindow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProgress:
    """What is still at a site that is to be empty.

    Attributes:
        workloads: how many have replicas there, or pods that are not known to be gone.
        stuck: how many of them do not leave. All tenants read sites, so that no workload is named.
        is_absent: the site does not report.
    """

    workloads: int = 0
    stuck: int = 0
    is_absent: bool = False


def clearing_of(site: Site, now: datetime) -> Clearing | None:
    """Why a site is to be empty now; None: it is not to be."""
    if site.spec.drain is not None:
        return Clearing(cause="drain", is_forced=site.spec.drain.force)
    window = window_to_clear(site.spec.maintenance, now.timestamp())
    return None if window is None else Clearing(cause="maintenance", window=window)


def schedulable_condition(site: Site, progress: SiteProgress, now: datetime) -> Condition | None:
    """What keeps new work away from a site, and how far it is empty; None: nothing does.

    Args:
        site: the site.
        progress: what is still there.
        now: the time; it becomes the time of the transition.
    """
    clearing = clearing_of(site, now)
    if clearing is None:
        if not site.spec.cordon:
            return None
        return _condition("Cordoned", "cordoned: no new replicas, running ones stay", now)
    left = _left(progress)
    if clearing.window is not None:
        window = clearing.window
        reason = "Maintenance" if window.from_ <= now else "MaintenanceSoon"
        why = f" ({window.reason})" if window.reason else ""
        text = f"from {format_rfc3339(window.from_)} until {format_rfc3339(window.until)}{why}"
        return _condition(reason, f"maintenance {text}: {left}", now)
    drain = site.spec.drain
    by = f" by {drain.requested_by}" if drain and drain.requested_by else ""
    is_late = drain is not None and drain.by is not None and drain.by <= now
    if not progress.workloads:
        reason = "Drained"
    elif is_late:
        reason = "DrainOverdue"
    elif progress.is_absent or progress.stuck >= progress.workloads:
        reason = "DrainStuck"
    else:
        reason = "Draining"
    due = f", due {format_rfc3339(drain.by)}" if drain and drain.by else ""
    return _condition(reason, f"drain asked{by}{due}: {left}", now)


def _left(progress: SiteProgress) -> str:
    if not progress.workloads:
        return "nothing is left there"
    noun = "workload is" if progress.workloads == 1 else "workloads are"
    text = f"{progress.workloads} {noun} left there"
    if progress.is_absent:
        return (
            f"{text}; the site does not report, so failover replaces what its rules allow "
            "(spec.failover, freezes), and kapok failover the rest"
        )
    if progress.stuck:
        text += f", {progress.stuck} stuck; the condition Drained of each says why"
    return text


def _condition(reason: str, message: str, now: datetime) -> Condition:
    return Condition(
        type=CONDITION,
        status="False",
        reason=reason,
        message=message[:_MAX_CHARACTERS],
        last_transition_time=now.replace(microsecond=0),
    )
