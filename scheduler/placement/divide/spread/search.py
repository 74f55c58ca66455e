"""The search for the cheapest spread, where no short proof is at hand: a small integer program.

Variables: replicas per site, and whether each group is used. Solved by HiGHS on one thread with a
fixed seed and a limit on nodes, not on time, so that the same inputs give the same answer on every
machine. Sites that can play no part are left out first: within one cell (equal groups at every
level) only the cheapest can.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.spread.levels import Level
from scheduler.placement.solver.highs import IntegerProgram, Term

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST_NODES = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """A spread division.

    Attributes:
        seats: new replicas by candidate; [candidates].
        is_optimal: whether the search proved that nothing is cheaper.
        gap: how much dearer than the proven bound, as a ratio.
    """

    seats: Ints
    is_optimal: bool
    gap: float


def search(more: Ints, cost: Floats, levels: list[Level], missing: int) -> Found | None:
    """Finds the cheapest division of `missing` replicas; None: there is none.

    Args:
        more: how many each candidate could get, candidates in order of cost; [candidates].
        cost: what a replica costs there, unknown costs behind all known ones; [candidates].
        levels: the constraints, nested or crossed.
        missing: how many replicas to place.
    """
    kept = _useful(more, levels, missing)
    if not len(kept) or int(more[kept].sum()) < missing:
        return None
    program = IntegerProgram()
    seats = [
        program.integer(0, min(int(more[place]), missing), float(price))
        for place, price in zip(kept.tolist(), cost[kept].tolist(), strict=True)
    ]
    program.row([Term(seat, 1.0) for seat in seats], missing, missing)
    for level in levels:
        _add_level(program, level, level.group[kept], seats, missing)
    answer = program.solve(most_nodes=_MOST_NODES)
    if answer is None:
        return None
    found = np.zeros(len(more), np.int64)
    found[kept] = answer.values[: len(kept)]
    return Found(found, answer.is_optimal, answer.gap)


def _add_level(
    program: IntegerProgram, level: Level, group: Ints, seats: list[int], missing: int
) -> None:
    counted = level.most < level.groups or level.least > 1
    if not counted and level.cap - int(level.held.max(initial=0)) >= missing:
        return
    used: list[Term] = []
    already = int(np.count_nonzero(level.held))
    for number in range(level.groups):
        members = [Term(seats[place], 1.0) for place in np.flatnonzero(group == number).tolist()]
        left = min(max(0, level.cap - int(level.held[number])), missing)
        if not members:
            continue
        if level.held[number] or not counted:
            program.row(members, 0, left)
            continue
        is_used = program.integer(0, 1, 0.0)
        used.append(Term(is_used, 1.0))
        program.row([*members, Term(is_used, -float(left))], None, 0)
        program.row([*members, Term(is_used, -1.0)], 0, None)
    if counted:
        program.row(used, max(0, level.least - already), max(0, level.most - already))


def _useful(more: Ints, levels: list[Level], missing: int) -> Ints:
    """Candidates that a best division can use; the rest are dominated within their cell."""
    by_site = [level for level in levels if _is_by_site(level)]
    coarse = [level for level in levels if not _is_by_site(level)]
    cells = np.stack([level.group for level in coarse]) if coarse else np.zeros((1, len(more)))
    _, cell = np.unique(cells, axis=1, return_inverse=True)
    rooms = np.minimum(more, missing)
    holds = np.zeros(len(more), np.bool_)
    for level in by_site:
        rooms = np.minimum(rooms, np.maximum(level.cap - level.held, 0)[level.group])
        holds |= level.held[level.group] > 0
    fewest = max((level.least for level in by_site), default=1)
    opened = [level.most - int(np.count_nonzero(level.held)) for level in by_site]
    kept: list[int] = np.flatnonzero(holds).tolist()  # to fill these up opens no new group
    for number in range(int(cell.max()) + 1 if len(cell) else 0):
        members = np.flatnonzero((cell == number) & ~holds)
        useful = _of_cell(rooms[members].tolist(), fewest, min(opened, default=None), missing)
        kept += members[useful].tolist()
    return np.array(sorted(kept), np.int64)


def _is_by_site(level: Level) -> bool:
    """Whether each candidate is a group of its own."""
    return len(np.unique(level.group)) == len(level.group)


def _of_cell(rooms: list[int], fewest: int, most: int | None, missing: int) -> list[int]:
    """Which of the sites of one cell, cheapest first, can play a part."""
    kept: list[int] = []
    room = 0
    for place, mine in enumerate(rooms):
        if most is not None and most < len(rooms):
            # With few sites allowed, a dearer one counts only if it is roomier than those before.
            better = sum(rooms[each] >= mine for each in kept)
            if better >= max(most, fewest):
                continue
        elif room >= missing and len(kept) >= fewest:
            break
        kept.append(place)
        room += mine
    return kept
