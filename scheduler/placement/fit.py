"""How many more replicas a site really takes, node by node. Sums over a cluster lie.

For pods of one shape the answer is exact: per node `min over resources of floor(free / asked)`,
shared GPU cards counted card by card, at most one where hostname anti-affinity or host ports say
so, limits of topology spread obeyed, and what is in flight taken off as if it fell worst. For sets
of different pods see `sets.py`. Answers are remembered per shape and computed again only for sites
that changed.

A node without an architecture that the images run on, or of a CPU vendor that the site's grant does
not name, is no node for this purpose.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand import Demand
from scheduler.model.pods import PodShape
from scheduler.placement.eligible import may_stand, platform_fits
from scheduler.placement.fleet import Fleet
from scheduler.placement.nodes import CARD, CARDS, COUNT, KIND
from scheduler.placement.sets import sets_at
from scheduler.placement.site_limits import SiteLimits
from scheduler.placement.skew import within_limits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ENDLESS = 1_000_000
"""Room of a site for what needs no node at all."""
_MOST_SHAPES = 256


class Room:
    """How many more replicas of a demand each site takes, computed when asked.

    What of the demand runs already is not in the free capacity, so a site's share may be what it
    has plus this.
    """

    def __init__(self, fleet: Fleet, demand: Demand, vendor_sets: Ints) -> None:
        self._fleet = fleet
        self._demand = demand
        self._vendor_sets = vendor_sets
        self._placed = {
            fleet.slot_of[site]: replicas
            for site, replicas in demand.placed_replicas.items()
            if site in fleet.slot_of
        }
        simple = len(demand.unit) == 1 and demand.unit[0].count == 1
        self._shape = demand.unit[0].shape if simple else None
        self.is_exact = simple and not demand.beside and not demand.per_node
        self.is_searched = True
        self.bound_by_quota: set[int] = set()
        self._limits = fleet.limits.of(demand.namespace)
        self._memo = (
            None if self._shape is None else _memo_of(fleet, demand, self._shape, vendor_sets)
        )

    def at(self, slots: Ints) -> Ints:
        """Replicas that fit beside what runs, for several sites; [len(slots)]."""
        if not self._demand.unit and not self._demand.beside and not self._demand.per_node:
            return np.full(len(slots), ENDLESS)
        found = self._beside_limits(slots)
        if self._limits is not None:
            self._within_site_limits(slots, found, self._limits)
        return found

    def _beside_limits(self, slots: Ints) -> Ints:
        if not self.is_exact or self._shape is None or self._memo is None:
            return np.array([self._of_set(int(slot)) for slot in slots], np.int64)
        room, stamp = self._memo
        versions = self._fleet.row_version[slots]
        old = slots[stamp[slots] != versions]
        if len(old):
            room[old] = self._shape_room(old, self._shape)
            stamp[old] = self._fleet.row_version[old]
        found: Ints = room[slots]
        self._leave_own_nodes(slots, found, self._shape)
        return found

    def _within_site_limits(
        self, slots: Ints, found: Ints, limits: Mapping[int, SiteLimits]
    ) -> None:
        """Caps what fits by what the quotas of the namespace leave, at sites that report them.

        Where a LimitRange makes the pods larger, larger ones are fitted.
        """
        for position, slot in enumerate(slots.tolist()):
            here, facts = limits.get(slot), self._fleet.facts[slot]
            if here is None or facts is None:
                continue
            if self.is_exact:
                shape = here.completed(self._demand.unit[0]).shape
                if shape is not self._demand.unit[0].shape:
                    found[position] = self._shape_room(slots[position : position + 1], shape)[0]
                    self._leave_own_nodes(
                        slots[position : position + 1], found[position : position + 1], shape
                    )
            most = here.room(self._demand, facts.in_flight, is_new=slot not in self._placed)
            if most is not None and most < found[position]:
                found[position] = most
                self.bound_by_quota.add(slot)

    def at_one(self, slot: int) -> int:
        """Replicas that fit at one site beside what runs there."""
        return int(self.at(np.array([slot]))[0])

    def summed(self, slots: Ints) -> Ints:
        """What the sums of free capacity would take: the lie that `fragmented` names."""
        if self._shape is None:
            return np.zeros(len(slots), np.int64)
        rows = self._fleet.nodes.rows
        index = rows.rows_of(slots)
        counts = np.where(self._kinds(index, slots, self._shape), rows.column(COUNT)[index], 0.0)
        total = np.full(len(slots), np.inf)
        for name, asked in self._shape.requests.items():
            np.minimum(
                total, rows.sums(slots, rows.column(name)[index] * counts) // asked, out=total
            )
        if self._shape.gpu_cards:
            asked = self._shape.gpu_cards * self._shape.gpu_milli
            milli = self._cards(index).sum(axis=0)
            np.minimum(total, rows.sums(slots, milli * counts) // asked, out=total)
        total -= self._fleet.flights.lost_room(slots, self._shape)
        limited: Ints = np.clip(total, 0, ENDLESS).astype(np.int64)
        return limited

    def _shape_room(self, slots: Ints, shape: PodShape) -> Ints:
        rows = self._fleet.nodes.rows
        index = rows.rows_of(slots)
        per_node = self.per_node(index, slots, shape)
        lost = self._fleet.flights.lost_room(slots, shape)
        if shape.skews or shape.one_per:
            total = within_limits(self._fleet, slots, index, per_node, shape, lost=lost)
        else:
            total = rows.sums(slots, per_node * rows.column(COUNT)[index]) - lost
        return np.clip(total, 0, ENDLESS).astype(np.int64)

    def per_node(self, index: Ints, slots: Ints, shape: PodShape) -> Floats:
        """Replicas that one node of each row takes; [len(index)].

        Whole numbers below 2**53 divide exactly enough in binary64 that floor is never wrong.
        """
        rows = self._fleet.nodes.rows
        asked = shape.requests
        numbers = [rows.number(name) for name in asked]
        shares = rows.matrix[np.array(numbers)[:, None], index]
        shares /= np.array(list(asked.values()), np.float64)[:, None]
        fits: Floats = np.floor(shares.min(axis=0))
        fits *= self._kinds(index, slots, shape)
        if shape.gpu_cards:  # cards are looked at only where everything else fits
            asked_milli = shape.gpu_cards * shape.gpu_milli
            has_cards = rows.column(CARDS)[index] >= asked_milli
            able = (has_cards & (fits > 0)).nonzero()[0]
            fits *= has_cards
            fits[able] = np.minimum(fits[able], self._on_cards(index[able], shape))
        if shape.one_per_node:
            np.minimum(fits, 1.0, out=fits)
        return fits

    def _kinds(self, index: Ints, slots: Ints, shape: PodShape) -> Bools:
        nodes = self._fleet.nodes
        kinds = nodes.rows.column(KIND)[index].astype(np.int64)
        fits = self._fits_kind(shape)
        if not len(fits):
            return np.zeros(len(index), np.bool_)
        chosen = fits[kinds]
        sets = self._vendor_sets[slots]
        if sets.any():
            permitted = self._fleet.permitted_kinds()
            chosen &= permitted[np.repeat(sets, nodes.rows.length[slots]), kinds]
        return chosen

    def _fits_kind(self, shape: PodShape) -> Bools:
        demand = self._demand
        question = (shape.place_key, demand.architectures, demand.cpu_vendors)
        return self._fleet.nodes.fits_kind(
            question,
            lambda kind: (
                platform_fits(kind, demand.architectures, demand.cpu_vendors)
                and may_stand(shape, kind)
            ),
        )

    def _cards(self, index: Ints) -> Floats:
        """Free thousandths of each card; [cards of a node, len(index)]."""
        nodes = self._fleet.nodes
        numbers = [nodes.rows.number(f"{CARD}{card}") for card in range(nodes.most_cards)]
        found: Floats = nodes.rows.matrix[np.array(numbers, np.int64)[:, None], index]
        return found

    def _on_cards(self, index: Ints, shape: PodShape) -> Floats:
        if not self._fleet.nodes.most_cards:
            return np.zeros(len(index))
        return sharing(np.floor(self._cards(index) / shape.gpu_milli), shape.gpu_cards)

    def _leave_own_nodes(self, slots: Ints, found: Ints, shape: PodShape) -> None:
        """At most one per node: those that run stand on nodes of which reports do not say which."""
        if not (shape.one_per_node or shape.one_per or shape.skews):
            return
        for position, slot in enumerate(slots.tolist()):
            facts = self._fleet.facts[slot]
            if slot in self._placed and facts is not None:
                flying = sum(
                    each.replicas for each in facts.in_flight if each.workload == self._demand.key
                )
                bound = max(0, self._placed[slot] - flying)
                if shape.skews:
                    found[position] = self._beside_own(slot, shape, bound, flying)
                if shape.one_per_node or shape.one_per:
                    found[position] = max(0, int(found[position]) - bound)

    def _beside_own(self, slot: int, shape: PodShape, bound: int, flying: int) -> int:
        """Own replicas in flight obey the spread too: they take room, and keep none from others."""
        slots = np.array([slot])
        index = self._fleet.nodes.rows.rows_of(slots)
        lost = self._fleet.flights.lost_room(slots, shape) - flying
        free = self.per_node(index, slots, shape)
        own = np.array([float(bound)])
        lost = np.maximum(lost, 0.0)
        total = within_limits(self._fleet, slots, index, free, shape, lost=lost, own=own)
        return int(np.clip(total[0] - flying, 0, ENDLESS))

    def _of_set(self, slot: int) -> int:
        found = sets_at(
            self._fleet,
            slot,
            self._demand,
            permitted=self._permitted_at(slot),
            is_new=slot not in self._placed,
        )
        self.is_searched &= found.is_exact
        return found.sets

    def _permitted_at(self, slot: int) -> Bools:
        kinds = len(self._fleet.nodes.kinds)
        chosen = int(self._vendor_sets[slot])
        return self._fleet.permitted_kinds()[chosen] if chosen else np.ones(kinds, np.bool_)


def sharing(shares: Floats, cards: int) -> Floats:
    """How many pods take a share on each of `cards` different cards of a node.

    k pods fit exactly when `sum over cards of min(shares, k) >= cards * k`; the largest such k is
    the fixed point of that bound from above.

    Args:
        shares: how many shares each card has left, [cards of a node, rows].
        cards: how many different cards one pod takes.

    Returns:
        Pods per row, [rows].
    """
    most: Floats = shares.sum(axis=0) // cards
    if cards == 1:
        return most
    while True:
        less: Floats = np.minimum(most, np.minimum(shares, most).sum(axis=0) // cards)
        if np.array_equal(less, most):
            return most
        most = less


def _memo_of(fleet: Fleet, demand: Demand, shape: PodShape, vendor_sets: Ints) -> tuple[Ints, Ints]:
    """The remembered rooms of a shape and the row versions that they were computed at."""
    sets = vendor_sets.tobytes() if vendor_sets.any() else b""
    question = (shape.key, demand.architectures, demand.cpu_vendors, sets)
    memos: OrderedDict[Hashable, tuple[Ints, Ints]] = fleet.rooms
    memo = memos.get(question)
    if memo is None or len(memo[0]) != fleet.capacity:
        fleet.room_misses += 1
        memo = memos[question] = (
            np.zeros(fleet.capacity, np.int64),
            np.zeros(fleet.capacity, np.int64),
        )
        if len(memos) > _MOST_SHAPES:
            memos.popitem(last=False)
    else:
        fleet.room_hits += 1
        memos.move_to_end(question)
    return memo
