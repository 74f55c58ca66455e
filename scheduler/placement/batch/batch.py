"""The assignment of many workloads by value less cost, near the optimum, with a proven bound.

The best division is a linear program over (workload, site) pairs, too large to solve whole. Prices
for each resource of each site are found first (`dual_ascent.py`). Where the pairs that are good at
these prices are few enough, HiGHS solves the program over them, and its dual prices are the final
ones; pairs that turn out to be missing are added and it is solved again. Amounts are then rounded
down to whole replicas, and what is left goes to the workloads that gain most at the final prices.
In a small batch single replicas are a large part, so it is also solved as an integer program. No
result is worse than best-score greedy.

Whatever the prices are, `sum of price * capacity + sum over workloads of replicas * best reduced
profit over ALL sites` bounds every division from above (Lagrange). That bound is reported with
every batch.
Sources: Bertsimas, Tsitsiklis, Introduction to Linear Optimization, ch. 6 and 11.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.solver.dual_ascent import ascend, reduced_profit, upper_bound_at
from scheduler.placement.solver.highs import solve_integer_packing, solve_packing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_PAIRS_PER_WORKLOAD = 10
"""The sites of each workload that the linear program begins with."""
_ADDED_PAIRS_PER_ROUND = 4
"""The sites per workload that are added after each solution which is not good enough."""
_MAX_LP_ROUNDS = 4
_MAX_LP_PAIRS = 40_000
"""With more pairs HiGHS takes too long: the prices of the ascent are rounded instead."""
_MAX_INTEGER_PAIRS = 100
"""Up to so many pairs the integer program takes HiGHS some tenths of a second."""
_MAX_INTEGER_NODES = 500
"""The most nodes of the branch-and-bound tree."""
_TARGET_GAP_RATIO = 0.003
"""No pairs are added once this part of the bound, or less, is not achieved."""
_ROUNDING_TOLERANCE = 1e-6
"""Replicas: HiGHS gives 1.9999999 for 2."""
_MIN_FRACTION_TO_ROUND_UP = 0.02
"""Replicas: smaller fractions are noise of the solver, not a choice of a site."""
_EPSILON = 1e-12
"""CNY per hour: keeps a divisor above 0."""
_ZERO_TOLERANCE_CNY_PER_HOUR = 1e-6
"""CNY per hour that count as 0."""
_LP_METHOD = "smoothed dual ascent, then HiGHS interior point, no crossover, 1 thread, seed 0"
_PRICE_METHOD = "smoothed dual ascent"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInstance:
    """A batch in numbers.

    Attributes:
        free: what each site has free; [sites, resources].
        requests: what one replica of each workload asks; [workloads, resources].
        replicas: how many replicas each workload wants; [workloads].
        profit: value less cost of a replica, CNY per hour; -inf where it is forbidden;
            [workloads, sites].
    """

    free: Floats
    requests: Floats
    replicas: Ints
    profit: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSolution:
    """The outcome of a batch.

    Attributes:
        placed: replicas; [workloads, sites].
        prices: what the last unit of each resource is worth, CNY per hour; [sites, resources].
        achieved: profit of what is placed, CNY per hour.
        bound: an upper bound on the profit of any division, CNY per hour.
        method: how the prices were found, for the record.
    """

    placed: Ints
    prices: Floats
    achieved: float
    bound: float
    method: str

    @property
    def ratio(self) -> float:
        """Profit achieved divided by its upper bound; 1 is proven optimal."""
        return achieved_ratio_of(self.achieved, self.bound)


def achieved_ratio_of(achieved: float, bound: float) -> float:
    """The part of the bound that was achieved; 1 if there was nothing to achieve."""
    return achieved / bound if bound > _ZERO_TOLERANCE_CNY_PER_HOUR else 1.0


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
    if len(instance.replicas) * _PAIRS_PER_WORKLOAD > _MAX_LP_PAIRS:
        return _solve_by_prices(instance)
    batch = _solve_by_linear_program(instance)
    # Rounding costs most in small batches: another division may have more profit. The prices and
    # the bound hold for every division, so they stay.
    others = [solve_greedily(instance), *_iter_integer_solutions(instance)]
    best = max((batch.placed, *others), key=lambda placed: profit_of(instance, placed))
    return replace(batch, placed=best, achieved=profit_of(instance, best))


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
    _repair_overfilled(
        instance, placed, instance.free - placed.T.astype(np.float64) @ instance.requests
    )
    yield placed


def _with_minimum_capacity(instance: BatchInstance) -> BatchInstance:
    """The instance that prices are found on: each site fits the smallest replica at least.

    If nothing of a resource is free, every price above its worth is right; so its price is what a
    first unit would be worth. Bounds are computed on what is really free.
    """
    asked = np.where(instance.requests > 0, instance.requests, np.inf).min(axis=0, initial=np.inf)
    least = np.where(np.isfinite(asked), asked, 0.0)
    return replace(instance, free=np.maximum(instance.free, least))


def _solve_by_prices(instance: BatchInstance) -> BatchSolution:
    """Rounds the ascent's division, or divides by its prices only, whichever has more profit."""
    ascended = ascend(_with_minimum_capacity(instance))
    count, followed = ascended.sites.shape
    workloads = np.repeat(np.arange(count), followed)
    rounded = _round_down(instance, workloads, ascended.sites.ravel(), ascended.amounts.ravel())
    fill_remaining(instance, rounded, ascended.prices)
    priced = np.zeros_like(rounded)
    fill_remaining(instance, priced, ascended.prices)
    best = max(rounded, priced, key=lambda placed: profit_of(instance, placed))
    prices = ascended.prices
    bound = upper_bound_at(instance, prices, reduced_profit(instance, prices))
    return BatchSolution(
        placed=best,
        prices=prices,
        achieved=profit_of(instance, best),
        bound=bound,
        method=_PRICE_METHOD,
    )


def _solve_by_linear_program(instance: BatchInstance) -> BatchSolution:
    """Solves the program over the best pairs, adding pairs until it is good enough."""
    relaxed = _with_minimum_capacity(instance)
    best_prices = ascend(relaxed).prices
    reduced = reduced_profit(instance, best_prices)
    best_bound = upper_bound_at(instance, best_prices, reduced)
    chosen = _best_pairs(reduced, _PAIRS_PER_WORKLOAD)
    placed = np.zeros(instance.profit.shape, np.int64)
    for _ in range(_MAX_LP_ROUNDS):
        workloads, sites = np.nonzero(chosen)
        packing = solve_packing(relaxed, workloads, sites)
        reduced = reduced_profit(instance, packing.prices)
        # A bound at any prices is valid: the lowest counts.
        found = upper_bound_at(instance, packing.prices, reduced)
        if found < best_bound:
            best_bound, best_prices = found, packing.prices
        placed = _round_down(instance, workloads, sites, packing.amounts)
        # The program over the chosen pairs comes close to the bound over all: none is missing.
        if best_bound - packing.value <= _TARGET_GAP_RATIO * best_bound:
            break
        chosen |= _best_pairs(reduced, _ADDED_PAIRS_PER_ROUND)
    fill_remaining(instance, placed, best_prices)
    return BatchSolution(
        placed=placed,
        prices=best_prices,
        achieved=profit_of(instance, placed),
        bound=best_bound,
        method=_LP_METHOD,
    )


def profit_of(instance: BatchInstance, placed: Ints) -> float:
    """Value less cost of what is placed, CNY per hour."""
    # Where nothing is placed profit may be -inf, and 0 * -inf is NaN.
    return float((placed * np.where(placed > 0, instance.profit, 0.0)).sum())


def _best_pairs(reduced: Floats, count: int) -> Bools:
    """The best sites of each workload, of those that are allowed; [workloads, sites]."""
    kept = min(count, reduced.shape[1])
    order = np.argpartition(-reduced, kept - 1, axis=1)[:, :kept]  # the best, in no order
    chosen = np.zeros(reduced.shape, np.bool_)
    np.put_along_axis(chosen, order, values=True, axis=1)
    return chosen & np.isfinite(reduced)


def _round_down(instance: BatchInstance, workloads: Ints, sites: Ints, amounts: Floats) -> Ints:
    """Rounds down to whole replicas, then rounds up the largest fractions where they fit."""
    placed = np.zeros(instance.profit.shape, np.int64)
    whole = np.floor(amounts + _ROUNDING_TOLERANCE).astype(np.int64)
    placed[workloads, sites] = whole
    free = instance.free - placed.T.astype(np.float64) @ instance.requests
    _repair_overfilled(instance, placed, free)  # before `left`: what it removes may be placed again
    rest = amounts - whole
    left = instance.replicas - placed.sum(axis=1)
    candidates = np.flatnonzero((rest > _MIN_FRACTION_TO_ROUND_UP) & (left[workloads] > 0))
    for pair in candidates[np.argsort(-rest[candidates], kind="stable")].tolist():
        workload, site = int(workloads[pair]), int(sites[pair])
        asked = instance.requests[workload]
        if left[workload] > 0 and (free[site] >= asked).all():
            placed[workload, site] += 1
            left[workload] -= 1
            free[site] -= asked
    return placed


def _repair_overfilled(instance: BatchInstance, placed: Ints, free: Floats) -> None:
    """Removes replicas where the solver's tolerance overfilled a site, least profit first."""
    for site in np.flatnonzero((free < 0).any(axis=1)).tolist():
        held = np.flatnonzero(placed[:, site])
        for workload in held[np.argsort(instance.profit[held, site], kind="stable")].tolist():
            while placed[workload, site] and (free[site] < 0).any():
                placed[workload, site] -= 1
                free[site] += instance.requests[workload]


def fill_remaining(instance: BatchInstance, placed: Ints, prices: Floats) -> None:
    """Gives what is left to the workloads that gain most by it; changes `placed`."""
    free = instance.free - placed.T.astype(np.float64) @ instance.requests
    left = instance.replicas - placed.sum(axis=1)
    unfinished = np.flatnonzero(left > 0)
    reduced = instance.profit[unfinished] - instance.requests[unfinished] @ prices.T
    # What a replica gains at its best site, per CNY that its request costs at mean prices: a large
    # replica has to gain more than the small ones that fit in its stead.
    best = reduced.max(axis=1) / np.maximum(
        (instance.requests[unfinished] * prices.mean(axis=0)).sum(axis=1), _EPSILON
    )
    for index in np.argsort(-best, kind="stable").tolist():
        workload = int(unfinished[index])
        _assign_best_first(
            instance,
            placed,
            free,
            workload,
            max_replicas=int(left[workload]),
            profit_by_site=reduced[index],
        )


def _assign_best_first(
    instance: BatchInstance,
    placed: Ints,
    free: Floats,
    workload: int,
    *,
    max_replicas: int,
    profit_by_site: Floats,
) -> None:
    """Gives replicas to the sites where they are worth most, as many to each as it takes.

    Args:
        instance: the batch.
        placed: replicas; changed; [workloads, sites].
        free: what is left; changed; [sites, resources].
        workload: the number of the workload.
        max_replicas: how many replicas at most.
        profit_by_site: what a replica is worth at each site; sites without profit get none;
            [sites].
    """
    asked = instance.requests[workload]
    capacity = _replicas_that_fit(free, asked)
    gain = np.where((capacity > 0) & (instance.profit[workload] > 0), profit_by_site, -np.inf)
    while max_replicas > 0:
        site = int(gain.argmax())
        if not np.isfinite(gain[site]):
            break
        added = int(min(max_replicas, capacity[site]))
        placed[workload, site] += added
        free[site] -= added * asked
        max_replicas -= added
        gain[site] = -np.inf  # it is full, or nothing is left to place


def _replicas_that_fit(free: Floats, asked: Floats) -> Floats:
    """How many more replicas fit at each site, by the resources that are asked; [sites]."""
    is_asked = asked > 0
    if not is_asked.any():
        return np.full(len(free), np.inf)
    fitting: Floats = np.floor((free[:, is_asked] / asked[is_asked]).min(axis=1))
    return fitting


def solve_greedily(instance: BatchInstance) -> Ints:
    """Replicas by best-score greedy, workload by workload; [workloads, sites]."""
    free = instance.free.copy()
    placed = np.zeros(instance.profit.shape, np.int64)
    for workload in np.argsort(-instance.profit.max(axis=1), kind="stable").tolist():
        wanted = int(instance.replicas[workload])
        _assign_best_first(
            instance,
            placed,
            free,
            workload,
            max_replicas=wanted,
            profit_by_site=instance.profit[workload],
        )
    return placed
