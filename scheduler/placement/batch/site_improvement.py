"""Packs sites again, one or a few at a time, each as a small integer program.

Rounding leaves holes at each site that no single remaining replica fits. A site's content and the
workloads that still wait are a knapsack with few resources; solved over the pairs that are good at
the prices, it gives nearly the best content, and the sites one after the other nearly the best
division. Source of the scheme (large neighbourhoods, one part freed at a time): Shaw, Using
constraint programming and local search methods to solve vehicle routing problems, 1998.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scheduler.placement.batch.instance import BatchInstance, Bools, Floats, Ints, free_after
from scheduler.placement.solver.highs import IntegerProgram, LinearTerm
from scheduler.placement.solver.pairs import spread_numbers

_CANDIDATES_PER_SITE = 30
"""Workloads of the best reduced profit that are looked at for a site beside those that it holds."""
_MAX_NODES = 5
"""The most nodes of a search: its first answers are within a thousandth as a rule."""
_MAX_NODES_OF_GROUP = 30
_RELATIVE_GAP = 1e-3
_FILL_TOLERANCE = 1e-9
"""Relative: what the solver may overfill is refused beyond this."""
_LEAST_GAIN_CNY_PER_HOUR = 1e-9
_LEAST_AMOUNT = 1e-9
"""Keeps divisors above 0: amounts of a resource."""


@dataclass(slots=True)
class SitePacker:
    """A division of a batch that is improved site by site.

    Attributes:
        instance: the batch.
        placed: replicas; changed; [workloads, sites].
        prices: CNY per hour and unit; [sites, resources].
    """

    instance: BatchInstance
    placed: Ints
    prices: Floats
    _free: Floats = field(init=False)
    _left: Ints = field(init=False)

    def __post_init__(self) -> None:
        self._free = free_after(self.instance, self.placed)
        self._left = self.instance.replicas - self.placed.sum(axis=1)

    def improve(self, *, max_sites: int) -> None:
        """Packs sites again one by one, those with most unused value first.

        Args:
            max_sites: the most sites to pack.
        """
        unused = (np.maximum(self._free, 0.0) * self.prices).sum(axis=1)
        for site in np.argsort(-unused, kind="stable")[:max_sites].tolist():
            self._pack([site])

    def improve_groups(self, *, turns: int, sites_per_group: int) -> None:
        """Packs sites again in groups, in each turn in others.

        Args:
            turns: how often each site is packed.
            sites_per_group: how many sites are packed together.
        """
        for numbers in spread_numbers(turns, len(self._free)):
            order = np.argsort(numbers, kind="stable")
            for first in range(0, len(order), sites_per_group):
                self._pack(order[first : first + sites_per_group].tolist())

    def _pack(self, sites: Sequence[int]) -> None:
        """Replaces the content of some sites by a better one, if it is found."""
        workloads, places = self._candidates(sites)
        if not len(workloads):
            return
        held = self.placed[:, sites]
        movable = self._movable()[:, None]
        kept = np.where(movable, 0, held)
        available = self._left + np.where(movable, held, 0).sum(axis=1)
        given = np.where(movable, held, 0).T.astype(np.float64) @ self.instance.requests
        capacity = self._free[sites] + given
        amounts = self._solve(sites, workloads, places, available, capacity)
        if amounts is None:
            return
        found = kept.copy()
        found[workloads, places] += amounts
        gain = self._profit(sites, found) - self._profit(sites, held)
        used = (found - kept).T.astype(np.float64) @ self.instance.requests
        is_overfilled = (used > capacity * (1 + _FILL_TOLERANCE)).any()
        if is_overfilled or gain <= _LEAST_GAIN_CNY_PER_HOUR:
            return
        self._left = available - (found - kept).sum(axis=1)
        self.placed[:, sites] = found
        self._free[sites] = np.maximum(capacity - used, 0.0)

    def _movable(self) -> Bools:
        """The workloads that may be placed in part, as a program does."""
        whole = self.instance.whole
        return np.ones(len(self._left), np.bool_) if whole is None else ~whole

    def _candidates(self, sites: Sequence[int]) -> tuple[Ints, Ints]:
        """The pairs of a program: workloads, and places in `sites`."""
        instance, movable = self.instance, self._movable()
        held = (self.placed[:, sites].sum(axis=1) > 0) & movable
        wanted = held | ((self._left > 0) & movable)
        found: list[Ints] = []
        for site in sites:
            reduced = instance.profit[:, site] - instance.requests @ self.prices[site]
            is_worth = wanted & (instance.profit[:, site] > 0)
            chosen = np.flatnonzero(is_worth)
            if len(chosen) > _CANDIDATES_PER_SITE:
                best = np.argpartition(-reduced[chosen], _CANDIDATES_PER_SITE - 1)
                chosen = chosen[best[:_CANDIDATES_PER_SITE]]
            found.append(np.union1d(chosen, np.flatnonzero(held & is_worth)))
        workloads = np.concatenate(found)
        places = np.repeat(np.arange(len(sites)), [len(one) for one in found])
        return workloads, places

    def _solve(
        self,
        sites: Sequence[int],
        workloads: Ints,
        places: Ints,
        available: Ints,
        capacity: Floats,
    ) -> Ints | None:
        """Replicas of each pair; None when none were found.

        Args:
            sites: the sites.
            workloads: the workload of each pair.
            places: the place in `sites` of each pair.
            available: replicas that may be placed at these sites; [workloads].
            capacity: what they have for it; [places, resources].
        """
        instance, program = self.instance, IntegerProgram()
        asked = instance.requests[workloads]
        shares = asked / np.maximum(capacity[places], _LEAST_AMOUNT)
        most = np.floor(1.0 / np.maximum(shares.max(axis=1, initial=0.0), _LEAST_AMOUNT) + 1e-9)
        upper = np.minimum(most, available[workloads]).astype(np.int64)
        profit = instance.profit[workloads, np.asarray(sites)[places]]
        for number, value in zip(upper.tolist(), profit.tolist(), strict=True):
            program.add_variable(0, number, -value)
        for place, row in enumerate(capacity.tolist()):
            pairs = np.flatnonzero((places == place) & (upper > 0)).tolist()
            for resource in range(len(row)):
                terms = [
                    LinearTerm(pair, float(shares[pair, resource]))
                    for pair in pairs
                    if shares[pair, resource] > 0
                ]
                if terms:
                    program.add_constraint(terms, None, 1.0)
        if len(sites) > 1:
            for workload in np.unique(workloads).tolist():
                pairs = np.flatnonzero(workloads == workload).tolist()
                if len(pairs) > 1:
                    terms = [LinearTerm(pair, 1.0) for pair in pairs]
                    program.add_constraint(terms, None, int(available[workload]))
        solution = program.solve(
            max_nodes=_MAX_NODES if len(sites) == 1 else _MAX_NODES_OF_GROUP,
            relative_gap=_RELATIVE_GAP,
        )
        return None if solution is None else solution.values

    def _profit(self, sites: Sequence[int], placed: Ints) -> float:
        profit = self.instance.profit[:, sites]
        return float((placed * np.where(placed > 0, profit, 0.0)).sum())
