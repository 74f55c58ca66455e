"""Before and in a maintenance window a site takes no new work, except what ends before it begins.

Work that cannot be moved is kept away from every later window that it would run into.
"""

from collections.abc import Hashable

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.site import MaintenanceWindow
from scheduler.model.maintenance import window_in_the_way
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_NONE = Message("maintenance.none", "no maintenance of {site} is in the way")
_PLANNED = Message(
    "maintenance.planned", "{site} has maintenance from {begins:at} until {ends:at}{why:parts}"
)
_BECAUSE = Message("maintenance.because", " ({reason:raw})")
_IMMOVABLE = Message("maintenance.immovable", "; the work cannot be moved: {why:said}")


class WindowsCache:
    """Which sites have windows.

    Attributes:
        slots: their slots.
        version: the `Fleet.description_columns.version` that this holds for.
    """

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.version = -1


def _slots_with_windows(fleet: Fleet) -> list[int]:
    """The slots of sites with windows. Mostly there are none, so every decision asks once only."""
    cache, version = fleet.cache(WindowsCache), fleet.description_columns.version
    if cache.version != version:
        has_windows = fleet.description_column(
            "maintenance", lambda facts: bool(facts.spec.maintenance), np.bool_
        )
        cache.slots = np.flatnonzero(has_windows & fleet.has_site).tolist()
        cache.version = version
    return cache.slots


class Maintenance:
    """The work must not run into a window of `spec.maintenance`, unless it can be moved ahead."""

    reason: Reason = "cordoned"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "time", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Not cached: the answer depends on the time."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks only sites that have windows."""
        slots = _slots_with_windows(fleet)
        if not slots:
            return fleet.has_site
        passes = fleet.has_site.copy()
        for slot in slots:
            facts = fleet.facts[slot]
            passes[slot] = facts is not None and _in_the_way(facts, demand, context) is None
        return passes

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the window."""
        window = _in_the_way(facts, demand, context)
        if window is None:
            return _NONE(site=facts.name)
        why = (_BECAUSE(reason=window.reason),) if window.reason else ()
        stays = (_IMMOVABLE(why=demand.immovable),) if demand.immovable else ()
        return _PLANNED(site=facts.name, begins=window.from_, ends=window.until, why=(*why, *stays))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests to remove the windows that are in the way."""
        facts, left = refused.facts, list(refused.facts.spec.maintenance)
        window = _in_the_way(facts, refused.demand, refused.context)
        if window is None:
            return None
        was = f"{format_rfc3339(window.from_)} to {format_rfc3339(window.until)}"
        while window is not None:
            left.remove(window)
            facts = replace(facts, spec=replace(facts.spec, maintenance=tuple(left)))
            window = _in_the_way(facts, refused.demand, refused.context)
        return change_site("maintenance", was, "", facts)


def _in_the_way(
    facts: SiteFacts, demand: Demand, context: DecisionContext
) -> MaintenanceWindow | None:
    seconds = demand.schedule.duration_seconds
    return window_in_the_way(
        facts.spec.maintenance,
        start_seconds=context.run_start_seconds,
        duration_seconds=None if seconds is None else float(seconds),
        is_movable=not demand.immovable,
    )


RULE = Maintenance()
