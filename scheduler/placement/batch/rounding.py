"""Whole replicas from parts of replicas, and from prices alone."""

import numpy as np

from scheduler.placement.batch.instance import BatchInstance, Floats, Ints, free_after

_ROUNDING_TOLERANCE = 1e-6
"""Replicas: HiGHS gives 1.9999999 for 2."""
_MIN_FRACTION_TO_ROUND_UP = 0.02
"""Replicas: smaller fractions are noise of the solver, not a choice of a site."""
_EPSILON = 1e-12
"""CNY per hour: keeps a divisor above 0."""


def round_down(instance: BatchInstance, workloads: Ints, sites: Ints, amounts: Floats) -> Ints:
    """Rounds down to whole replicas, then rounds up the largest fractions where they fit."""
    placed = np.zeros(instance.profit.shape, np.int64)
    whole = np.floor(amounts + _ROUNDING_TOLERANCE).astype(np.int64)
    placed[workloads, sites] = whole
    free = free_after(instance, placed)
    repair_overfilled(instance, placed, free)  # before `left`: what it removes may be placed again
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
    drop_parts(instance, placed)
    return placed


def drop_parts(instance: BatchInstance, placed: Ints) -> None:
    """Removes what is placed of gangs that are not whole; changes `placed`."""
    if instance.whole is None:
        return
    count = placed.sum(axis=1)
    placed[instance.whole & (count > 0) & (count < instance.replicas)] = 0


def repair_overfilled(instance: BatchInstance, placed: Ints, free: Floats) -> None:
    """Removes replicas where the solver's tolerance overfilled a site, least profit first."""
    for site in np.flatnonzero((free < 0).any(axis=1)).tolist():
        held = np.flatnonzero(placed[:, site])
        for workload in held[np.argsort(instance.profit[held, site], kind="stable")].tolist():
            while placed[workload, site] and (free[site] < 0).any():
                placed[workload, site] -= 1
                free[site] += instance.requests[workload]


def fill_remaining(instance: BatchInstance, placed: Ints, prices: Floats) -> None:
    """Gives what is left to the workloads that gain most by it; changes `placed`."""
    free = free_after(instance, placed)
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
    capacity = replicas_that_fit(free, asked)
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
    if max_replicas > 0 and instance.is_whole(workload):
        free += placed[workload][:, None] * asked
        placed[workload] = 0


def replicas_that_fit(free: Floats, asked: Floats) -> Floats:
    """How many more replicas fit at each site, by the resources that are asked; [sites]."""
    is_asked = asked > 0
    if not is_asked.any():
        return np.full(len(free), np.inf)
    fitting: Floats = np.floor((free[:, is_asked] / asked[is_asked]).min(axis=1))
    return fitting
