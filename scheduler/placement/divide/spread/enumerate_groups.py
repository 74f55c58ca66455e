"""The cheapest division over at most so many groups of one level, by trying every choice of groups.

For one choice of groups the best division fills their sites in order of cost, so it takes one
cumulative sum over the candidates, and all choices are computed in one matrix. If there are more
choices than `_MAX_CELLS` allows, the integer program decides (`search.py`).
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.spread.levels import Level

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_CELLS = 2_000_000
"""The most entries of the matrix [choices, candidates]."""


@dataclass(frozen=True, slots=True)
class EnumerationResult:
    """The outcome of trying every choice of groups.

    Attributes:
        replicas: the cheapest division, new replicas by candidate; None: no choice has enough
            capacity.
    """

    replicas: Ints | None


def enumerate_groups(
    max_additional: Ints, cost: Floats, level: Level, missing: int
) -> EnumerationResult | None:
    """The cheapest division over at most `level.max_groups` groups; None: too many choices to try.

    Args:
        max_additional: how many more replicas each candidate could get, cheapest first;
            [candidates].
        cost: what a replica costs there, ascending; [candidates].
        level: the level that limits the number of groups, and what each may hold.
        missing: how many replicas to place.
    """
    is_used = level.held > 0
    unused_groups = np.flatnonzero(~is_used)
    size = min(level.max_groups - int(np.count_nonzero(is_used)), len(unused_groups))
    if comb(len(unused_groups), size) * len(max_additional) > _MAX_CELLS:
        return None
    max_additional = _cap_by_group(max_additional, level)
    # Each choice uses as many groups as are allowed: one of fewer groups is contained in it.
    chosen = np.tile(is_used, (comb(len(unused_groups), size), 1))
    for row, groups in enumerate(combinations(unused_groups.tolist(), size)):
        chosen[row, list(groups)] = True
    allowed = np.where(chosen[:, level.group], max_additional, 0)
    # Candidates are sorted by cost, so differences of the capped sums fill the cheapest first.
    cumulative = np.minimum(allowed.cumsum(axis=1), missing)
    replicas = np.diff(cumulative, axis=1, prepend=0)
    costs = np.where(cumulative[:, -1] == missing, replicas @ cost, np.inf)
    best = int(np.argmin(costs))
    return EnumerationResult(replicas[best] if np.isfinite(costs[best]) else None)


def _cap_by_group(max_additional: Ints, level: Level) -> Ints:
    """What each candidate could get if its group is filled in order of cost up to its cap."""
    capped = max_additional.copy()
    for number in range(level.group_count):
        members = np.flatnonzero(level.group == number)
        left = max(0, level.max_per_group - int(level.held[number]))
        cumulative = np.minimum(max_additional[members].cumsum(), left)
        capped[members] = np.diff(cumulative, prepend=0)
    return capped
