"""Many workloads at once: by value less cost, close to the optimum, and with a proof of how close.

The best division is a linear program over (workload, site) pairs, too large to solve whole. Prices
for each resource of each site are found first (`dual_ascent.py`). Where the pairs that are good at
these prices are few enough, HiGHS solves the program over them, and its dual prices are the final
ones; pairs that turn out to be missing are added and it is solved again. Whole replicas follow:
round down, then give what is left to what gains most by it, at the final prices. A small batch, of
which single replicas are a large part, is solved whole; and none is worse than best-score greedy.

Whatever the prices are, `sum of price * capacity + sum over workloads of replicas * best reduced
profit over ALL sites` bounds every division from above (Lagrange). That bound is reported with
every batch.
Sources: Bertsimas, Tsitsiklis, Introduction to Linear Optimization, ch. 6 and 11.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.solver.dual_ascent import ascend, bound_at, reduced_profit
from scheduler.placement.solver.highs import solve_packing, solve_whole

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_PAIRS_PER_WORKLOAD = 10
_MORE_PAIRS = 4
_MOST_LP_ROUNDS = 4
_MOST_LP_PAIRS = 40_000
"""More pairs take HiGHS longer than the program is worth: prices and rounding do it then."""
_MOST_WHOLE_PAIRS = 100
"""So few that the integer program takes HiGHS some tenths of a second."""
_MOST_WHOLE_NODES = 500
_GOOD_GAP = 0.003
_ALMOST_ONE = 1e-6
_WORTH_TRYING = 0.02
_TINY = 1e-12
_NOTHING = 1e-6
"""CNY per hour that count as none."""
_LP_METHOD = "smoothed dual ascent, then HiGHS interior point, no crossover, 1 thread, seed 0"
_PRICE_METHOD = "smoothed dual ascent"


@dataclass(frozen=True, slots=True)
class Instance:
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


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcome of a batch.

    Attributes:
        placed: replicas; [workloads, sites].
        prices: what the last unit of each resource is worth, CNY per hour; [sites, resources].
        achieved: profit of what is placed, CNY per hour.
        bound: no division has more.
        method: how the prices were found, for the record.
    """

    placed: Ints
    prices: Floats
    achieved: float
    bound: float
    method: str

    @property
    def ratio(self) -> float:
        """Achieved over bound; 1 is proven optimal."""
        return ratio_of(self.achieved, self.bound)


def ratio_of(achieved: float, bound: float) -> float:
    """How much of the bound was achieved; 1 where there was nothing to achieve."""
    return achieved / bound if bound > _NOTHING else 1.0


def solve_batch(instance: Instance) -> Batch:
    """Places as much value as can be, less cost."""
    if not instance.profit.size or not np.isfinite(instance.profit).any():
        none = np.zeros(instance.profit.shape, np.int64)
        return Batch(none, np.zeros_like(instance.free), 0.0, 0.0, _PRICE_METHOD)
    if len(instance.replicas) * _PAIRS_PER_WORKLOAD > _MOST_LP_PAIRS:
        return _by_prices(instance)
    batch = _by_program(instance)
    others = [greedily(instance), *_wholes(instance)]
    best = max((batch.placed, *others), key=lambda placed: profit_of(instance, placed))
    return replace(batch, placed=best, achieved=profit_of(instance, best))


def _wholes(instance: Instance) -> Iterator[Ints]:
    """The best whole division, where so few pairs are worth anything that it is soon found."""
    worth = (instance.profit > 0) & (instance.replicas > 0)[:, None]
    workloads, sites = np.nonzero(worth)
    if not 0 < len(workloads) <= _MOST_WHOLE_PAIRS:
        return
    placed = np.zeros(instance.profit.shape, np.int64)
    placed[workloads, sites] = solve_whole(instance, workloads, sites, most_nodes=_MOST_WHOLE_NODES)
    _take_back(instance, placed, instance.free - placed.T.astype(np.float64) @ instance.requests)
    yield placed


def _with_least_room(instance: Instance) -> Instance:
    """The instance that prices are found on: no site has less room than the smallest replica asks.

    The price of a resource of which nothing is free could be anything above what it is worth; so it
    is what a first unit would be worth. Bounds are computed on what is really free.
    """
    asked = np.where(instance.requests > 0, instance.requests, np.inf).min(axis=0, initial=np.inf)
    least = np.where(np.isfinite(asked), asked, 0.0)
    return replace(instance, free=np.maximum(instance.free, least))


def _by_prices(instance: Instance) -> Batch:
    """Rounds the ascent's division, or divides by its prices alone, whichever achieves more."""
    ascended = ascend(_with_least_room(instance))
    count, followed = ascended.sites.shape
    workloads = np.repeat(np.arange(count), followed)
    rounded = _round_down(instance, workloads, ascended.sites.ravel(), ascended.amounts.ravel())
    fill(instance, rounded, ascended.prices)
    priced = np.zeros_like(rounded)
    fill(instance, priced, ascended.prices)
    best = max(rounded, priced, key=lambda placed: profit_of(instance, placed))
    prices = ascended.prices
    bound = bound_at(instance, prices, reduced_profit(instance, prices))
    return Batch(best, prices, profit_of(instance, best), bound, _PRICE_METHOD)


def _by_program(instance: Instance) -> Batch:
    """Solves the program over the best pairs, adding pairs until it is good enough."""
    roomy = _with_least_room(instance)
    best_prices = ascend(roomy).prices
    reduced = reduced_profit(instance, best_prices)
    best_bound = bound_at(instance, best_prices, reduced)
    chosen = _best_pairs(reduced, _PAIRS_PER_WORKLOAD)
    placed = np.zeros(instance.profit.shape, np.int64)
    for _ in range(_MOST_LP_ROUNDS):
        workloads, sites = np.nonzero(chosen)
        answer = solve_packing(roomy, workloads, sites)
        reduced = reduced_profit(instance, answer.prices)
        found = bound_at(instance, answer.prices, reduced)
        if found < best_bound:
            best_bound, best_prices = found, answer.prices
        placed = _round_down(instance, workloads, sites, answer.amounts)
        if best_bound - answer.value <= _GOOD_GAP * best_bound:
            break
        chosen |= _best_pairs(reduced, _MORE_PAIRS)
    fill(instance, placed, best_prices)
    return Batch(placed, best_prices, profit_of(instance, placed), best_bound, _LP_METHOD)


def profit_of(instance: Instance, placed: Ints) -> float:
    """Value less cost of what is placed, CNY per hour."""
    return float((placed * np.where(placed > 0, instance.profit, 0.0)).sum())


def _best_pairs(reduced: Floats, count: int) -> Bools:
    """The best sites of each workload, of those that are allowed; [workloads, sites]."""
    kept = min(count, reduced.shape[1])
    order = np.argpartition(-reduced, kept - 1, axis=1)[:, :kept]
    chosen = np.zeros(reduced.shape, np.bool_)
    np.put_along_axis(chosen, order, values=True, axis=1)
    return chosen & np.isfinite(reduced)


def _round_down(instance: Instance, workloads: Ints, sites: Ints, amounts: Floats) -> Ints:
    """Whole replicas: rounded down, then the largest rests where they fit."""
    placed = np.zeros(instance.profit.shape, np.int64)
    whole = np.floor(amounts + _ALMOST_ONE).astype(np.int64)
    placed[workloads, sites] = whole
    free = instance.free - placed.T.astype(np.float64) @ instance.requests
    _take_back(instance, placed, free)
    rest = amounts - whole
    left = instance.replicas - placed.sum(axis=1)
    candidates = np.flatnonzero((rest > _WORTH_TRYING) & (left[workloads] > 0))
    for pair in candidates[np.argsort(-rest[candidates], kind="stable")].tolist():
        workload, site = int(workloads[pair]), int(sites[pair])
        asked = instance.requests[workload]
        if left[workload] > 0 and (free[site] >= asked).all():
            placed[workload, site] += 1
            left[workload] -= 1
            free[site] -= asked
    return placed


def _take_back(instance: Instance, placed: Ints, free: Floats) -> None:
    """Repairs what the solver's tolerance over-filled, least profit first."""
    for site in np.flatnonzero((free < 0).any(axis=1)).tolist():
        held = np.flatnonzero(placed[:, site])
        for workload in held[np.argsort(instance.profit[held, site], kind="stable")].tolist():
            while placed[workload, site] and (free[site] < 0).any():
                placed[workload, site] -= 1
                free[site] += instance.requests[workload]


def fill(instance: Instance, placed: Ints, prices: Floats) -> None:
    """Gives what is left to what gains most by it; changes `placed`."""
    free = instance.free - placed.T.astype(np.float64) @ instance.requests
    left = instance.replicas - placed.sum(axis=1)
    open_ones = np.flatnonzero(left > 0)
    reduced = instance.profit[open_ones] - instance.requests[open_ones] @ prices.T
    best = reduced.max(axis=1) / np.maximum(
        (instance.requests[open_ones] * prices.mean(axis=0)).sum(axis=1), _TINY
    )
    for place in np.argsort(-best, kind="stable").tolist():
        workload = int(open_ones[place])
        _hand_out(
            instance, placed, free, workload, wanted=int(left[workload]), worth=reduced[place]
        )


def _hand_out(
    instance: Instance, placed: Ints, free: Floats, workload: int, *, wanted: int, worth: Floats
) -> None:
    """Gives replicas to the sites where they are worth most, as many to each as it takes.

    Args:
        instance: the batch.
        placed: replicas; [workloads, sites]; changed.
        free: what is left; [sites, resources]; changed.
        workload: whose replicas.
        wanted: how many at most.
        worth: what one is worth at each site; only where there is profit any is given; [sites].
    """
    asked = instance.requests[workload]
    room = _room(free, asked)
    gain = np.where((room > 0) & (instance.profit[workload] > 0), worth, -np.inf)
    while wanted > 0:
        site = int(gain.argmax())
        if not np.isfinite(gain[site]):
            break
        given = int(min(wanted, room[site]))
        placed[workload, site] += given
        free[site] -= given * asked
        wanted -= given
        gain[site] = -np.inf


def _room(free: Floats, asked: Floats) -> Floats:
    """How many replicas each site still takes; what is not asked for need not be there."""
    needed = asked > 0
    if not needed.any():
        return np.full(len(free), np.inf)
    room: Floats = np.floor((free[:, needed] / asked[needed]).min(axis=1))
    return room


def greedily(instance: Instance) -> Ints:
    """Best-score greedy, workload by workload; replicas, [workloads, sites]."""
    free = instance.free.copy()
    placed = np.zeros(instance.profit.shape, np.int64)
    for workload in np.argsort(-instance.profit.max(axis=1), kind="stable").tolist():
        wanted = int(instance.replicas[workload])
        _hand_out(instance, placed, free, workload, wanted=wanted, worth=instance.profit[workload])
    return placed
