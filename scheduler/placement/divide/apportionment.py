"""Webster's method (Sainte-Laguë): whole replicas in proportion to weights.

The next replica goes to the site with the largest `weight / (2 * seats + 1)`; ties go to fewer
seats, then by a hash. It is monotone: one more replica never takes one away from anybody. Source:
Balinski and Young, Fair Representation, 1982.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BISECTIONS = 50


def webster(
    total: int,
    weights: Sequence[float] | Floats,
    *,
    caps: Sequence[int] | Ints | None = None,
    start: Sequence[int] | Ints | None = None,
    tie: Sequence[int] | NDArray[np.uint64] | None = None,
) -> Ints | None:
    """Divides `total` by weights.

    Args:
        total: how many replicas there are in all, those in `start` included.
        weights: not negative; 0 gets nothing.
        caps: the most that each may have; None: no limit.
        start: what each has already and keeps.
        tie: breaks ties, smallest first.

    Returns:
        The replicas of each, [len(weights)]; None when the caps do not leave enough room.
    """
    count = len(weights)
    share = np.asarray(weights, np.float64)
    least = np.zeros(count, np.int64) if start is None else np.asarray(start, np.int64)
    most = np.full(count, total) if caps is None else np.asarray(caps, np.int64)
    most = np.maximum(np.where(share > 0, np.minimum(most, total), 0), least)
    if int(least.sum()) > total or int(most.sum()) < total:
        return None
    seats = _nearly(total, share, least, most)
    _award(total - int(seats.sum()), seats, share, most, tie)
    return seats


def _nearly(total: int, share: Floats, least: Ints, most: Ints) -> Ints:
    """Seats by the smallest divisor that does not give away too many; few are left over."""
    low, high = 0.0, 2.0 * max(float(share.sum()), 1e-300)
    best = least.copy()
    for _ in range(_BISECTIONS):
        divisor = (low + high) / 2
        # Seats whose priority weight / (2 s + 1) is above the divisor / 2.
        seats = np.ceil(np.minimum(share / max(divisor, 1e-300) - 0.5, 4e15)).astype(np.int64)
        seats = np.minimum(np.maximum(seats, least), most)
        given = int(seats.sum())
        if given > total:
            low = divisor
        else:
            best, high = seats, divisor
        if given == total:
            break
    return best


def _award(
    left: int,
    seats: Ints,
    share: Floats,
    most: Ints,
    tie: Sequence[int] | NDArray[np.uint64] | None,
) -> None:
    if left <= 0:
        return
    order = [0] * len(seats) if tie is None else [int(each) for each in tie]
    queue = [
        (-share[place] / (2 * int(seats[place]) + 1), int(seats[place]), order[place], place)
        for place in np.flatnonzero((seats < most) & (share > 0)).tolist()
    ]
    heapify(queue)
    while left > 0:
        _, _, _, place = queue[0]
        seats[place] += 1
        left -= 1
        if seats[place] < most[place]:
            now = int(seats[place])
            heapreplace(queue, (-share[place] / (2 * now + 1), now, order[place], place))
        else:
            heappop(queue)


def fewer(
    total: int,
    weights: Sequence[float] | Floats,
    held: Sequence[int] | Ints,
    *,
    tie: Sequence[int] | NDArray[np.uint64] | None = None,
) -> Ints:
    """Takes replicas away, from the one with the most above its share first, down to `total`.

    The opposite of `webster`, ties too: the seat that it would have given last goes first.

    Args:
        total: how many are to be left.
        weights: the shares that the division tends to.
        held: what each has.
        tie: breaks ties, largest first.
    """
    left = np.asarray(held, np.int64).copy()
    share = np.asarray(weights, np.float64)
    surplus = int(left.sum()) - total
    order = [0] * len(left) if tie is None else [-int(each) for each in tie]
    queue = [
        (share[place] / (2 * int(left[place]) - 1), -int(left[place]), order[place], place)
        for place in np.flatnonzero(left > 0).tolist()
    ]
    heapify(queue)
    for _ in range(max(0, surplus)):
        _, _, _, place = queue[0]
        left[place] -= 1
        if left[place] > 0:
            now = int(left[place])
            heapreplace(queue, (share[place] / (2 * now - 1), -now, order[place], place))
        else:
            heappop(queue)
    return left
