"""Cached capacities of single pod shapes, for decisions without the compiled kernel.

Answers are kept by shape and site, with the version of the site's rows that they hold for.
"""

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.summed_capacity import vendor_sets_key
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]

_MAX_CACHED_SHAPES = 256


class CapacityCache:
    """Replicas that fit, by pod shape; the least recently used shapes are dropped first.

    The kernel does not use it. The counters are for benchmarks.

    Attributes:
        by_shape: replicas that fit, and the `Fleet.row_version` that they were computed at, both
            [slot_capacity], by shape and all else that they depend on.
        hits: how often a shape was found.
        misses: how often a shape was not found.
    """

    def __init__(self) -> None:
        self.by_shape: OrderedDict[Hashable, tuple[Ints, Ints]] = OrderedDict()
        self.hits = 0
        self.misses = 0


def capacity_cache_key(demand: Demand, shape: PodShape, vendor_sets: Ints | None) -> Hashable:
    """All that the capacity of a site for a shape depends on, besides the site's rows."""
    return (shape.key, demand.architectures, demand.cpu_vendors, vendor_sets_key(vendor_sets))


def capacity_cache_of(fleet: Fleet, cache_key: Hashable) -> tuple[Ints, Ints]:
    """The cached capacities of a shape, and the row versions that they were computed at."""
    cache = fleet.cache(CapacityCache)
    cached = cache.by_shape.get(cache_key)
    if cached is None or len(cached[0]) != fleet.slot_capacity:
        cache.misses += 1
        # Version 0 is that of a slot which never had a site: 0 replicas are right there.
        cached = cache.by_shape[cache_key] = (
            np.zeros(fleet.slot_capacity, np.int64),
            np.zeros(fleet.slot_capacity, np.int64),
        )
        if len(cache.by_shape) > _MAX_CACHED_SHAPES:
            cache.by_shape.popitem(last=False)
    else:
        cache.hits += 1
        cache.by_shape.move_to_end(cache_key)
    return cached
