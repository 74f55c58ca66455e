"""How many more replicas a site really takes, node by node. Sums over a cluster lie.

For pods of one shape the answer is exact: per node `min over resources of floor(free / asked)`,
shared GPU cards counted card by card, at most one where hostname anti-affinity or host ports say
so, limits of topology spread obeyed, and what is in flight taken off as if it fell worst. For sets
of different pods see `pod_sets.py`. The compiled kernel looks at the nodes each time, which is
quicker than to remember; otherwise answers are remembered per shape and computed again only for
sites that changed.

A node without an architecture that the images run on, or of a CPU vendor that the site's grant does
not name, is no node for this purpose.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.full_sites import FullSites, full_sites
from scheduler.placement.fit.kernel_fit import can_fit, compiled_fit
from scheduler.placement.fit.pod_sets import sets_at
from scheduler.placement.fit.summed_capacity import ENDLESS, Sums, permitted_rows
from scheduler.placement.fit.topology_spread import within_limits
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.namespace_limits import SiteLimits
from scheduler.placement.fleet.node_eligibility import may_stand, platform_fits
from scheduler.placement.fleet.node_table import CARDS, COUNT, IN_FLIGHT, KIND
from scheduler.placement.kernel import loader as compiled

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit, Full

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_SHAPES = 256


class Room:
    """How many more replicas of a demand each site takes, computed when asked.

    What of the demand runs already is not in the free capacity, so a site's share may be what it
    has plus this.
    """

    def __init__(self, fleet: Fleet, demand: Demand, vendor_sets: Ints | None = None) -> None:
        self._fleet = fleet
        self._demand = demand
        self._sets = vendor_sets
        unit = demand.unit
        simple = len(unit) == 1 and unit[0].count == 1
        self._shape = unit[0].shape if simple else None
        self.is_exact = simple and not demand.beside and not demand.per_node
        self.is_searched = True
        self.bound_by_quota: set[int] = set()
        self._limits = fleet.limits.of(demand.namespace)
        self._asks_nothing = not unit and not demand.beside and not demand.per_node
        self._kernel_fit: Fit | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say of how room is found: see `caveats.py`."""
        shape = self._shape
        if shape is None or not self.is_exact or self._limits is not None:
            return False
        return not (shape.skews or shape.one_per or shape.not_modelled)

    @property
    def kernel_fit(self) -> "Fit | None":
        """The compiled kernel for what is asked; None where it cannot do it, or is not there."""
        found = self._kernel_fit  # a cached_property takes a lock
        if found is None:
            shape, fleet = self._shape, self._fleet
            if shape is not None and self.is_exact and can_fit(fleet, shape):
                chosen, all_are = self._fits_kind(shape)
                found = compiled_fit(fleet, shape, None if all_are else chosen, self._sets)
                self._kernel_fit = found
        return found

    @property
    def sole_kernel_fit(self) -> "Fit | None":
        """The same, where nothing but the nodes bounds what a site takes."""
        shape = self._shape
        if shape is None or self._limits is not None or (shape.one_per_node and self._placed):
            return None
        return self.kernel_fit

    @cached_property
    def _placed(self) -> dict[int, int]:
        slot_of = self._fleet.slot_of
        return {
            slot_of[site]: replicas
            for site, replicas in self._demand.placed_replicas.items()
            if site in slot_of
        }

    @property
    def has_limits(self) -> bool:
        """Whether any site limits what the demand's namespace may ask."""
        return self._limits is not None

    def at(self, slots: Ints) -> Ints:
        """Replicas that fit beside what runs, for several sites; [len(slots)]."""
        if self._asks_nothing:
            return np.full(len(slots), ENDLESS)
        found = self._beside_limits(slots)
        if self._limits is not None:
            self._within_site_limits(slots, found, self._limits)
        return found

    def _beside_limits(self, slots: Ints) -> Ints:
        if not self.is_exact or self._shape is None:
            return np.array([self._of_set(int(slot)) for slot in slots], np.int64)
        quick = self.kernel_fit
        found = quick.rooms(slots) if quick else self._remembered(slots, self._shape)
        self._leave_own_nodes(slots, found, self._shape)
        return found

    def _remembered(self, slots: Ints, shape: PodShape) -> Ints:
        room, stamp = _memo_of(self._fleet, self._demand, shape, self._sets)
        versions = self._fleet.row_version.take(slots)
        is_old = stamp.take(slots) != versions
        if is_old.any():
            old = slots[is_old]
            room[old] = self._shape_room(old, shape)
            stamp[old] = versions[is_old]
        found: Ints = room.take(slots)
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

    @cached_property
    def kernel_full(self) -> "Full | None":
        """What the kernel remembers of full sites; asked for where there are many sites only."""
        full = self._full
        if full is None:
            return None
        chosen, all_are = self._fits_kind(full.smallest)
        kinds = None if all_are else chosen
        return compiled.kernel.Full(
            full.stamp,
            self._fleet.row_version,
            compiled_fit(self._fleet, full.smallest, kinds, self._sets),
            compiled_fit(self._fleet, full.largest, kinds, self._sets),
        )

    def not_known_full(self, slots: Ints) -> Ints:
        """The slots without those of which it is known that they take nothing."""
        full = self._full
        if full is None:
            return slots
        left: Ints = slots[full.stamp.take(slots) != self._fleet.row_version.take(slots)]
        return left

    def note_full(self, without: Ints) -> None:
        """Remembers sites without room, if they have none for all demands of about this size."""
        full = self._full
        if full is None or not len(without):
            return
        rows = self._fleet.nodes.rows
        index = rows.rows_of(without)
        is_flight = rows.matrix[KIND].take(index) == IN_FLIGHT
        most = self._per_row(index, without, full.smallest)
        least_lost = self._per_row(index, without, full.largest)
        most[is_flight] = least_lost[is_flight]
        most *= rows.matrix[COUNT].take(index)
        without = without[rows.sums(without, most) <= 0]
        full.stamp[without] = self._fleet.row_version.take(without)

    @cached_property
    def _full(self) -> FullSites | None:
        shape, demand = self._shape, self._demand
        plain = shape is not None and not shape.skews and not shape.one_per
        if shape is None or not plain or not self.is_exact or self.has_limits:
            return None
        sets = b"" if self._sets is None else self._sets.tobytes()
        besides = (shape.node_selection_key, demand.architectures, demand.cpu_vendors, sets)
        return full_sites(self._fleet, shape, (besides, shape.one_per_node))

    def at_one(self, slot: int) -> int:
        """Replicas that fit at one site beside what runs there."""
        return int(self.at(np.array([slot]))[0])

    def summed(self, slots: Ints) -> Ints:
        """What sums of free capacity would take, the lie that `fragmented` names; [len(slots)]."""
        if self._shape is None:
            return np.zeros(len(slots), np.int64)
        return self._sums.by_sums(slots)

    @cached_property
    def _sums(self) -> Sums:
        shape = self._shape
        assert shape is not None  # noqa: S101 - asked of single shapes only
        return Sums(self._fleet, shape, self._fits_kind(shape)[0], self._sets)

    def _shape_room(self, slots: Ints, shape: PodShape) -> Ints:
        rows = self._fleet.nodes.rows
        index = rows.rows_of(slots)
        per_row = self._per_row(index, slots, shape)
        if shape.skews or shape.one_per:
            lost = self._lost(slots, index, per_row)
            total = within_limits(self._fleet, slots, index, per_row, shape, lost=lost)
        else:
            per_row *= rows.matrix[COUNT].take(index)
            total = rows.sums(slots, per_row)
        np.maximum(total, 0.0, out=total)
        np.minimum(total, ENDLESS, out=total)
        return total.astype(np.int64)

    def _lost(self, slots: Ints, index: Ints, per_row: Floats) -> Floats:
        """Replicas that may lose their room to what is in flight; [len(slots)]."""
        matrix = self._fleet.nodes.rows.matrix
        counts = matrix[COUNT].take(index) * (matrix[KIND].take(index) == IN_FLIGHT)
        return -self._fleet.nodes.rows.sums(slots, per_row * counts)

    def _per_row(self, index: Ints, slots: Ints, shape: PodShape) -> Floats:
        """Replicas that one node of each row takes; [len(index)].

        What is in flight counts less than nothing: as many as may lose their room to it.
        Whole numbers below 2**53 divide exactly enough in binary64 that floor is never wrong.
        """
        columns = self._fleet.nodes.rows.numbers(shape.requests)
        matrix = self._fleet.nodes.rows.matrix
        fits: Floats | None = None
        for column, asked in zip(columns, shape.requests.values(), strict=True):
            share = matrix[column].take(index)
            if asked != 1:
                share /= asked
            fits = share if fits is None else np.minimum(fits, share, out=fits)
        if fits is None:
            fits = np.where(matrix[KIND].take(index) == IN_FLIGHT, 0.0, float(ENDLESS))
        np.floor(fits, out=fits)
        self._only_fitting_kinds(fits, index, slots, shape)
        if shape.gpu_cards:
            self._only_with_cards(fits, index, shape)
        if shape.one_per_node:  # a node has one place to give, and one to lose
            np.clip(fits, -1.0, 1.0, out=fits)
        return fits

    def _only_with_cards(self, fits: Floats, index: Ints, shape: PodShape) -> None:
        """Cards are looked at only where everything else fits, and of what is in flight."""
        nodes = self._fleet.nodes
        if not nodes.most_cards:
            fits[:] = 0.0
            return
        milli = shape.gpu_milli
        cards = nodes.rows.matrix[CARDS].take(index)
        has_cards = cards >= shape.gpu_cards * milli
        has_cards &= fits > 0
        has_cards |= cards < 0
        some = has_cards.nonzero()[0]
        shares = nodes.rows.matrix[nodes.card_columns, index.take(some)]
        shares /= milli
        np.floor(shares, out=shares)
        pods = shares.sum(axis=0)
        if shape.gpu_cards > 1:
            pods = np.where(pods < 0, pods, sharing(np.maximum(shares, 0.0), shape.gpu_cards))
        found = np.minimum(fits.take(some), pods)
        np.minimum(fits, 0.0, out=fits)
        fits[some] = found

    def _only_fitting_kinds(self, fits: Floats, index: Ints, slots: Ints, shape: PodShape) -> None:
        chosen, all_are = self._fits_kind(shape)
        if all_are and self._sets is None:
            return
        nodes = self._fleet.nodes
        kinds = nodes.rows.matrix[KIND].take(index).astype(np.int64)
        if not all_are:
            fits *= chosen.take(kinds)
        if self._sets is not None:
            fits *= permitted_rows(self._fleet, self._sets, slots, kinds)

    def _fits_kind(self, shape: PodShape) -> tuple[Bools, bool]:
        demand = self._demand
        question = (shape.node_selection_key, demand.architectures, demand.cpu_vendors)
        return self._fleet.nodes.fits_kind(
            question,
            lambda kind: (
                platform_fits(kind, demand.architectures, demand.cpu_vendors)
                and may_stand(shape, kind)
            ),
        )

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
        free = self._per_row(index, slots, shape)
        own = np.array([float(bound)])
        lost = np.maximum(self._lost(slots, index, free) - flying, 0.0)
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
        chosen = 0 if self._sets is None else int(self._sets[slot])
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


def _memo_of(
    fleet: Fleet, demand: Demand, shape: PodShape, vendor_sets: Ints | None
) -> tuple[Ints, Ints]:
    """The remembered rooms of a shape and the row versions that they were computed at."""
    sets = b"" if vendor_sets is None else vendor_sets.tobytes()
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
