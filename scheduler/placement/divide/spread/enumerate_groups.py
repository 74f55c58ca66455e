"""The cheapest division over at most so many groups of one level, by trying every choice of groups.

For one choice the best division is to fill its sites in order of cost, so a choice costs one
cumulative sum over the candidates, and all choices are tried in one matrix. With more choices than
fit into memory the integer program takes over (`search.py`).
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.spread.levels import Level

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying every choice of groups.

    Attributes:
        seats: the cheapest division, new replicas by candidate; None: no choice has room.
    """

    seats: Ints | None


def cheapest_groups(more: Ints, cost: Floats, level: Level, missing: int) -> Tried | None:
    """The cheapest division over at most `level.most` groups; None: too many choices to try.

    Args:
        more: how many replicas each candidate could get, candidates in order of cost; [candidates].
        cost: what a replica costs there, ascending; [candidates].
        level: the level that limits the number of groups, and what one of them may hold.
        missing: how many replicas to place.
    """
    opened = level.held > 0
    closed = np.flatnonzero(~opened)
    size = min(level.most - int(np.count_nonzero(opened)), len(closed))
    if comb(len(closed), size) * len(more) > _MOST_CELLS:
        return None
    more = _within_cap(more, level)
    chosen = np.tile(opened, (comb(len(closed), size), 1))
    for row, groups in enumerate(combinations(closed.tolist(), size)):
        chosen[row, list(groups)] = True
    rooms = np.where(chosen[:, level.group], more, 0)
    reached = np.minimum(rooms.cumsum(axis=1), missing)
    seats = np.diff(reached, axis=1, prepend=0)
    costs = np.where(reached[:, -1] == missing, seats @ cost, np.inf)
    best = int(np.argmin(costs))
    return Tried(seats[best] if np.isfinite(costs[best]) else None)


def _within_cap(more: Ints, level: Level) -> Ints:
    """What each candidate could get if its group is filled in order of cost up to its cap."""
    capped = more.copy()
    for number in range(level.groups):
        members = np.flatnonzero(level.group == number)
        left = max(0, level.cap - int(level.held[number]))
        reached = np.minimum(more[members].cumsum(), left)
        capped[members] = np.diff(reached, prepend=0)
    return capped
