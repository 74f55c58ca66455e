"""Room over time: what planned starts leave at a site during a run.

A planned start keeps its room from its start for its duration, and longer by
`Terms.overrun_ratio`. For any other work whose run overlaps that time its pods count as in flight.
So a site takes as many replicas as fit beside every set of runs that overlap at one instant of the
window; each set is tried with the ordinary fit, node by node. Work of a higher priority does not
see the runs of a lower one, and no work sees its own. At its planned start work has its room, if
it is free.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, PlannedRun, SiteFacts
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]

_MAX_SETS = 8
"""So many sets of runs are tried at a site. More are joined with their neighbours in time: then
runs count together that never overlap, which leaves less room, never more."""
_MAX_KEPT_SETS = 64
"""So many sets of runs are kept at a site: decisions of different lengths see different ones."""


class RunWindow(NamedTuple):
    """The time of a run, in seconds since 1970.

    Attributes:
        start_seconds: its start.
        end_seconds: its end, if it runs as long as it may; infinite if it does not say how long.
    """

    start_seconds: float
    end_seconds: float


def run_window(demand: Demand, context: DecisionContext) -> RunWindow:
    """The time of a demand's run: from the start that costs are computed for, else from now."""
    start = context.run_start_seconds
    seconds = demand.schedule.duration_seconds
    longest = longest_run_seconds(seconds, context) if seconds else inf
    return RunWindow(start, start + longest)


def longest_run_seconds(duration_seconds: float, context: DecisionContext) -> float:
    """How long a run may take that is said to take so long."""
    return duration_seconds * (1.0 + context.terms.overrun_ratio)


class Room(Protocol):
    """What a fleet takes of a demand; `SiteCapacity` is one."""

    def replicas_at(self, slots: Ints) -> Ints:
        """How many more replicas fit at several sites."""
        ...

    def replicas_by_sums(self, slots: Ints) -> Ints:
        """The replicas that sums of free capacity would take."""
        ...


class SitesBesideRuns:
    """Sites with sets of their runs in flight, kept until the facts of the site change."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[SiteFacts, dict[frozenset[str], Fleet]]] = {}

    def fleet_of(self, facts: SiteFacts, active: frozenset[str]) -> Fleet:
        """A fleet of one site, where the runs of these workloads are in flight.

        Args:
            facts: of the site.
            active: the names of the workloads.
        """
        kept = self._kept.get(facts.name)
        if kept is None or kept[0] is not facts:
            kept = self._kept[facts.name] = (facts, {})
        found = kept[1].get(active)
        if found is None:
            if len(kept[1]) >= _MAX_KEPT_SETS:
                kept[1].clear()
            pods = (pod for run in facts.planned if run.workload in active for pod in run.pods)
            beside = replace(facts, in_flight=(*facts.in_flight, *_joined(pods)), planned=())
            found = kept[1][active] = Fleet([beside])
        return found


class PlannedRoom:
    """What planned starts leave of the sites' room during one run.

    Args:
        fleet: the fleet.
        demand: the workload.
        window: the time of its run.
        context: the terms of the decision.
        room_in: gives the room of a fleet of one site, for the set of vendors of a slot.

    Attributes:
        slots: the slots of the sites where planned starts count.
    """

    def __init__(
        self,
        fleet: Fleet,
        demand: Demand,
        window: RunWindow,
        context: DecisionContext,
        room_in: Callable[[Fleet, int], Room],
    ) -> None:
        self._fleet = fleet
        self._room_in = room_in
        self._sets: dict[int, list[frozenset[str]]] = {}
        self._due: dict[int, int] = {}
        for slot in sorted(fleet.planned_slots):
            facts = fleet.facts[slot]
            sets = _sets_of(runs_that_count(facts, demand), window, context) if facts else []
            if facts is not None and sets:
                self._sets[slot] = sets
                self._due[slot] = (
                    0 if context.starts_later else _due_replicas(facts, demand, window)
                )
        self.slots = frozenset(self._sets)

    def limit(self, slots: Ints, replicas: Ints) -> None:
        """Lowers how many replicas fit at sites to what planned starts leave there."""
        self._limit(slots, replicas, lambda room, only: room.replicas_at(only))

    def limit_sums(self, slots: Ints, replicas: Ints) -> None:
        """Lowers what sums of free capacity would take likewise."""
        self._limit(slots, replicas, lambda room, only: room.replicas_by_sums(only))

    def _limit(self, slots: Ints, replicas: Ints, look: Callable[[Room, Ints], Ints]) -> None:
        for position, slot in enumerate(slots.tolist()):
            if replicas[position] <= 0:
                continue
            due = min(int(replicas[position]), self._due.get(slot, 0))
            for alone in self._fleets_at(slot):
                only = np.array(list(alone.slot_of.values()), np.int64)
                left = int(look(self._room_in(alone, slot), only)[0])
                replicas[position] = max(due, min(int(replicas[position]), left))
                if left <= due:
                    break

    def _fleets_at(self, slot: int) -> Iterable[Fleet]:
        facts = self._fleet.facts[slot]
        kept = self._fleet.cache(SitesBesideRuns)
        if facts is not None:
            for active in self._sets.get(slot, ()):
                yield kept.fleet_of(facts, active)


def planned_edges(
    fleet: Fleet, demand: Demand, slots: Iterable[int], context: DecisionContext
) -> set[float]:
    """Starts at which a run just finds room beside planned ones, in seconds since 1970.

    It begins when another one ends at the latest, or ends at the latest when another one begins.
    """
    longest = longest_run_seconds(demand.schedule.duration_seconds or 0, context)
    found = (fleet.facts[slot] for slot in slots)
    windows = [
        _window_of(run, context)
        for facts in found
        if facts is not None
        for run in runs_that_count(facts, demand)
    ]
    ends = {each.end_seconds for each in windows}
    return ends | {each.start_seconds - longest for each in windows}


def runs_that_count(facts: SiteFacts, demand: Demand) -> list[PlannedRun]:
    """The planned runs of others that take room from a demand at a site."""
    return [
        run
        for run in facts.planned
        if run.workload != demand.key and run.priority >= demand.priority
    ]


def _due_replicas(facts: SiteFacts, demand: Demand, window: RunWindow) -> int:
    """Replicas whose planned start at a site has come: the plans of others were made beside them.

    What runs there may end before those plans begin, so it does not count twice.
    """
    for run in facts.planned:
        is_due = run.start_at.timestamp() <= window.start_seconds
        if run.workload == demand.key and is_due and run.pods and demand.unit:
            return run.pods[0].replicas // max(1, demand.unit[0].count)
    return 0


def _window_of(run: PlannedRun, context: DecisionContext) -> RunWindow:
    start = run.start_at.timestamp()
    return RunWindow(start, start + longest_run_seconds(run.duration_seconds, context))


def _sets_of(
    runs: Sequence[PlannedRun], window: RunWindow, context: DecisionContext
) -> list[frozenset[str]]:
    """The sets of runs that overlap at one instant of a window; none is a part of another."""
    windows = [(run.workload, _window_of(run, context)) for run in runs]
    overlapping = [
        (name, one)
        for name, one in windows
        if one.start_seconds < window.end_seconds and one.end_seconds > window.start_seconds
    ]
    # A set grows only where a run starts, so the sets at these instants hold all others.
    instants = sorted({max(one.start_seconds, window.start_seconds) for _, one in overlapping})
    groups = _grouped(instants)
    sets = [
        frozenset(
            name
            for name, one in overlapping
            if one.start_seconds <= group[-1] and one.end_seconds > group[0]
        )
        for group in groups
    ]
    return _largest(sets)


def _grouped(instants: Sequence[float]) -> list[Sequence[float]]:
    """Instants in at most `_MAX_SETS` groups of neighbours."""
    count = min(len(instants), _MAX_SETS)
    bounds = [index * len(instants) // count for index in range(count + 1)] if count else []
    return [instants[first:last] for first, last in pairwise(bounds)]


def _largest(sets: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The sets that are part of no other, each once, in their order."""
    unique = list(dict.fromkeys(sets))
    return [one for one in unique if not any(one < other for other in unique)]


def _joined(pods: Iterable[InFlight]) -> Iterable[InFlight]:
    """Pods with equal requests as one entry, so that thousands of runs are few entries."""
    found: dict[object, InFlight] = {}
    for pod in pods:
        key = (
            tuple(sorted(pod.requests.items())),
            pod.gpu_cards,
            pod.gpu_milli,
            tuple(sorted(pod.limits.items())),
        )
        known = found.get(key)
        found[key] = (
            pod if known is None else replace(known, replicas=known.replicas + pod.replicas)
        )
    return found.values()
