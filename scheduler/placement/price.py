"""Step 3, cost: what one replica costs for an hour at each site, in money.

No cost is normalised over the candidates, so that a site that joins never changes the order of the
others. Known costs sort before unknown ones: sites are ordered by the number of figures that are
missing, then by money, where a missing or old figure counts as the worst of what is known of it.
Losing a figure thus never moves a site forward.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import mixed
from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Origin
from scheduler.placement import costs
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FIRST_CHUNK = 64
_GROWTH = 4
_UNKNOWN_WEIGHT = 1e18


@dataclass(frozen=True, slots=True)
class Figures:
    """One cost at every site, per unit of what is paid for (a kWh, a core, a millisecond).

    Attributes:
        cny: CNY per unit and hour; where unknown, the worst of what is known; [capacity].
        known: whether it rests on known figures; [capacity]; None: everywhere.
        missing: how many of the figures behind it are missing; [capacity]; None: one where it is
            not known. Counted one by one, so that losing a further one still moves a site back.
    """

    cny: Floats
    known: Bools | None
    missing: Ints | None = None


class CostRule(Protocol):
    """One cost."""

    term: str

    def units(self, demand: Demand, moment: Moment) -> float:
        """How many units one replica pays for; terms of 0 units are not computed."""
        ...

    def per_unit(self, fleet: Fleet, demand: Demand, moment: Moment) -> Figures:
        """What a unit costs at every site."""
        ...

    def origin(
        self, facts: SiteFacts, demand: Demand, moment: Moment
    ) -> tuple[Origin, float | None]:
        """Where the figures of one site come from, and their age in seconds if they age."""
        ...


@cache
def all_costs() -> tuple[CostRule, ...]:
    """Every cost in `costs/`, by file name."""
    names = sorted(module.name for module in pkgutil.iter_modules(costs.__path__))
    return tuple(importlib.import_module(f"{costs.__name__}.{name}").COST for name in names)


@dataclass(frozen=True, slots=True)
class Price:
    """What a replica costs at every site, and how sites rank by it.

    Attributes:
        terms: the costs that apply, each with its units and its figures.
        cny: their sum; [capacity].
        unknown: how many figures behind them are missing; [capacity].
        names: a number for every site that follows from its name; [capacity].
        salt: a number for the workload.
        is_any_unknown: whether any term is unknown at any site.
    """

    terms: tuple[tuple[CostRule, float, Figures], ...]
    cny: Floats
    unknown: Ints
    names: NDArray[np.uint64]
    salt: int
    is_any_unknown: bool = True

    def tie(self, slots: Ints) -> NDArray[np.uint64]:
        """Breaks ties: always the same way, but differently for each workload."""
        return (self.names.take(slots) ^ np.uint64(self.salt)) * _ODD

    def ranked(self, slots: Ints, *, first: int = _FIRST_CHUNK) -> Iterator[Ints]:
        """The slots in order, cheapest first, in chunks: few decisions need them all.

        Args:
            slots: what to put in order.
            first: about how many are needed; later chunks are larger.
        """
        if len(slots) <= 2 * first:
            yield self.sorted(slots)
            return
        key = self.cny.take(slots)
        if self.is_any_unknown:
            key += self.unknown.take(slots) * _UNKNOWN_WEIGHT
        left = slots
        size = first
        while len(left) > 2 * size:
            border = np.partition(key, size - 1)[size - 1]
            near = key <= border
            yield self.sorted(left[near])
            left, key = left[~near], key[~near]
            size *= _GROWTH
        if len(left):
            yield self.sorted(left)

    def sorted(self, slots: Ints) -> Ints:
        """The slots in order, cheapest first."""
        cny = self.cny.take(slots)
        unknown = self.unknown.take(slots) if self.is_any_unknown else None
        if unknown is None or not unknown.any():
            order = cny.argsort(kind="stable")
            in_order = cny.take(order)
            if not (in_order[1:] == in_order[:-1]).any():
                return slots.take(order)
        order = np.lexsort(
            (self.tie(slots), cny, np.zeros(len(slots)) if unknown is None else unknown)
        )
        return slots.take(order)

    def is_known(self, slots: Ints) -> bool:
        """Whether every term is known at these sites."""
        return all(
            figures.known is None or bool(figures.known[slots].all())
            for _, _, figures in self.terms
        )


def price_of(demand: Demand, fleet: Fleet, moment: Moment) -> Price:
    """Adds up all costs that the demand pays for."""
    terms: list[tuple[CostRule, float, Figures]] = []
    missing: list[Bools | Ints] = []
    cny: Floats | None = None
    for cost in all_costs():
        units = cost.units(demand, moment)
        if units:
            figures = cost.per_unit(fleet, demand, moment)
            terms.append((cost, units, figures))
            if cny is None:
                cny = figures.cny * units
            else:
                cny += figures.cny * units
            if figures.missing is not None:
                missing.append(figures.missing)
            elif figures.known is not None:
                missing.append(figures.known)
    if cny is None:
        cny = np.zeros(fleet.capacity)
    unknown, is_any = _unknown(fleet, missing)
    salt = mixed(demand.uid or demand.key)
    return Price(tuple(terms), cny, unknown, fleet.tie, salt, is_any_unknown=is_any)


def _unknown(fleet: Fleet, figures: list[Bools | Ints]) -> tuple[Ints, bool]:
    """How many figures are missing; remembered as long as they are the same arrays.

    Args:
        fleet: the fleet; it remembers.
        figures: of each cost how many are missing, or whether it is known; [capacity].
    """
    question = (fleet.figure_version, *map(id, figures))
    kept = fleet.unknowns.get(question)
    if kept is None or kept[0].shape[0] != fleet.capacity:
        unknown = np.zeros(fleet.capacity, np.int64)
        for each in figures:
            unknown += ~each if each.dtype == np.bool_ else each
        if len(fleet.unknowns) > _MOST_UNKNOWNS:
            fleet.unknowns.clear()
        is_any = bool((unknown[fleet.is_there] > 0).any())
        # The arrays are kept too: as long as they live, no other can have their identity.
        kept = fleet.unknowns[question] = (unknown, is_any, figures)
    return kept[0], kept[1]


_MOST_UNKNOWNS = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)
