"""The search for the cheapest spread as a small integer program, for cases without a short proof.

The variables are the replicas of each site, and whether each group is used. HiGHS solves it on one
thread with a fixed seed and a limit on nodes, not on time, so that the same inputs give the same
answer on every machine. Sites that no best division uses are left out first: within one cell (sites
of the same group at every level) only the cheapest can be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.spread.levels import Level
from scheduler.placement.solver.highs import IntegerProgram, LinearTerm

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_NODES = 2000
"""The most nodes of the branch-and-bound tree."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A spread division.

    Attributes:
        replicas: new replicas by candidate; [candidates].
        is_optimal: whether the search proved that nothing is cheaper.
        gap: how much more expensive than the proven bound, as a ratio.
    """

    replicas: Ints
    is_optimal: bool
    gap: float


@dataclass(frozen=True, slots=True)
class SumLimit:
    """The most that the replicas may come to in sum.

    Attributes:
        each: what one replica comes to at each candidate; [candidates].
        most: the limit.
    """

    each: Floats
    most: float


def search_cheapest_division(
    max_additional: Ints,
    cost: Floats,
    levels: list[Level],
    missing: int,
    limits: Sequence[SumLimit] = (),
) -> SearchResult | None:
    """Finds the cheapest division of `missing` replicas; None: there is none.

    Args:
        max_additional: how many more replicas each candidate could get, cheapest first;
            [candidates].
        cost: what a replica costs there, unknown costs above all known ones; [candidates].
        levels: the constraints, nested or crossed.
        missing: how many replicas to place.
        limits: what the new replicas may come to in sum.
    """
    kept = (
        np.flatnonzero(max_additional)
        if limits
        else _useful_candidates(max_additional, levels, missing)
    )
    if not len(kept) or int(max_additional[kept].sum()) < missing:
        return None
    program = IntegerProgram()
    variables = [
        program.add_variable(0, min(int(max_additional[index]), missing), float(price))
        for index, price in zip(kept.tolist(), cost[kept].tolist(), strict=True)
    ]
    program.add_constraint([LinearTerm(variable, 1.0) for variable in variables], missing, missing)
    for limit in limits:
        unit = max(abs(limit.most), float(np.abs(limit.each[kept]).max()), 1e-12)
        terms = [
            LinearTerm(variable, float(limit.each[index]) / unit)
            for variable, index in zip(variables, kept.tolist(), strict=True)
        ]
        program.add_constraint(terms, None, limit.most / unit)
    for level in levels:
        _add_level(program, level, level.group[kept], variables, missing)
    solution = program.solve(max_nodes=_MAX_NODES)
    if solution is None:
        return None
    replicas = np.zeros(len(max_additional), np.int64)
    replicas[kept] = solution.values[: len(kept)]  # those of groups come after these
    return SearchResult(replicas, solution.is_optimal, solution.gap)


def _add_level(
    program: IntegerProgram, level: Level, group: Ints, variables: list[int], missing: int
) -> None:
    # Whether the number of used groups matters: one is used in any case.
    counted = level.max_groups < level.group_count or level.min_groups > 1
    if not counted and level.max_per_group - int(level.held.max(initial=0)) >= missing:
        return
    used: list[LinearTerm] = []
    already = int(np.count_nonzero(level.held))
    for number in range(level.group_count):
        members = [
            LinearTerm(variables[index], 1.0) for index in np.flatnonzero(group == number).tolist()
        ]
        left = min(max(0, level.max_per_group - int(level.held[number])), missing)
        if not members:
            continue
        if level.held[number] or not counted:
            program.add_constraint(members, 0, left)
            continue
        is_used = program.add_variable(0, 1, 0.0)
        used.append(LinearTerm(is_used, 1.0))
        # Together: a group holds replicas if and only if it is used.
        program.add_constraint([*members, LinearTerm(is_used, -float(left))], None, 0)
        program.add_constraint([*members, LinearTerm(is_used, -1.0)], 0, None)
    if counted:
        program.add_constraint(
            used, max(0, level.min_groups - already), max(0, level.max_groups - already)
        )


def _useful_candidates(max_additional: Ints, levels: list[Level], missing: int) -> Ints:
    """Candidates that a best division can use; the rest are dominated within their cell."""
    by_site = [level for level in levels if _is_by_site(level)]
    coarse = [level for level in levels if not _is_by_site(level)]
    cells = (
        np.stack([level.group for level in coarse])
        if coarse
        else np.zeros((1, len(max_additional)))  # all candidates in one cell
    )
    _, cell = np.unique(cells, axis=1, return_inverse=True)
    capacities = np.minimum(max_additional, missing)
    holds = np.zeros(len(max_additional), np.bool_)
    for level in by_site:
        capacities = np.minimum(
            capacities, np.maximum(level.max_per_group - level.held, 0)[level.group]
        )
        holds |= level.held[level.group] > 0
    fewest = max((level.min_groups for level in by_site), default=1)
    unused_allowed = [level.max_groups - int(np.count_nonzero(level.held)) for level in by_site]
    kept: list[int] = np.flatnonzero(holds).tolist()  # filling these up opens no new group
    for number in range(int(cell.max()) + 1 if len(cell) else 0):
        members = np.flatnonzero((cell == number) & ~holds)
        useful = _useful_of_cell(
            capacities[members].tolist(), fewest, min(unused_allowed, default=None), missing
        )
        kept += members[useful].tolist()
    return np.array(sorted(kept), np.int64)


def _is_by_site(level: Level) -> bool:
    """Whether each candidate is a group of its own."""
    return len(np.unique(level.group)) == len(level.group)


def _useful_of_cell(
    capacities: list[int], min_sites: int, max_sites: int | None, missing: int
) -> list[int]:
    """Indices into `capacities` (cheapest first): the sites that a best division can use."""
    kept: list[int] = []
    total = 0
    for index, mine in enumerate(capacities):
        if max_sites is not None and max_sites < len(capacities):
            # With few sites allowed, a more expensive one is useful only if it takes more.
            better = sum(capacities[each] >= mine for each in kept)
            if better >= max(max_sites, min_sites):
                continue
        elif total >= missing and len(kept) >= min_sites:
            break
        kept.append(index)
        total += mine
    return kept
