"""Exact fit by the compiled kernel, for pods of one shape."""

from collections.abc import Callable
from functools import partial
from operator import is_not
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight
from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.fit.topology_spread import is_lower_bound
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.eligible_profiles import selected_profiles, tolerated_profiles
from scheduler.placement.fleet.nodes.label_index import FIRST_VALUE
from scheduler.placement.fleet.nodes.profiles import ProfileTable
from scheduler.placement.kernel import loader as compiled

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit, Rows, Topology

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def kernel_supports(fleet: Fleet, shape: PodShape) -> bool:
    """Whether the kernel is used, and supports a shape."""
    return (
        fleet.is_compiled
        and not is_lower_bound(shape)
        and len(shape.requests) <= compiled.kernel.MAX_COLUMNS
    )


def make_kernel_fit(
    fleet: Fleet,
    shape: PodShape,
    suitable_profiles: Bools | None,
    vendor_sets: Ints | None,
    *,
    worst_case: Callable[[int], tuple[int, bool]],
    wanted: int = 0,
    lost_at: Callable[[int], float] | None = None,
) -> "Fit":
    """The compiled fit of one shape.

    Args:
        fleet: the fleet.
        shape: what one pod asks; `kernel_supports` must be true of it.
        suitable_profiles: which node profiles are suitable, [profiles]; None: all.
        vendor_sets: the number of the set of permitted CPU vendors of each site, [slot_capacity];
            None: any vendor.
        worst_case: what a slot takes in the worst case of what is in flight, and whether that is
            exact; asked where the kernel cannot search.
        wanted: how many replicas are asked; the worst case counts where the quick answer is less.
        lost_at: what pods in flight at a slot may cost at most, asked where the kernel cannot
            search; for shapes with limits on their spread inside a site.
    """
    # These may replace the arrays that `kernel_rows` passes on, so they come first.
    columns = fleet.nodes.column_numbers_of(shape.requests)
    if shape.gpu_cards:
        fleet.nodes.name_cards()
    return compiled.kernel.Fit(
        kernel_rows(fleet),
        columns,
        shape.requests.values(),
        shape.gpu_cards,
        shape.gpu_milli,
        shape.one_per_node,
        None if suitable_profiles is None else suitable_profiles.view(np.uint8),
        vendor_sets,
        None if vendor_sets is None else fleet.permitted_profiles().view(np.uint8),
        worst_case,
        wanted,
        None if lost_at is None else _topology(fleet, shape, lost_at),
    )


def _topology(fleet: Fleet, shape: PodShape, lost_at: Callable[[int], float]) -> "Topology | None":
    """The limits of a shape's spread inside a site; None: it has none."""
    if not shape.skews and not shape.one_per:
        return None
    profiles = fleet.nodes.profiles
    count = len(profiles)
    host = next((each for each in shape.skews if each.topology_key == HOSTNAME_LABEL), None)
    zone = next((each for each in shape.skews if each.topology_key != HOSTNAME_LABEL), None)
    key = zone.topology_key if zone else shape.one_per[0] if shape.one_per else None
    domains = None if key is None else profiles.labels.numbers_of(key, count)
    return compiled.kernel.Topology(
        domains,
        bool(shape.one_per),
        zone.max_skew if zone else 0.0,
        zone.min_domains if zone else 0.0,
        _counted_profiles(profiles, shape, zone, domains),
        host.max_skew if host else 0.0,
        host.min_domains if host else 0.0,
        _counted_profiles(profiles, shape, host, domains),
        lost_at,
    )


def _counted_profiles(
    profiles: ProfileTable,
    shape: PodShape,
    skew: TopologySpreadConstraint | None,
    domains: NDArray[np.int32] | None,
) -> NDArray[np.uint8] | None:
    """Which profiles count for a constraint, as in `topology_spread.is_counted`; [profiles]."""
    if skew is None:
        return None
    found = np.ones(len(profiles), np.bool_) if domains is None else domains >= FIRST_VALUE
    if skew.honors_affinity:
        found = found & selected_profiles(profiles, shape)[0]
    if skew.honors_taints:
        found = found & tolerated_profiles(profiles, shape)[0]
    return found.view(np.uint8)


class KernelRowsCache:
    """The node rows as the kernel reads them, and what its search reads of sites besides.

    Attributes:
        rows: valid as long as the fleet uses the same arrays.
        read_versions: the `Fleet.row_version` that `headroom` was read at; [slot_capacity].
        headroom: the headroom of each site; NaN where the kernel cannot search; [slot_capacity].
        columns_version: the `ResourceColumns.version` that both hold for.
        searchable: what was in flight at a site when the kernel could search all of it, by slot.
            Orders are added at the end, so of the same beginning only the rest is read again.
    """

    def __init__(self) -> None:
        self.rows: Rows | None = None
        self.read_versions: Ints = np.zeros(0, np.int64)
        self.headroom: Floats = np.zeros(0)
        self.columns_version = -1
        self.searchable: dict[int, tuple[InFlight, ...]] = {}

    def read(self, fleet: Fleet, slot: int) -> None:
        """Reads the headroom of a site, and whether the kernel can search what is in flight there.

        It cannot where room is reserved, which rows in flight do not say, or where a resource that
        a pod in flight asks for has no column. Then it gets one, for the next decision.
        """
        facts, columns = fleet.facts[slot], fleet.nodes.columns
        self.headroom[slot] = np.nan
        if facts is None:
            return
        named, in_flight = columns.named, facts.in_flight
        before = self.searchable.pop(slot, ())
        # Compared by identity where nothing changed, which is much faster than to read each.
        added = in_flight[len(before) :] if in_flight[: len(before)] == before else in_flight
        unnamed = [each.requests for each in added if not each.requests.keys() <= named]
        if unnamed:
            for requests in unnamed:
                fleet.nodes.column_numbers_of(requests)
            return
        if not any(each.workload.startswith(RESERVED_FOR_PREFIX) for each in added):
            self.headroom[slot] = facts.spec.headroom.ratio
            self.searchable[slot] = in_flight
        self.read_versions[slot] = fleet.row_version[slot]

    def forget_sites(self, slot_capacity: int, columns_version: int) -> None:
        """Forgets what was read of sites."""
        if len(self.headroom) == slot_capacity:
            self.read_versions[:] = 0
        else:
            # Version 0 is that of a slot which never had a site.
            self.read_versions = np.zeros(slot_capacity, np.int64)
            self.headroom = np.full(slot_capacity, np.nan)
        self.columns_version = columns_version
        self.searchable.clear()  # a resource may have no column any more


def kernel_rows(fleet: Fleet) -> "Rows":
    """The node rows as the kernel reads them, created again when an array was replaced."""
    rows, version = fleet.nodes.rows, fleet.nodes.columns.version
    cache = fleet.cache(KernelRowsCache)
    if cache.columns_version != version or len(cache.headroom) != fleet.slot_capacity:
        cache.forget_sites(fleet.slot_capacity, version)
    arrays = (
        rows.matrix,
        rows.start,
        rows.length,
        fleet.nodes.card_columns,
        fleet.row_version,
        cache.read_versions,
        cache.headroom,
        rows.writes,
    )
    cached = cache.rows
    if cached is None or any(map(is_not, cached.arrays, arrays)):
        cached = cache.rows = compiled.kernel.Rows(*arrays, partial(cache.read, fleet))
    return cached
