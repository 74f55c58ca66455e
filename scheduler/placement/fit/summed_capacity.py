"""Sums of free capacity by site: an upper bound of what fits, which ignores fragmentation.

No site takes more than the sum of its free capacity divided by what a pod asks, and no more than
that less the sum of what is in flight, if this runs on nodes that the pod could use; `capacity.py`
computes how much it takes. The sums count the nodes that a
shape may run on. They are cached by the profiles of these, and computed again only for sites that
reported.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN, COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNLIMITED = 1_000_000
"""The most replicas that any answer gives, also for workloads without pods."""
_MAX_TABLES = 48
_MAX_SELECTIONS = 512
_MAX_SLOTS_TO_ADAPT = 64


class _Table:
    """What sites have free on suitable nodes, by column of the node rows.

    Attributes:
        sums: in the units of the node rows; [columns, slot_capacity].
        fits_profile: which node profiles are suitable; [profiles].
        vendor_sets: the permitted CPU vendors of each site, as in `SummedCapacity`.
        log_generation: the generation of the log of changed slots that it follows; -1: none yet.
        log_position: how much of that log it includes.
    """

    __slots__ = ("fits_profile", "log_generation", "log_position", "sums", "vendor_sets")

    def __init__(
        self, shape: tuple[int, int], fits_profile: Bools, vendor_sets: Ints | None
    ) -> None:
        self.sums: Floats = np.zeros(shape)
        self.fits_profile = fits_profile
        self.vendor_sets = vendor_sets
        self.log_generation = -1
        self.log_position = 0


class SummedCapacityCache:
    """The tables of a fleet; the least recently used are dropped first.

    Attributes:
        tables: sums of free capacity, by the suitable node profiles and the permitted vendor sets.
        last_keys: the key of the table that a selection of nodes used last, by the selection.
    """

    def __init__(self) -> None:
        self.tables: OrderedDict[Hashable, _Table] = OrderedDict()
        self.last_keys: dict[Hashable, Hashable] = {}


class SummedCapacity:
    """Sums of free capacity for one shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks.
        fits_profile: which node profiles are suitable; [profiles].
        vendor_sets: the number of the set of permitted CPU vendors of each site, [slot_capacity];
            None: any vendor.
        selection: what `fits_profile` depends on.
    """

    def __init__(
        self,
        fleet: Fleet,
        shape: PodShape,
        fits_profile: Bools,
        vendor_sets: Ints | None,
        selection: Hashable,
    ) -> None:
        columns = fleet.nodes.column_numbers_of(shape.requests)
        asked: list[float] = list(shape.requests.values())
        if shape.gpu_cards:
            columns.append(CARDS_COLUMN)
            asked.append(shape.gpu_cards * shape.gpu_milli)
        self._fleet = fleet
        self._fits_profile = fits_profile
        self._vendor_sets = vendor_sets
        self._selection = selection
        self._columns = np.array(columns, np.int64)[:, None]
        self._requested = np.array(asked, np.float64)[:, None]
        self._table = self._updated_table()

    def replicas_at(self, slots: Ints) -> Ints:
        """The replicas that the sums would take, less what is in flight; [len(slots)]."""
        if not len(self._columns):
            return np.full(len(slots), UNLIMITED)
        left = self._table.sums[self._columns, slots]
        left -= self._fleet.in_flight_totals.totals[self._columns, slots]
        return self._whole_replicas(left)

    def are_held_by_in_flight(self, slots: Ints) -> Bools:
        """Whether sites would take more if nothing were in flight; [len(slots)]."""
        if not len(self._columns):
            return np.zeros(len(slots), np.bool_)
        without = self._whole_replicas(self._table.sums[self._columns, slots])
        return np.greater(without, self.replicas_at(slots))

    def _whole_replicas(self, left: Floats) -> Ints:
        """How often the request fits into the capacity that is left, which it overwrites."""
        left /= self._requested
        least = left.min(axis=0)
        np.maximum(least, 0.0, out=least)
        np.minimum(least, UNLIMITED, out=least)
        whole: Ints = least.astype(np.int64)
        return whole

    def _updated_table(self) -> _Table:
        fleet = self._fleet
        cache = fleet.cache(SummedCapacityCache)
        tables = cache.tables
        cache_key = (self._fits_profile.tobytes(), vendor_sets_key(self._vendor_sets))
        table = tables.get(cache_key)
        shape = fleet.nodes.rows.matrix.shape[0], fleet.slot_capacity
        changed: Iterable[int] = ()
        if table is None:
            table, changed = self._table_to_adapt(cache)
        if table is None or table.sums.shape != shape:
            table = _Table(shape, self._fits_profile, self._vendor_sets)
        tables[cache_key] = table
        tables.move_to_end(cache_key)
        if len(tables) > _MAX_TABLES:
            tables.popitem(last=False)
        self._remember(cache, cache_key)
        fleet.in_flight_totals.widen(shape[0])
        log = fleet.nodes.changed_slots
        if table.log_generation != fleet.nodes.log_generation:
            self._update_sums(table, np.arange(len(fleet.facts)))
        else:
            # Few; a slot may occur twice.
            for slot in (*changed, *log[table.log_position :]):
                self._update_sums(table, np.array((slot,), np.int64))
        table.log_generation, table.log_position = fleet.nodes.log_generation, len(log)
        return table

    def _remember(self, cache: SummedCapacityCache, cache_key: Hashable) -> None:
        if len(cache.last_keys) >= _MAX_SELECTIONS:
            cache.last_keys.clear()
        cache.last_keys[self._selection] = cache_key

    def _table_to_adapt(self, cache: SummedCapacityCache) -> tuple[_Table | None, set[int]]:
        """The table that this selection used last, if few sites have changed what it depends on.

        A site that reports nodes of another kind gives the profiles another meaning, and with it
        every table another key. Only the sums of the sites that have these nodes are computed
        again, so that the cost does not grow with the fleet.

        Returns:
            The table, taken out of the cache, and the slots whose sums are to be computed again.
        """
        last_key = cache.last_keys.get(self._selection)
        table = None if last_key is None else cache.tables.get(last_key)
        if table is None or (table.vendor_sets is None) != (self._vendor_sets is None):
            return None, set()
        slots: set[int] = set()
        if table.vendor_sets is not None and self._vendor_sets is not None:
            if len(table.vendor_sets) != len(self._vendor_sets):
                return None, set()
            slots.update(np.flatnonzero(table.vendor_sets != self._vendor_sets).tolist())
        count = min(len(table.fits_profile), len(self._fits_profile))
        differing = np.flatnonzero(table.fits_profile[:count] != self._fits_profile[:count])
        # Numbers that one of them lacks are those of sites in the log of changed ones.
        slots |= self._fleet.nodes.profiles.slots_of(differing.tolist())
        if len(slots) > _MAX_SLOTS_TO_ADAPT:
            return None, set()
        del cache.tables[last_key]
        table.fits_profile, table.vendor_sets = self._fits_profile, self._vendor_sets
        return table, slots

    def _update_sums(self, table: _Table, slots: Ints) -> None:
        nodes = self._fleet.nodes
        rows = nodes.rows
        index = rows.row_indices(slots)
        profiles = rows.matrix[PROFILE_COLUMN].take(index).astype(np.int64)
        usable = self._fits_profile.take(profiles)
        usable &= profiles != IN_FLIGHT_PROFILE
        if self._vendor_sets is not None:
            usable &= permitted_rows(self._fleet, self._vendor_sets, slots, profiles)
        free = rows.matrix.take(index, axis=1)
        # Scales every column, the count and profile columns too: nothing reads their sums.
        free *= free[COUNT_COLUMN] * usable
        table.sums[:, slots] = rows.sum_by_site(slots, free)


def vendor_sets_key(vendor_sets: Ints | None) -> bytes:
    """The permitted CPU vendors of all sites as part of a cache key."""
    return b"" if vendor_sets is None else vendor_sets.tobytes()


def permitted_rows(fleet: Fleet, vendor_sets: Ints, slots: Ints, profiles: Ints) -> Bools:
    """Whether the grant in use permits the CPU vendor of each row; [rows].

    Args:
        fleet: the fleet.
        vendor_sets: the number of the set of permitted vendors of each site; [slot_capacity].
        slots: the sites.
        profiles: the profile of each of their rows; [rows].
    """
    sets = vendor_sets.take(slots).repeat(fleet.nodes.rows.length.take(slots))
    permitted: Bools = fleet.permitted_profiles()[sets, profiles]
    return permitted
