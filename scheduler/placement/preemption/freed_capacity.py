"""The capacity of sites as it surely is when certain replicas of others have ended there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.preemption.harm import Ended
from scheduler.placement.preemption.tried_room import tried_room
from scheduler.placement.preemption.worst_room import (
    SiteRoom,
    SuitableNodes,
    freed_pods,
    is_plain_shape,
)

Ints = NDArray[np.int64]


class FreedCapacity(SiteCapacity):
    """`SiteCapacity` with more room at some sites; never less than without the others' end.

    Args:
        base: the capacity now.
        fleet: the sites.
        demand: the workload.
        vendor_sets: as for `SiteCapacity`.
        room: replicas that surely fit, by slot.
    """

    def __init__(
        self,
        base: SiteCapacity,
        fleet: Fleet,
        demand: Demand,
        vendor_sets: Ints | None,
        room: dict[int, int],
    ) -> None:
        super().__init__(fleet, demand, vendor_sets)
        self._base, self._room = base, room

    @property
    def kernel_fit(self) -> None:
        """None: the kernel reads the nodes as they are."""
        return

    def _replicas_before_quota(self, slots: Ints) -> Ints:
        found = self._base._replicas_before_quota(slots)  # noqa: SLF001 - the same class
        if self._room:
            more = [self._room.get(slot, 0) for slot in slots.tolist()]
            np.maximum(found, np.array(more, np.int64), out=found)
        return found

    def exclude_known_full(self, slots: Ints) -> Ints:
        """All of them: what is full now may not be so then."""
        return slots

    def mark_full(self, candidates: Ints) -> None:
        """Marks none."""


@dataclass(slots=True)
class RoomAfterVictims:
    """The room at each site by what ends there; each answer is computed once.

    Attributes:
        demand: the workload that is to fit.
        fleet: the sites.
        vendor_sets: as for `SiteCapacity`.
        victims: those that may end.
        context: the time and terms of the decision.
    """

    demand: Demand
    fleet: Fleet
    vendor_sets: Ints | None
    victims: Sequence[PossibleVictim]
    context: DecisionContext
    _nodes: SuitableNodes | None = None
    _sites: dict[int, SiteRoom] = field(default_factory=dict)
    _known: dict[tuple[int, tuple[tuple[int, int], ...]], int] = field(default_factory=dict)

    def by_slot(self, ended: Ended) -> dict[int, int]:
        """Replicas that surely fit when these have ended, at the sites where something ends."""
        by_site: dict[str, list[tuple[int, int]]] = {}
        for (number, site), count in ended.items():
            by_site.setdefault(site, []).append((number, count))
        return {
            slot: self._at(slot, site, tuple(sorted(here)))
            for site, here in by_site.items()
            if (slot := self.fleet.slot_of.get(site)) is not None
        }

    def _at(self, slot: int, site: str, here: tuple[tuple[int, int], ...]) -> int:
        known = self._known.get((slot, here))
        if known is None:
            known = self._known[slot, here] = self._compute(slot, site, here)
        return known

    def _compute(self, slot: int, site: str, here: tuple[tuple[int, int], ...]) -> int:
        freed, gone = [], set[str]()
        for number, count in here:
            victim = self.victims[number]
            share = next(one for one in victim.shares if one.site == site)
            if count == share.replicas:
                gone.add(victim.workload)
            freed += freed_pods(victim, max(0, count - share.in_flight))
        if not is_plain_shape(self.demand):
            facts = self.fleet.facts_of(site)
            return tried_room(self.demand, facts, freed, frozenset(gone), self.context)
        if self._nodes is None:
            self._nodes = SuitableNodes(self.demand, self.fleet, self.vendor_sets)
        room = self._sites.get(slot)
        if room is None:
            room = self._sites[slot] = SiteRoom(self._nodes, slot)
        return room.replicas_when(freed, frozenset(gone))
