"""The cheapest division over nested levels by a dynamic programme in the kernel, without a solver.

For each finer group the cheapest way to place k replicas is known; these are combined within each
coarser group, by the number of replicas and of groups that are used, and then over all. The second
best division is found along with the best: only where it is clearly more expensive is the answer
given, so that it is the one that the integer program (`search.py`) finds, whichever of both runs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.spread.levels import Level
from scheduler.placement.kernel import loader as compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_STEPS = 8_000_000
"""About 20 ms; an integer program takes as long."""
_TOLERANCE = 1e-6
"""By so much the costs of the best and the second division differ at least, for the solver too."""
_MAX_COUNTED_LEVELS = 2
_ANY = Spread(by="province")
"""A level without limits, of one group."""


def divide_nested(
    max_additional: Ints, cost: Floats, levels: Sequence[Level], missing: int
) -> Ints | None:
    """The one cheapest division, new replicas by candidate; None: not found, or not the only one.

    Args:
        max_additional: how many more replicas each candidate could get, cheapest first;
            [candidates].
        cost: what a replica costs there, ascending; [candidates].
        levels: the constraints; no answer is given if they are not nested.
        missing: how many replicas to place.
    """
    counted = [level for level in levels if not is_cap_by_site(level)]
    if not 1 <= len(counted) <= _MAX_COUNTED_LEVELS:
        return None
    for level in levels:
        if is_cap_by_site(level):
            max_additional = np.minimum(max_additional, _left_in(level)[level.group])
    fine, outer = sorted((counted * 2)[:2], key=lambda level: -level.group_count)
    if len(counted) == 1:
        outer = Level(np.zeros(len(cost), np.int64), np.zeros(1, np.int64), _ANY)
    try:
        groups = compiled.kernel.NestedGroups(
            np.ascontiguousarray(max_additional, np.int64),
            cost,
            fine.group,
            outer.group,
            _left_in(fine),
            _left_in(outer),
            (fine.held > 0).view(np.uint8),
            (outer.held > 0).view(np.uint8),
        )
    except ValueError:  # the levels cross
        return None
    replicas, best, second = groups.divide(
        missing, *_groups_to_use(fine), *_groups_to_use(outer), _MAX_STEPS
    )
    if replicas is None or best is None or second is None:
        return None
    return replicas if second - best > _TOLERANCE * (1.0 + abs(best)) else None


def is_cap_by_site(level: Level) -> bool:
    """Whether a level only caps what single candidates get."""
    return (
        level.min_groups <= 1
        and level.max_groups >= level.group_count
        and len(np.unique(level.group)) == len(level.group)
    )


def _left_in(level: Level) -> Ints:
    """How many replicas each group may get; [groups]."""
    return np.maximum(level.max_per_group - level.held, 0)


def _groups_to_use(level: Level) -> tuple[int, int]:
    """The fewest and the most groups to use besides those that hold replicas; -1: no limit."""
    already = int(np.count_nonzero(level.held))
    is_limited = level.max_groups < level.group_count
    least = level.min_groups if level.min_groups > 1 else 0  # one is used in any case
    return max(0, least - already), level.max_groups - already if is_limited else -1
