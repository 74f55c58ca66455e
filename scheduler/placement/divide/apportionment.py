"""Webster's method (Sainte-Laguë): whole replicas in proportion to weights.

The next replica goes to the site with the largest `weight / (2 * replicas + 1)`, of equal ones to
the site with fewer replicas, then by a hash. The method is monotone: one replica more in all never
takes one away from a site. Source: Balinski and Young, Fair Representation, 1982.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_BISECTIONS = 50


def apportion(
    total: int,
    weights: Sequence[float] | Floats,
    *,
    caps: Sequence[int] | Ints | None = None,
    start: Sequence[int] | Ints | None = None,
    tie_breakers: Sequence[int] | NDArray[np.uint64] | None = None,
) -> Ints | None:
    """Divides `total` by weights.

    Args:
        total: how many replicas there are in all, those in `start` included.
        weights: not negative; a site of weight 0 gets nothing; [sites].
        caps: the most that each site may have, in all; None: no limit; [sites].
        start: what each site has already and keeps; [sites].
        tie_breakers: among equal sites the smallest goes first; [sites].

    Returns:
        The replicas of each site, [sites]; None if the caps do not leave enough capacity.
    """
    count = len(weights)
    share = np.asarray(weights, np.float64)
    least = np.zeros(count, np.int64) if start is None else np.asarray(start, np.int64)
    most = np.full(count, total) if caps is None else np.asarray(caps, np.int64)
    most = np.maximum(np.where(share > 0, np.minimum(most, total), 0), least)
    if int(least.sum()) > total or int(most.sum()) < total:
        return None
    replicas = _apportion_by_divisor(total, share, least, most)
    _apportion_remaining(total - int(replicas.sum()), replicas, share, most, tie_breakers)
    return replicas


def _apportion_by_divisor(total: int, weights: Floats, start: Ints, caps: Ints) -> Ints:
    """Replicas by the smallest divisor that does not give away too many; few are left over.

    The divisor is found by bisection; `_apportion_remaining` gives away what is left.
    """
    low, high = 0.0, 2.0 * max(float(weights.sum()), 1e-300)
    best = start.copy()
    for _ in range(_MAX_BISECTIONS):
        divisor = (low + high) / 2
        # A site gets its replica s + 1 while weight / (2 s + 1) > divisor / 2; 4e15 fits an int64.
        replicas = np.ceil(np.minimum(weights / max(divisor, 1e-300) - 0.5, 4e15)).astype(np.int64)
        replicas = np.minimum(np.maximum(replicas, start), caps)
        given = int(replicas.sum())
        if given > total:
            low = divisor
        else:
            best, high = replicas, divisor
        if given == total:
            break
    return best


def _apportion_remaining(
    remaining: int,
    replicas: Ints,
    weights: Floats,
    caps: Ints,
    tie_breakers: Sequence[int] | NDArray[np.uint64] | None,
) -> None:
    if remaining <= 0:
        return
    order = [0] * len(replicas) if tie_breakers is None else [int(each) for each in tie_breakers]
    heap = [
        (
            -weights[index] / (2 * int(replicas[index]) + 1),
            int(replicas[index]),
            order[index],
            index,
        )
        for index in np.flatnonzero((replicas < caps) & (weights > 0)).tolist()
    ]
    heapify(heap)
    while remaining > 0:
        _, _, _, index = heap[0]
        replicas[index] += 1
        remaining -= 1
        if replicas[index] < caps[index]:
            current = int(replicas[index])
            heapreplace(heap, (-weights[index] / (2 * current + 1), current, order[index], index))
        else:
            heappop(heap)


def scale_down_by_weight(
    total: int,
    weights: Sequence[float] | Floats,
    held: Sequence[int] | Ints,
    *,
    tie_breakers: Sequence[int] | NDArray[np.uint64] | None = None,
) -> Ints:
    """Takes replicas away, from the one with the most above its share first, down to `total`.

    The opposite of `apportion`, ties too: the replica that it would have given last goes first.

    Args:
        total: how many replicas are left.
        weights: the shares that the division tends to; [sites].
        held: what each site has; [sites].
        tie_breakers: among equal sites the largest goes first; [sites].
    """
    remaining = np.asarray(held, np.int64).copy()
    share = np.asarray(weights, np.float64)
    surplus = int(remaining.sum()) - total
    order = [0] * len(remaining) if tie_breakers is None else [-int(each) for each in tie_breakers]
    heap = [
        (
            share[index] / (2 * int(remaining[index]) - 1),
            -int(remaining[index]),
            order[index],
            index,
        )
        for index in np.flatnonzero(remaining > 0).tolist()
    ]
    heapify(heap)
    for _ in range(max(0, surplus)):
        _, _, _, index = heap[0]
        remaining[index] -= 1
        if remaining[index] > 0:
            current = int(remaining[index])
            heapreplace(heap, (share[index] / (2 * current - 1), -current, order[index], index))
        else:
            heappop(heap)
    return remaining
