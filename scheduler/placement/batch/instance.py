"""A batch in numbers, and its solution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ZERO_TOLERANCE_CNY_PER_HOUR = 1e-6
"""CNY per hour that count as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInstance:
    """A batch in numbers.

    Attributes:
        free: what each site has free; [sites, resources].
        requests: what one replica of each workload asks; [workloads, resources].
        replicas: how many replicas each workload wants; [workloads].
        profit: value less cost of a replica, CNY per hour; -inf where it is forbidden;
            [workloads, sites].
        whole: whether a workload gets all its replicas or none (a gang); None: no workload is one;
            [workloads].
    """

    free: Floats
    requests: Floats
    replicas: Ints
    profit: Floats
    whole: Bools | None = None

    def is_whole(self, workload: int) -> bool:
        """Whether a workload gets all its replicas or none."""
        return self.whole is not None and bool(self.whole[workload])


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


def profit_of(instance: BatchInstance, placed: Ints) -> float:
    """Value less cost of what is placed, CNY per hour."""
    # Where nothing is placed profit may be -inf, and 0 * -inf is NaN.
    return float((placed * np.where(placed > 0, instance.profit, 0.0)).sum())


def free_after(instance: BatchInstance, placed: Ints) -> Floats:
    """What each site has free beside what is placed; [sites, resources]."""
    left: Floats = instance.free - placed.T.astype(np.float64) @ instance.requests
    return left


def hottest_site(instance: BatchInstance, placed: Ints) -> tuple[int, float, float]:
    """The site for which most is wanted of what it has.

    Returns:
        Its number; its demand divided by its supply if every workload went where its profit is
        highest; and the same of what is placed, at the site where that is most. Of the resources
        the scarcest counts; 0 where nothing is wanted.
    """
    if not len(instance.free):
        return 0, 0.0, 0.0
    wanted = np.zeros(instance.profit.shape, np.int64)
    rows = np.flatnonzero(instance.profit.max(axis=1, initial=-np.inf) > 0)
    wanted[rows, instance.profit[rows].argmax(axis=1)] = instance.replicas[rows]
    before, after = _loads(instance, wanted), _loads(instance, placed)
    site = int(before.argmax())
    return site, float(before[site]), float(after.max())


def _loads(instance: BatchInstance, placed: Ints) -> Floats:
    """What is taken of each site, as a part of what it has; inf where it has nothing; [sites]."""
    used = placed.T.astype(np.float64) @ instance.requests
    parts = np.divide(
        used, instance.free, out=np.where(used > 0, np.inf, 0.0), where=instance.free > 0
    )
    loads: Floats = parts.max(axis=1, initial=0.0)
    return loads
