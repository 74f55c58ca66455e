"""Step 4, divide: which site gets how many replicas, by strategy.

Steady, the default mode, keeps running replicas and places only the difference; Fresh starts over.
In both modes a site never gets more than it has and what fits beside that. The strategies:

- CostOptimal fills the cheapest site first; fewer replicas are taken from the most expensive first.
- Aggregated uses as few sites as possible, those with most capacity first, and divides by capacity.
- Balanced divides in proportion to capacity; fewer replicas keep the proportions of those that run.
- Weighted divides by the weights that the workload names (equal ones when it names none).
- Duplicated gives every site all replicas.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.placement.cost.site_costs import SiteCosts
from scheduler.placement.divide.apportionment import apportion, scale_down_by_weight
from scheduler.placement.divide.division import ReplicasBySlot, add_replicas, drop_zeros
from scheduler.placement.fit.capacity import SiteCapacity

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Cheapest

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class DivisionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be divided.

    Attributes:
        demand: the demand.
        replicas: how many replicas there are to be in all.
        kept: replicas that stay where they are, by slot; empty in Fresh mode.
        open_slots: slots of sites that may get more; [open].
        capacity: how many replicas fit at each site beside what runs there.
        costs: what a replica costs at each site.
        weights: by slot, for the strategy Weighted; None: all equal.
        own_replicas: what the workload itself runs, by slot, in Fresh mode: it may use their
            capacity again.
        caps: the most that single sites may get beyond `kept`, by slot; others have no cap.
    """

    demand: Demand
    replicas: int
    kept: ReplicasBySlot
    open_slots: Ints
    capacity: SiteCapacity
    costs: SiteCosts
    weights: ReplicasBySlot | None = None
    own_replicas: ReplicasBySlot = msgspec.field(default_factory=dict)
    caps: ReplicasBySlot = msgspec.field(default_factory=dict)

    def max_additional_at(self, slots: Ints) -> Ints:
        """How many replicas beyond `kept` each site could get; [len(slots)]."""
        additional = self.capacity.replicas_at(slots)
        return (
            additional
            if not self.own_replicas and not self.caps
            else self._limit_additional(additional, slots)
        )

    def _limit_additional(self, additional: Ints, slots: Ints) -> Ints:
        own_replicas = np.array(
            [self.own_replicas.get(slot, 0) for slot in slots.tolist()], np.int64
        )
        reusable = additional + own_replicas
        caps = [
            self.caps.get(slot, everything)
            for slot, everything in zip(slots.tolist(), reusable.tolist(), strict=True)
        ]
        limited: Ints = np.minimum(reusable, np.array(caps, np.int64))
        return limited

    @property
    def kept_total(self) -> int:
        """How many replicas stay in all."""
        return sum(self.kept.values())


def divide(request: DivisionRequest) -> ReplicasBySlot | None:
    """Divides by the demand's strategy.

    Returns:
        Replicas by slot, kept ones included; None if there is not enough capacity for all.
    """
    missing = request.replicas - request.kept_total
    if request.demand.strategy == "Duplicated":
        return _divide_duplicated(request)
    if missing == 0:
        return dict(request.kept)
    strategy = request.demand.strategy
    return (_FILL_BY_STRATEGY[strategy] if missing > 0 else _SCALE_DOWN_BY_STRATEGY[strategy])(
        request, abs(missing)
    )


def _fill_cheapest_first(request: DivisionRequest, missing: int) -> ReplicasBySlot | None:
    shares = dict(request.kept)
    cheapest = cheapest_sites_by_kernel(request)
    if cheapest is not None:
        return shares if cheapest.fill(shares, missing) else None
    for slot, more in iter_cheapest_sites(request, missing):
        added = min(more, missing)
        shares[slot] = shares.get(slot, 0) + added
        missing -= added
        if missing == 0:
            return shares
    return None


def iter_cheapest_sites(request: DivisionRequest, missing: int) -> Iterator[tuple[int, int]]:
    """The slots of open sites with capacity, cheapest first, and how many replicas each could get.

    If all together cannot hold what is missing, some or all may be left out.
    """
    return cheapest_sites_by_kernel(request) or _iter_cheapest_sites_interpreted(request, missing)


def cheapest_sites_by_kernel(request: DivisionRequest) -> "Cheapest | None":
    """The open sites, cheapest first, by the kernel; None: it does not support the request."""
    if request.own_replicas or request.caps:
        return None
    return cheapest_of(request.open_slots, request.capacity, request.costs)


def cheapest_of(slots: Ints, capacity: SiteCapacity, costs: SiteCosts) -> "Cheapest | None":
    """Sites, cheapest first, by the kernel; None: it does not support the demand."""
    fit = capacity.unbounded_kernel_fit
    if fit is None:
        return None
    unknown = costs.unknown if costs.is_any_unknown else None
    full = capacity.kernel_full_sites if len(slots) > MIN_SITES_TO_CACHE_FULL else None
    return fit.cheapest(slots, costs.cny, unknown, costs.name_hashes, costs.salt, full)


def _iter_cheapest_sites_interpreted(
    request: DivisionRequest, missing: int
) -> Iterator[tuple[int, int]]:
    slots = request.open_slots
    if len(slots) > _MAX_SITES_IN_ONE_STEP and not request.own_replicas:
        slots = request.capacity.exclude_known_full(slots)
    if len(slots) <= _MAX_SITES_IN_ONE_STEP:
        more = request.max_additional_at(slots)
        if int(more.sum()) >= missing:
            additional = dict(zip(slots.tolist(), more.tolist(), strict=True))
            for slot in request.costs.sort_cheapest_first(slots.take(more.nonzero()[0])).tolist():
                yield slot, additional[slot]
        return
    for chunk in request.costs.iter_cheapest_first(
        slots, first_chunk=min(_EXTRA_SITES_IN_FIRST_CHUNK + missing, _MAX_SITES_IN_FIRST_CHUNK)
    ):
        more = request.max_additional_at(chunk)
        if not request.own_replicas and not request.caps:  # a cap says nothing about capacity
            request.capacity.mark_full(chunk[more == 0])
        for slot, additional_there in zip(chunk.tolist(), more.tolist(), strict=True):
            if additional_there > 0:
                yield slot, additional_there


MIN_SITES_TO_CACHE_FULL = 256
"""With more open sites the kernel caches which are full; with fewer, checking again is cheaper."""
_EXTRA_SITES_IN_FIRST_CHUNK, _MAX_SITES_IN_FIRST_CHUNK = 20, 64
"""Without the kernel, the first chunk has so many sites more than replicas, and at most so many."""
_MAX_SITES_IN_ONE_STEP = 64
"""Without the kernel, so few sites are all checked in one step."""


def _scale_down_most_expensive_first(
    request: DivisionRequest, surplus: int
) -> ReplicasBySlot | None:
    shares = dict(request.kept)
    for slot in request.costs.sort_cheapest_first(_slots_of(request.kept))[::-1].tolist():
        removed = min(shares[slot], surplus)
        shares[slot] -= removed
        surplus -= removed
    return drop_zeros(shares)


def _fill_aggregated(request: DivisionRequest, missing: int) -> ReplicasBySlot | None:
    more = request.max_additional_at(request.open_slots)
    is_kept = np.array([slot in request.kept for slot in request.open_slots.tolist()], np.bool_)
    ranks = np.lexsort(
        (
            request.costs.tie_breakers_of(request.open_slots),
            request.costs.cny[request.open_slots],
            -more,
            ~is_kept,
        )
    )
    cumulative = np.cumsum(more[ranks])
    used = int(np.searchsorted(cumulative, missing)) + 1
    if used > len(ranks):
        return None
    chosen = ranks[:used]
    slots = request.open_slots[chosen]
    added = _apportion_by_workload(request, missing, more[chosen], slots, more[chosen])
    return None if added is None else add_replicas(request.kept, slots, added)


def _scale_down_aggregated(request: DivisionRequest, _surplus: int) -> ReplicasBySlot | None:
    slots = _slots_of(request.kept)
    held = np.array([request.kept[slot] for slot in slots.tolist()], np.int64)
    ranks = np.lexsort((request.costs.tie_breakers_of(slots), request.costs.cny[slots], -held))
    used = int(np.searchsorted(np.cumsum(held[ranks]), request.replicas)) + 1
    chosen = ranks[:used]
    left = _apportion_by_workload(
        request, request.replicas, held[chosen], slots[chosen], held[chosen]
    )
    return None if left is None else drop_zeros(_replicas_by_slot(slots[chosen], left))


def _fill_balanced(request: DivisionRequest, missing: int) -> ReplicasBySlot | None:
    more = request.max_additional_at(request.open_slots)
    added = _apportion_by_workload(request, missing, more, request.open_slots, more)
    return None if added is None else add_replicas(request.kept, request.open_slots, added)


def _scale_down_balanced(request: DivisionRequest, _surplus: int) -> ReplicasBySlot | None:
    slots = _slots_of(request.kept)
    held = np.array([request.kept[slot] for slot in slots.tolist()], np.int64)
    left = _apportion_by_workload(request, request.replicas, held, slots, held)
    return None if left is None else drop_zeros(_replicas_by_slot(slots, left))


def _fill_weighted(request: DivisionRequest, _missing: int) -> ReplicasBySlot | None:
    """Adds replicas where the share is furthest below its weight."""
    slots = np.union1d(request.open_slots, _slots_of(request.kept)).astype(np.int64)
    held = np.array([request.kept.get(slot, 0) for slot in slots.tolist()], np.int64)
    is_open = np.isin(slots, request.open_slots)
    more = np.where(is_open, request.max_additional_at(slots), 0)
    replicas = apportion(
        request.replicas,
        _weights_of(request, slots),
        caps=held + more,
        start=held,
        tie_breakers=request.costs.tie_breakers_of(slots),
    )
    return None if replicas is None else drop_zeros(_replicas_by_slot(slots, replicas))


def _scale_down_weighted(request: DivisionRequest, _surplus: int) -> ReplicasBySlot | None:
    slots = _slots_of(request.kept)
    held = np.array([request.kept[slot] for slot in slots.tolist()], np.int64)
    left = scale_down_by_weight(
        request.replicas,
        _weights_of(request, slots),
        held,
        tie_breakers=request.costs.tie_breakers_of(slots),
    )
    return drop_zeros(_replicas_by_slot(slots, left))


def _divide_duplicated(request: DivisionRequest) -> ReplicasBySlot | None:
    """Every site with capacity gets all replicas; one that cannot take more keeps what it has."""
    shares = dict(request.kept)
    more = request.max_additional_at(request.open_slots)
    for slot, additional in zip(request.open_slots.tolist(), more.tolist(), strict=True):
        held = request.kept.get(slot, 0)
        if held + additional >= request.replicas:
            shares[slot] = request.replicas
    for slot, held in shares.items():
        shares[slot] = min(held, request.replicas)
    shares = drop_zeros(shares)
    return shares or (None if request.replicas else {})


_FILL_BY_STRATEGY: dict[str, Callable[[DivisionRequest, int], ReplicasBySlot | None]] = {
    "CostOptimal": _fill_cheapest_first,
    "Aggregated": _fill_aggregated,
    "Balanced": _fill_balanced,
    "Weighted": _fill_weighted,
}
_SCALE_DOWN_BY_STRATEGY: dict[str, Callable[[DivisionRequest, int], ReplicasBySlot | None]] = {
    "CostOptimal": _scale_down_most_expensive_first,
    "Aggregated": _scale_down_aggregated,
    "Balanced": _scale_down_balanced,
    "Weighted": _scale_down_weighted,
}


def _apportion_by_workload(
    request: DivisionRequest, total: int, weights: Ints, slots: Ints, caps: Ints
) -> Ints | None:
    """Divides `total` among slots by weights; ties are broken by the hash of the workload."""
    return apportion(
        total,
        weights.astype(np.float64),
        caps=caps,
        tie_breakers=request.costs.tie_breakers_of(slots),
    )


def _weights_of(request: DivisionRequest, slots: Ints) -> Floats:
    if request.weights is None:
        return np.ones(len(slots))
    return np.array([float(request.weights.get(slot, 0)) for slot in slots.tolist()])


def _slots_of(shares: ReplicasBySlot) -> Ints:
    return np.array(sorted(shares), np.int64)


def _replicas_by_slot(slots: Ints, replicas: Ints) -> ReplicasBySlot:
    return dict(zip(slots.tolist(), replicas.tolist(), strict=True))
