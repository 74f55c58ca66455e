"""The assignment of many workloads by value less cost, near the optimum, with a proven bound.

The best division is a linear program over (workload, site) pairs, too large to solve whole. Prices
for each resource of each site are found first (`dual_ascent.py`). Where the pairs that are good at
these prices are few enough, HiGHS solves the program over them and some that are spread over all
sites, and its dual prices are the final ones; pairs that turn out to be missing are added and it is
solved again. Amounts are then rounded down to whole replicas, what is left goes to the workloads
that gain most at the final prices, and sites are packed again one by one (`site_improvement.py`).
In a small batch single replicas are a large part, so it is also solved as an integer program. No
result is worse than best-score greedy.

Whatever the prices are, `sum of price * capacity + sum over workloads of replicas * best reduced
profit over ALL sites` bounds every division from above (Lagrange). That bound is reported with
every batch. All limits count programs and nodes, never seconds, so the same batch has the same
result.
Sources: Bertsimas, Tsitsiklis, Introduction to Linear Optimization, ch. 6 and 11; Lübbecke,
Desrosiers, Selected topics in column generation, 2005.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scheduler.placement.batch.instance import (
    BatchInstance,
    BatchSolution,
    Bools,
    Floats,
    Ints,
    free_after,
    profit_of,
)
from scheduler.placement.batch.rounding import (
    drop_parts,
    fill_remaining,
    repair_overfilled,
    round_down,
    solve_greedily,
)
from scheduler.placement.batch.site_improvement import SitePacker
from scheduler.placement.solver.dual_ascent import ascend, reduced_profit, upper_bound_at
from scheduler.placement.solver.highs import solve_integer_packing, solve_packing
from scheduler.placement.solver.pairs import best_pairs, spread_numbers

_BEST_PAIRS_PER_WORKLOAD = 6
"""The sites of each workload that the linear program begins with, because they are best."""
_SPREAD_PAIRS_PER_WORKLOAD = 8
"""Those that it begins with so that each site has workloads, also where all rank sites alike."""
_ADDED_PAIRS_PER_ROUND = 5
"""The sites per workload that are added after each solution which is not good enough."""
_LEAST_SHARE_OF_ADDED = 0.3
"""Of the sites that are added, how much of a gain counts before it is spread over sites."""
_MAX_LP_ROUNDS = 8
_MAX_LP_WORKLOADS = 4_000
"""With more workloads HiGHS takes too long: the prices of the ascent are rounded instead."""
_MAX_INTEGER_PAIRS = 100
"""Up to so many pairs the integer program takes HiGHS some tenths of a second."""
_MAX_INTEGER_NODES = 500
"""The most nodes of the branch-and-bound tree."""
_TARGET_GAP_RATIO = 0.002
"""No pairs are added once this part of the bound, or less, is not achieved."""
_MAX_PACKED_SITES = 300
"""The most sites that are packed again; those with most unused value are the first."""
_MAX_PAIRS_OF_GROUPS = 1_500
"""In batches of up to so many pairs of profit, sites are packed again in groups too."""
_SITES_PER_GROUP = 4
_GROUP_TURNS = 4
_LEAST_GAIN = 1e-9
"""CNY per hour: a smaller gain of a missing pair is noise of the solver."""
_LP_METHOD = (
    "smoothed dual ascent, then HiGHS interior point, no crossover, 1 thread, seed 0; "
    "sites packed by branch and bound"
)
_PRICE_METHOD = "smoothed dual ascent; sites packed by branch and bound"


@dataclass(frozen=True, slots=True)
class _Priced:
    """Prices with their bound, and the whole replicas that follow from them."""

    prices: Floats
    bound: float
    placed: Ints
    method: str


def solve_batch(instance: BatchInstance) -> BatchSolution:
    """Places as much value as can be, less cost."""
    if not instance.profit.size or not np.isfinite(instance.profit).any():
        nothing = np.zeros(instance.profit.shape, np.int64)
        return BatchSolution(
            placed=nothing,
            prices=np.zeros_like(instance.free),
            achieved=0.0,
            bound=0.0,
            method=_PRICE_METHOD,
        )
    if len(instance.replicas) > _MAX_LP_WORKLOADS:
        priced, others = _solve_by_prices(instance), list[Ints]()
    else:
        priced = _solve_by_linear_program(instance)
        # Rounding costs most in small batches: another division may have more profit. The prices
        # and the bound hold for every division, so they stay.
        others = [solve_greedily(instance), *_iter_integer_solutions(instance)]
    _pack_sites(instance, priced)
    best = max((priced.placed, *others), key=lambda placed: profit_of(instance, placed))
    return BatchSolution(
        placed=best,
        prices=priced.prices,
        achieved=profit_of(instance, best),
        bound=priced.bound,
        method=priced.method,
    )


def _pack_sites(instance: BatchInstance, priced: _Priced) -> None:
    """Packs sites again, one by one; in a small batch also a few together."""
    packer = SitePacker(instance, priced.placed, priced.prices)
    packer.improve(max_sites=_MAX_PACKED_SITES)
    if _MAX_INTEGER_PAIRS < np.count_nonzero(instance.profit > 0) <= _MAX_PAIRS_OF_GROUPS:
        packer.improve_groups(turns=_GROUP_TURNS, sites_per_group=_SITES_PER_GROUP)
    fill_remaining(instance, priced.placed, priced.prices)


def _iter_integer_solutions(instance: BatchInstance) -> Iterator[Ints]:
    """The best division into whole replicas, if so few pairs have profit that it is soon found."""
    worth = (instance.profit > 0) & (instance.replicas > 0)[:, None]
    workloads, sites = np.nonzero(worth)
    if not 0 < len(workloads) <= _MAX_INTEGER_PAIRS:
        return
    placed = np.zeros(instance.profit.shape, np.int64)
    placed[workloads, sites] = solve_integer_packing(
        instance, workloads, sites, max_nodes=_MAX_INTEGER_NODES
    )
    # The integer program too has a tolerance.
    repair_overfilled(instance, placed, free_after(instance, placed))
    drop_parts(instance, placed)
    yield placed


def _with_minimum_capacity(instance: BatchInstance) -> BatchInstance:
    """The instance that prices are found on: each site fits the smallest replica at least.

    If nothing of a resource is free, every price above its worth is right; so its price is what a
    first unit would be worth. Bounds are computed on what is really free.
    """
    asked = np.where(instance.requests > 0, instance.requests, np.inf).min(axis=0, initial=np.inf)
    least = np.where(np.isfinite(asked), asked, 0.0)
    return replace(instance, free=np.maximum(instance.free, least))


def _solve_by_prices(instance: BatchInstance) -> _Priced:
    """Rounds the ascent's division, or divides by its prices only, whichever has more profit."""
    ascended = ascend(_with_minimum_capacity(instance))
    prices = ascended.prices
    count, followed = ascended.sites.shape
    workloads = np.repeat(np.arange(count), followed)
    rounded = round_down(instance, workloads, ascended.sites.ravel(), ascended.amounts.ravel())
    fill_remaining(instance, rounded, prices)
    priced = np.zeros_like(rounded)
    fill_remaining(instance, priced, prices)
    best = max(rounded, priced, key=lambda placed: profit_of(instance, placed))
    bound = upper_bound_at(instance, prices, reduced_profit(instance, prices))
    return _Priced(prices, bound, best, _PRICE_METHOD)


def _solve_by_linear_program(instance: BatchInstance) -> _Priced:
    """Solves the program over some pairs, adding pairs until it is good enough."""
    relaxed = _with_minimum_capacity(instance)
    best_prices = ascend(relaxed).prices
    reduced = reduced_profit(instance, best_prices)
    best_bound = upper_bound_at(instance, best_prices, reduced)
    is_worth, spread = instance.profit > 0, spread_numbers(*instance.profit.shape)
    chosen = best_pairs(np.where(is_worth, reduced, -np.inf), _BEST_PAIRS_PER_WORKLOAD)
    chosen |= best_pairs(np.where(is_worth, spread, -np.inf), _SPREAD_PAIRS_PER_WORKLOAD)
    placed, least = np.zeros(instance.profit.shape, np.int64), np.inf
    for _ in range(_MAX_LP_ROUNDS):
        workloads, sites = np.nonzero(chosen)
        if not len(workloads):
            break
        packing = solve_packing(relaxed, workloads, sites)
        reduced = reduced_profit(instance, packing.prices)
        # A bound at any prices is valid: the lowest counts.
        found = upper_bound_at(instance, packing.prices, reduced)
        if found < best_bound:
            best_bound, best_prices = found, packing.prices
        placed = round_down(instance, workloads, sites, packing.amounts)
        # The program over the chosen pairs comes close to the bound over all: none is missing.
        least = min(least, upper_bound_at(relaxed, packing.prices, reduced))
        if least - packing.value <= _TARGET_GAP_RATIO * least:
            break
        missing = _missing_pairs(reduced, chosen, spread)
        if not missing.any():
            break
        chosen |= missing
    fill_remaining(instance, placed, best_prices)
    return _Priced(best_prices, best_bound, placed, _LP_METHOD)


def _missing_pairs(reduced: Floats, chosen: Bools, spread: Floats) -> Bools:
    """Pairs that are worth more at the prices than all that were chosen; [workloads, sites]."""
    had = np.where(chosen, reduced, -np.inf).max(axis=1, initial=0.0)
    gain = reduced - had[:, None]
    share = _LEAST_SHARE_OF_ADDED + (1 - _LEAST_SHARE_OF_ADDED) * spread
    return best_pairs(np.where(gain > _LEAST_GAIN, gain * share, -np.inf), _ADDED_PAIRS_PER_ROUND)
