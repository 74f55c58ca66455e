"""Step 3, cost: what one replica costs per hour at each site, in CNY.

No cost is normalised over the candidates, so that a site that joins never changes the order of the
others. Known costs sort before unknown ones: sites are ordered by the number of missing figures,
then by money, where a missing or old figure counts as the worst that is known of it. So losing a
figure never moves a site forward.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import stable_hash
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Origin
from scheduler.placement.cost import terms as costs
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_vector import SiteVector
from scheduler.placement.kernel import loader as compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FIRST_CHUNK = 64
_CHUNK_GROWTH = 4
_UNKNOWN_WEIGHT = 1e18


class CostRule(Protocol):
    """One cost: units that a replica pays for, times what a unit costs at each site."""

    term: str

    def units(self, demand: Demand, context: DecisionContext) -> float:
        """How many units one replica pays for; terms of 0 units are not computed."""
        ...

    def per_unit(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> SiteVector:
        """What a unit costs; times `units` it is CNY per replica-hour; [slot_capacity]."""
        ...

    def origin(
        self, facts: SiteFacts, demand: Demand, context: DecisionContext
    ) -> tuple[Origin, float | None]:
        """Where the figures of one site come from, and their age in seconds if they age."""
        ...


@cache
def all_costs() -> tuple[CostRule, ...]:
    """Every cost in `terms/`, sorted by file name, which fixes the order of the sum."""
    names = sorted(module.name for module in pkgutil.iter_modules(costs.__path__))
    return tuple(importlib.import_module(f"{costs.__name__}.{name}").COST for name in names)


class SiteCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica costs at every site, and how sites rank by it.

    Attributes:
        terms: the costs that apply, each with its units and its figures.
        cny: their sum; [slot_capacity].
        unknown: how many of the figures that they need are missing; [slot_capacity].
        name_hashes: a hash of every site's name; [slot_capacity].
        salt: a hash of the workload.
        is_any_unknown: whether any term is unknown at any site.
    """

    terms: tuple[tuple[CostRule, float, SiteVector], ...]
    cny: Floats
    unknown: Ints
    name_hashes: NDArray[np.uint64]
    salt: int
    is_any_unknown: bool = True

    def tie_breakers_of(self, slots: Ints) -> NDArray[np.uint64]:
        """Numbers that break ties: the same for a workload, other ones for others; [len(slots)]."""
        return (self.name_hashes.take(slots) ^ np.uint64(self.salt)) * _HASH_MULTIPLIER

    def iter_cheapest_first(
        self, slots: Ints, *, first_chunk: int = _FIRST_CHUNK
    ) -> Iterator[Ints]:
        """The slots, cheapest first, in chunks: few decisions need them all.

        Args:
            slots: the slots to sort.
            first_chunk: about how many are needed; later chunks are larger.
        """
        if len(slots) <= 2 * first_chunk:
            yield self.sort_cheapest_first(slots)
            return
        key = self.cny.take(slots)
        if self.is_any_unknown:
            key += self.unknown.take(slots) * _UNKNOWN_WEIGHT
        left = slots
        size = first_chunk
        while len(left) > 2 * size:
            border = np.partition(key, size - 1)[size - 1]
            is_near = key <= border
            yield self.sort_cheapest_first(left[is_near])
            left, key = left[~is_near], key[~is_near]
            size *= _CHUNK_GROWTH
        if len(left):
            yield self.sort_cheapest_first(left)

    def sort_cheapest_first(self, slots: Ints) -> Ints:
        """The slots, cheapest first; [len(slots)]."""
        cny = self.cny.take(slots)
        unknown = self.unknown.take(slots) if self.is_any_unknown else None
        if unknown is None or not unknown.any():
            order = cny.argsort(kind="stable")
            in_order = cny.take(order)
            if not (in_order[1:] == in_order[:-1]).any():
                return slots.take(order)
        order = np.lexsort(
            (self.tie_breakers_of(slots), cny, np.zeros(len(slots)) if unknown is None else unknown)
        )
        return slots.take(order)

    def are_known(self, slots: Ints) -> bool:
        """Whether every term is known at these sites."""
        return not self.is_any_unknown or all(
            bool(figures.known[slots].all()) for _, _, figures in self.terms
        )


def site_costs_of(demand: Demand, fleet: Fleet, context: DecisionContext) -> SiteCosts:
    """Adds up all cost terms that the demand pays for."""
    terms: list[tuple[CostRule, float, SiteVector]] = []
    missing: list[Ints] = []
    for cost in all_costs():
        units = cost.units(demand, context)
        if units:
            figures = cost.per_unit(fleet, demand, context)
            terms.append((cost, units, figures))
            missing.append(figures.missing)
    add = compiled.kernel.sum_terms if fleet.is_compiled else _sum_terms
    cny = add(terms, fleet.slot_capacity)
    unknown, is_any = _count_missing(fleet, missing)
    salt = stable_hash(demand.uid or demand.key)
    return SiteCosts(
        terms=tuple(terms),
        cny=cny,
        unknown=unknown,
        name_hashes=fleet.name_hashes,
        salt=salt,
        is_any_unknown=is_any,
    )


def _sum_terms(terms: Sequence[tuple[CostRule, float, SiteVector]], capacity: int) -> Floats:
    cny: Floats | None = None
    for _, units, figures in terms:
        if cny is None:
            cny = figures.value * units
        else:
            cny += figures.value * units
    return np.zeros(capacity) if cny is None else cny


class MissingFiguresCache:
    """How many figures are missing by site, and whether any is, by the arrays that were added up.

    Attributes:
        counts: the sum, [slot_capacity], whether it is above 0 at any site, and the arrays added.
            The arrays are kept because keys hold their identities: as long as an array lives, no
            other can have its identity.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[int, ...], tuple[Ints, bool, list[Ints]]] = {}


def _count_missing(fleet: Fleet, missing_by_cost: list[Ints]) -> tuple[Ints, bool]:
    """How many figures are missing at each site, and whether any is; cached by the arrays.

    Args:
        fleet: the fleet.
        missing_by_cost: for each cost term, how many of its figures are missing; [slot_capacity].
    """
    cache_key = (fleet.figure_version, *map(id, missing_by_cost))
    counts = fleet.cache(MissingFiguresCache).counts
    cached = counts.get(cache_key)
    if cached is None or cached[0].shape[0] != fleet.slot_capacity:
        unknown = np.zeros(fleet.slot_capacity, np.int64)
        for each in missing_by_cost:
            unknown += each
        if len(counts) > _MAX_CACHED_COUNTS:
            counts.clear()
        is_any = bool((unknown[fleet.has_site] > 0).any())
        cached = counts[cache_key] = (unknown, is_any, missing_by_cost)
    return cached[0], cached[1]


_MAX_CACHED_COUNTS = 64
_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
