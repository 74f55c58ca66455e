"""What one node takes of one pod shape, computed for many node rows at once."""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.summed_capacity import UNLIMITED, permitted_rows
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.eligible_profiles import eligible_profiles
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class NodeFit:
    """How many replicas single nodes take, and which node profiles are suitable.

    Args:
        fleet: the fleet.
        demand: its architectures and lists of CPU vendors count.
        vendor_sets: the number of the set of permitted CPU vendors of each site, [slot_capacity];
            None: any vendor everywhere.
    """

    def __init__(self, fleet: Fleet, demand: Demand, vendor_sets: Ints | None) -> None:
        self._fleet = fleet
        self._demand = demand
        self._vendor_sets = vendor_sets

    def suitable_profiles(self, shape: PodShape) -> tuple[Bools, bool]:
        """Which node profiles a shape may run on, [profiles], and whether all are."""
        profiles = self._fleet.nodes.profiles
        return eligible_profiles(profiles, shape, self._demand, self.selection_of(shape))

    def selection_of(self, shape: PodShape) -> Hashable:
        """All that `suitable_profiles` of a shape depends on."""
        demand = self._demand
        return (shape.node_selection_key, demand.architectures, demand.cpu_vendors)

    def replicas_per_node(self, index: Ints, slots: Ints, shape: PodShape) -> Floats:
        """Replicas that one node of each row takes; [len(index)].

        Rows in flight give a negative number: minus the replicas that may lose their place.
        Quotients of whole numbers below 2**53 are precise enough in binary64 for an exact floor.

        Args:
            index: the numbers of the rows, site by site.
            slots: the sites of these rows.
            shape: what one pod asks.
        """
        columns = self._fleet.nodes.column_numbers_of(shape.requests)
        matrix = self._fleet.nodes.rows.matrix
        fits: Floats | None = None
        for column, asked in zip(columns, shape.requests.values(), strict=True):
            share = matrix[column].take(index)
            if asked != 1:
                share /= asked
            fits = share if fits is None else np.minimum(fits, share, out=fits)
        if fits is None:
            fits = np.where(
                matrix[PROFILE_COLUMN].take(index) == IN_FLIGHT_PROFILE, 0.0, float(UNLIMITED)
            )
        np.floor(fits, out=fits)
        self._exclude_unsuitable_profiles(fits, index, slots, shape)
        if shape.gpu_cards:
            self._limit_by_cards(fits, index, shape)
        if shape.one_per_node:  # a node takes one replica, and a pod in flight costs at most one
            np.clip(fits, -1.0, 1.0, out=fits)
        return fits

    def _limit_by_cards(self, fits: Floats, index: Ints, shape: PodShape) -> None:
        """Lowers `fits` to what the GPU cards of a node take.

        Cards are read only where everything else fits, and in rows in flight, whose free
        thousandths are negative.
        """
        nodes = self._fleet.nodes
        nodes.name_cards()
        if not nodes.max_cards:
            fits[:] = 0.0
            return
        milli = shape.gpu_milli
        cards = nodes.rows.matrix[CARDS_COLUMN].take(index)
        has_cards = cards >= shape.gpu_cards * milli
        has_cards &= fits > 0
        has_cards |= cards < 0
        some = has_cards.nonzero()[0]
        shares = nodes.rows.matrix[nodes.card_columns, index.take(some)]
        shares /= milli
        np.floor(shares, out=shares)
        pods = shares.sum(axis=0)
        if shape.gpu_cards > 1:  # rows in flight keep the sum: each share lost may cost a pod
            pods = np.where(
                pods < 0, pods, pods_on_distinct_cards(np.maximum(shares, 0.0), shape.gpu_cards)
            )
        found = np.minimum(fits.take(some), pods)
        np.minimum(fits, 0.0, out=fits)
        fits[some] = found

    def _exclude_unsuitable_profiles(
        self, fits: Floats, index: Ints, slots: Ints, shape: PodShape
    ) -> None:
        chosen, all_are = self.suitable_profiles(shape)
        if all_are and self._vendor_sets is None:
            return
        nodes = self._fleet.nodes
        profiles = nodes.rows.matrix[PROFILE_COLUMN].take(index).astype(np.int64)
        if not all_are:
            fits *= chosen.take(profiles)
        if self._vendor_sets is not None:
            fits *= permitted_rows(self._fleet, self._vendor_sets, slots, profiles)


def pods_on_distinct_cards(shares: Floats, cards: int) -> Floats:
    """How many pods fit if each takes a share on `cards` different cards of a node.

    k pods fit if and only if `sum over cards of min(shares, k) >= cards * k`. The largest such k is
    found by iterating from the upper bound `sum(shares) // cards` to a fixed point.

    Args:
        shares: how many shares each card has left; [cards of a node, rows].
        cards: how many different cards one pod takes.

    Returns:
        Pods per row; [rows].
    """
    pods: Floats = shares.sum(axis=0) // cards
    if cards == 1:
        return pods
    while True:
        fewer: Floats = np.minimum(pods, np.minimum(shares, pods).sum(axis=0) // cards)
        if np.array_equal(fewer, pods):
            return pods
        pods = fewer
