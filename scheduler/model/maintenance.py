"""Which maintenance window of a site work would run into. Pure.

A window that does not end after it begins has no length and is ignored; overlapping windows act as
one. Work that can be moved is moved in the time before a window begins, so only what cannot be
moved is kept away from later windows.
"""

from collections.abc import Iterable

from scheduler.model.kinds.site import MaintenanceWindow

MAINTENANCE_LEAD_SECONDS = 900.0
"""How long before a window replicas begin to move away, and nothing new is placed."""


def window_in_the_way(
    windows: Iterable[MaintenanceWindow],
    *,
    start_seconds: float,
    duration_seconds: float | None,
    is_movable: bool,
) -> MaintenanceWindow | None:
    """The first window that keeps new work away; None: none does.

    Args:
        windows: of the site.
        start_seconds: when the work starts, in seconds since 1970.
        duration_seconds: how long it runs; None: without a known end.
        is_movable: whether it can be moved ahead of a window.
    """
    for one in by_start(windows):
        begins, ends = one.from_.timestamp(), one.until.timestamp()
        if ends <= start_seconds:
            continue
        if duration_seconds is not None and start_seconds + duration_seconds <= begins:
            continue
        if not is_movable or begins - MAINTENANCE_LEAD_SECONDS <= start_seconds:
            return one
    return None


def window_to_clear(
    windows: Iterable[MaintenanceWindow], now_seconds: float
) -> MaintenanceWindow | None:
    """The window for which a site is to be empty now or soon; of several the first to begin.

    Args:
        windows: of the site.
        now_seconds: the time, in seconds since 1970.
    """
    for one in by_start(windows):
        begins, ends = one.from_.timestamp(), one.until.timestamp()
        if begins - MAINTENANCE_LEAD_SECONDS <= now_seconds < ends:
            return one
    return None


def by_start(windows: Iterable[MaintenanceWindow]) -> list[MaintenanceWindow]:
    """The windows that have a length, in the order in which they begin."""
    valid = [one for one in windows if one.from_ < one.until]
    return sorted(valid, key=lambda one: (one.from_, one.until))
