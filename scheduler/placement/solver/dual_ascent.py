"""Prices for scarce capacity by smoothed dual ascent.

Every workload spreads over the sites that are best at the prices, by a softmax whose temperature
falls; prices of overused resources rise and those of underused ones fall, with momentum. Only some
sites of each workload are followed, the best and some of all (`pairs.py`); between rounds all pairs
are checked, and sites that became attractive are added. Sites never leave the followed set:
otherwise the price of a site that no workload follows would fall to nothing. Source of the
smoothing: Nesterov, Smooth minimization of non-smooth functions, 2005.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.solver.pairs import spread_numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TEMPERATURES = (0.04, 0.03, 0.02, 0.01)
"""The temperature of the softmax in each round, as a share of the mean best profit."""
_STEPS_PER_ROUND = 50
_STEP_SIZE = 0.3
"""The most that the logarithm of a price changes in one step, at first."""
_STEP_HALVES_AFTER = 100
"""The steps, counted over all rounds, after which the step size is half."""
_MOMENTUM = 0.8
"""The share of the last direction in the next one."""
_BEST_SITES_PER_WORKLOAD = 10
"""The sites of each workload that are followed first, because they are best."""
_SPREAD_SITES_PER_WORKLOAD = 20
"""Those that are followed so that each site has workloads, also where all rank sites alike."""
_ADDED_SITES_PER_ROUND = 10
_SPREAD_OF_ADDED = 0.2
"""The part of the mean best profit by which sites that are added may be worse than the best."""
_FORBIDDEN_PROFIT = -1e9
"""CNY per hour, for sites that are forbidden: so low that their softmax weight underflows to 0."""
_EPSILON = 1e-12
"""Keeps divisors above 0: amounts of a resource, or CNY per hour."""


class PackingProblem(Protocol):
    """Workloads that ask capacity at sites; see `batch.BatchInstance` for the meaning and units."""

    @property
    def free(self) -> Floats:
        """[sites, resources]."""
        ...

    @property
    def requests(self) -> Floats:
        """[workloads, resources]."""
        ...

    @property
    def replicas(self) -> Ints:
        """[workloads]."""
        ...

    @property
    def profit(self) -> Floats:
        """[workloads, sites]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AscentResult:
    """Prices, and the division that goes with them.

    Attributes:
        prices: [sites, resources].
        bound: an upper bound on the profit of any division.
        sites: the followed sites of each workload; [workloads, followed].
        amounts: replicas, not whole, scaled down to what is free; [workloads, followed].
    """

    prices: Floats
    bound: float
    sites: Ints
    amounts: Floats


def reduced_profit(problem: PackingProblem, prices: Floats) -> Floats:
    """Profit less the price of what a replica takes; [workloads, sites]."""
    reduced: Floats = problem.profit - problem.requests @ prices.T
    return reduced


def upper_bound_at(problem: PackingProblem, prices: Floats, reduced: Floats) -> float:
    """An upper bound on every division, valid at any prices that are not negative (Lagrange)."""
    best = np.maximum(reduced.max(axis=1), 0.0)
    return float((prices * problem.free).sum() + (best * problem.replicas).sum())


def ascend(problem: PackingProblem) -> AscentResult:
    """Finds prices; the same problem always gives the same prices."""
    best_profit = np.where(np.isfinite(problem.profit), problem.profit, 0.0).max(axis=1)
    mean_profit = max(float(best_profit.mean()), _EPSILON)
    # CNY per hour and unit of each resource at which that resource alone would cost a mean request
    # the whole mean profit.
    scale = mean_profit / np.maximum(problem.requests.mean(axis=0), _EPSILON)
    count = problem.free.shape[0]
    # First prices: all resources together cost a mean request half the mean profit.
    ascent = _AscentState(problem, np.tile(scale / (2 * len(scale)), (count, 1)), mean_profit)
    best, best_bound = ascent.prices, np.inf
    for temperature in _TEMPERATURES:
        reduced = reduced_profit(problem, ascent.prices)
        found = upper_bound_at(problem, ascent.prices, reduced)
        if found < best_bound:
            best, best_bound = ascent.prices, found
        ascent.follow_best_sites(reduced)
        ascent.run_round(temperature * mean_profit)
    found = upper_bound_at(problem, ascent.prices, reduced_profit(problem, ascent.prices))
    if found < best_bound:
        best, best_bound = ascent.prices, found
    return AscentResult(
        prices=best, bound=best_bound, sites=ascent.sites, amounts=ascent.scaled_amounts()
    )


class _AscentState:
    """The prices of an ascent, and the sites that each workload follows."""

    def __init__(self, problem: PackingProblem, prices: Floats, mean_profit: float) -> None:
        self.prices = prices
        self._mean_profit = mean_profit
        self._spread_numbers = spread_numbers(*problem.profit.shape)
        self.sites: Ints = np.zeros((len(problem.replicas), 0), np.int64)
        self._problem = problem
        self._free = np.maximum(problem.free, _EPSILON)
        self._momentum = np.zeros_like(prices)
        self._parts: Floats = np.zeros((len(problem.replicas), 0))
        self._used: Floats = np.zeros_like(prices)
        self._rows = np.arange(len(problem.replicas))[:, None]
        self._step = 0

    def follow_best_sites(self, reduced: Floats) -> None:
        """Follows the most attractive sites that are not followed yet.

        Args:
            reduced: profit less the price of what a replica takes; [workloads, sites].
        """
        if self.sites.shape[1]:
            spread = _SPREAD_OF_ADDED * self._mean_profit * self._spread_numbers
            self._follow(reduced - spread, _ADDED_SITES_PER_ROUND)
            return
        self._follow(reduced, _BEST_SITES_PER_WORKLOAD)
        is_allowed = np.isfinite(self._problem.profit)
        spread = np.where(is_allowed, self._spread_numbers, -np.inf)
        self._follow(spread, _SPREAD_SITES_PER_WORKLOAD)

    def _follow(self, score: Floats, wanted: int) -> None:
        """Follows the sites of the highest score too; [workloads, sites]."""
        score = score.copy()
        score[self._rows, self.sites] = -np.inf  # followed already
        more = min(wanted, score.shape[1] - self.sites.shape[1])
        if more > 0:
            found = np.argpartition(-score, more - 1, axis=1)[:, :more]
            self.sites = np.concatenate([self.sites, found], axis=1)

    def run_round(self, temperature: float) -> None:
        """Takes the steps of one round at one temperature, in CNY per hour."""
        problem = self._problem
        profit = problem.profit[self._rows, self.sites]
        profit = np.where(np.isfinite(profit), profit, _FORBIDDEN_PROFIT)
        for _ in range(_STEPS_PER_ROUND):
            reduced = profit.copy()
            for asked, price in zip(problem.requests.T, self.prices.T, strict=True):
                reduced -= price[self.sites] * asked[:, None]
            self._parts = _softmax_replicas(reduced, problem.replicas, temperature)
            self._used = self._usage(self._parts)
            # -1: unused, 0: just full, 1: at least twice what is free.
            excess = np.clip(self._used / self._free - 1.0, -1.0, 1.0)
            self._momentum = _MOMENTUM * self._momentum + (1 - _MOMENTUM) * excess
            size = _STEP_SIZE / (1 + self._step / _STEP_HALVES_AFTER)
            # A factor, so that prices stay positive, whatever their unit.
            self.prices = self.prices * np.exp(size * self._momentum)
            self._step += 1

    def _usage(self, parts: Floats) -> Floats:
        flat = self.sites.ravel()
        return np.stack(
            [
                np.bincount(flat, (parts * asked[:, None]).ravel(), len(self._free))
                for asked in self._problem.requests.T
            ],
            axis=1,
        )

    def scaled_amounts(self) -> Floats:
        """The last division, scaled down where a site would be over-filled."""
        over = np.maximum(1.0, (self._used / self._free).max(axis=1))
        scaled: Floats = self._parts / over[self.sites]
        return scaled


def _softmax_replicas(reduced: Floats, replicas: Ints, temperature: float) -> Floats:
    """Replicas by a softmax of reduced profit; staying unplaced is a choice of profit 0."""
    most = np.maximum(reduced.max(axis=1), 0.0)
    # Subtracting the largest exponent keeps exp from overflowing and changes no ratio.
    weight = np.exp((reduced - most[:, None]) / temperature)
    total = weight.sum(axis=1) + np.exp(-most / temperature)
    parts: Floats = weight * (replicas / total)[:, None]
    return parts
