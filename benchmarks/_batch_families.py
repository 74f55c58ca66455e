"""Instances of batches, by family.

In all but `equal` and `near-half`, three resources are scarce, workloads want up to ten replicas
and 30 % of all pairs of workload and site are forbidden.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scheduler.placement.batch.instance import BatchInstance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_OVERSUBSCRIBED = 1.3
_FORBIDDEN = 0.3
_HEAVY_SHARE, _HEAVY_FACTOR = 0.1, 16
_GANG_SHARE = 0.3


def random_instance(workloads: int, sites: int, seed: int) -> BatchInstance:
    """Costs that are independent for each pair; wanted is 1.3 times what the scarcest has."""
    return _instance(workloads, sites, seed, is_priced_by_site=False)


def _site_priced(workloads: int, sites: int, seed: int, oversubscribed: float) -> BatchInstance:
    return _instance(workloads, sites, seed, is_priced_by_site=True, oversubscribed=oversubscribed)


def _heavy(workloads: int, sites: int, seed: int) -> BatchInstance:
    """Costs by site; one workload in ten asks 16 times as much, in one replica."""
    return _instance(workloads, sites, seed, is_priced_by_site=True, heavy_share=_HEAVY_SHARE)


def _gangs(workloads: int, sites: int, seed: int) -> BatchInstance:
    """Costs by site; three workloads in ten get all their replicas or none."""
    return _instance(workloads, sites, seed, is_priced_by_site=True, gang_share=_GANG_SHARE)


def _equal(workloads: int, sites: int, _seed: int) -> BatchInstance:
    """Equal workloads of 4 replicas of 2 cores, equal sites of 8 cores, no costs."""
    return BatchInstance(
        free=np.full((sites, 1), 8.0),
        requests=np.full((workloads, 1), 2.0),
        replicas=np.full(workloads, 4, np.int64),
        profit=np.ones((workloads, sites)),
    )


def _near_half(workloads: int, sites: int, seed: int) -> BatchInstance:
    """Single replicas of about half a site: sums of capacity promise more than fits."""
    random = np.random.default_rng(seed)
    free = np.stack(
        [random.choice([16_000.0, 32_000.0], sites), random.choice([65_536.0, 131_072.0], sites)],
        axis=1,
    )
    share = random.uniform(0.42, 0.56, workloads)
    requests = np.stack(
        [share * 16_000, random.uniform(0.3, 0.56, workloads) * 65_536], axis=1
    ).round()
    value = random.uniform(0.8, 1.2, workloads) * share * 4 + 0.2
    return BatchInstance(
        free=free,
        requests=requests,
        replicas=np.ones(workloads, np.int64),
        profit=value[:, None] - random.uniform(0.05, 0.3, (workloads, sites)),
    )


def _instance(
    workloads: int,
    sites: int,
    seed: int,
    *,
    is_priced_by_site: bool,
    oversubscribed: float = _OVERSUBSCRIBED,
    heavy_share: float = 0.0,
    gang_share: float = 0.0,
) -> BatchInstance:
    random = np.random.default_rng(seed)
    requests, replicas = _demands(workloads, random)
    if heavy_share:
        is_heavy = random.random(workloads) < heavy_share
        requests[is_heavy] *= _HEAVY_FACTOR
        replicas[is_heavy] = 1
    wanted = (requests * replicas[:, None]).sum(axis=0)
    share = random.dirichlet(np.full(sites, 2.0), 3).T
    free = np.floor(share * wanted * (1 / oversubscribed) * np.array([1.0, 1.15, 1.3]))
    value = random.uniform(0.5, 3.0, workloads) * requests[:, 0] / 1000 + 0.2
    pairs = (sites,) if is_priced_by_site else (workloads, sites)
    cost = random.uniform(0.05, 0.5, pairs) * (requests[:, :1] / 1000)
    profit = value[:, None] - cost
    profit[random.random((workloads, sites)) < _FORBIDDEN] = -np.inf
    return BatchInstance(
        free=free,
        requests=requests,
        replicas=replicas,
        profit=profit,
        whole=random.random(workloads) < gang_share if gang_share else None,
    )


def _demands(workloads: int, random: Generator) -> tuple[Floats, Ints]:
    requests = np.stack(
        [
            random.choice([250, 500, 1000, 2000, 4000], workloads),
            random.choice([256, 512, 1024, 4096, 8192], workloads),
            random.integers(1, 4, workloads),
        ],
        axis=1,
    ).astype(np.float64)
    return requests, random.integers(1, 11, workloads).astype(np.int64)


FAMILIES: Mapping[str, Callable[[int, int, int], BatchInstance]] = {
    "random": random_instance,
    "site-priced": lambda workloads, sites, seed: _site_priced(workloads, sites, seed, 1.3),
    "site-priced-3x": lambda workloads, sites, seed: _site_priced(workloads, sites, seed, 3.0),
    "site-priced-10x": lambda workloads, sites, seed: _site_priced(workloads, sites, seed, 10.0),
    "equal": _equal,
    "near-half": _near_half,
    "heavy": _heavy,
    "gangs": _gangs,
}
