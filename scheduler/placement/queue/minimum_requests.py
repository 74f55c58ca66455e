"""The least that a site must have before it can matter to work that waits for room.

A cheap "no" that is never wrong: a site on which not one pod fits, or a fleet whose sum of free
capacity is too small for all missing replicas, cannot help. "Yes" is for a decision to say. Needs
that are equal are kept once, so that a site is compared with all of them in a few steps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand, total_requests
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_table import COUNT, IN_FLIGHT, KIND

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_CARDS = "\0cards"
"""The name of the column `CARDS`: thousandths of all GPU cards of a node."""
_FIRST = 64
_MOST_AT_ONCE = 1_000_000
"""Pairs of need and row of a site that are looked at in one step."""
_MOST_ROWS = 1_000
"""At a site with more different rows only what its best nodes have counts."""
_FEW_ROWS = 32


@dataclass(frozen=True, slots=True)
class Need:
    """What some work asks at least; millicores for cpu, whole units for all else.

    Attributes:
        of_a_node: the most that any of its pods asks of a node, by resource.
        in_all: what all missing replicas ask together, by resource.
        namespace: limits of this namespace may make its pods larger.
        is_plain: a replica is one pod, and any number of them may share a node: so what is in
            flight takes as much from it as `capacity.py` says.
    """

    of_a_node: tuple[tuple[str, int], ...]
    in_all: tuple[tuple[str, int], ...]
    namespace: str
    is_plain: bool


def need_of(demand: Demand) -> Need | None:
    """The need of work that is not placed in full; None: it may fit anywhere.

    Of what runs in part one more replica is enough to change something.
    """
    largest: dict[str, int] = {}
    for each in demand.unit:
        for name, amount in _asked(each.shape).items():
            largest[name] = max(amount, largest.get(name, 0))
    if not largest:
        return None
    missing = 1 if demand.placed else max(1, demand.replicas)
    total = total_requests(demand.unit)
    return Need(
        of_a_node=tuple(sorted(largest.items())),
        in_all=tuple((name, amount * missing) for name, amount in total.items() if amount > 0),
        namespace=demand.namespace,
        is_plain=_is_plain(demand),
    )


def _asked(shape: PodShape) -> dict[str, int]:
    asked = {name: amount for name, amount in shape.requests.items() if amount > 0}
    if shape.gpu_cards * shape.gpu_milli:
        asked[_CARDS] = shape.gpu_cards * shape.gpu_milli
    return asked


def _is_plain(demand: Demand) -> bool:
    if len(demand.unit) != 1 or demand.unit[0].count != 1 or demand.beside or demand.per_node:
        return False
    shape = demand.unit[0].shape
    return not (shape.one_per_node or shape.one_per or shape.skews)


class Needs:
    """Distinct needs by number, and which of them a site could serve."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._number_of: dict[Need, int] = {}
        self._needs: list[Need | None] = []
        self._times: list[int] = []
        self._unused: list[int] = []
        self._rows: dict[str, int] = {}
        self._spaces: dict[str, int] = {}
        self._of_a_node: Floats = np.zeros((0, _FIRST))
        self._in_all: Floats = np.zeros((0, _FIRST))
        self._is_plain: Bools = np.zeros(_FIRST, np.bool_)
        self._space: Ints = np.zeros(_FIRST, np.int64)
        self._total: Floats = np.zeros(0)

    def add(self, need: Need) -> int:
        """The number of a need; it counts once more."""
        number = self._number_of.get(need)
        if number is None:
            number = self._number_of[need] = self._free_number()
            self._write(number, need)
        self._times[number] += 1
        return number

    def drop(self, number: int) -> None:
        """The need counts once less; its number may be given to another one."""
        self._times[number] -= 1
        need = self._needs[number]
        if not self._times[number] and need is not None:
            del self._number_of[need]
            self._needs[number] = None
            self._unused.append(number)

    def sum_up(self) -> None:
        """Sums up what all nodes have free; until the next time that is the most there is."""
        rows = self._fleet.nodes.rows
        index = rows.rows_of(np.array(sorted(self._fleet.slot_of.values()), np.int64))
        counts = self._fleet.nodes.counts(index)
        self._total = np.array(
            [rows.matrix[rows.number(name)].take(index) @ counts for name in self._rows]
        )

    def fit(self, numbers: Ints, site: str) -> Bools:
        """Which needs a site may be able to serve now; [len(numbers)].

        Args:
            numbers: of needs; the same one may stand there often.
            site: its name.
        """
        slot = self._fleet.slot_of.get(site)
        found = np.zeros(len(self._needs), np.bool_)
        if slot is not None:
            found[numbers] = True
            some = np.flatnonzero(found)
            found[some] = self._fit(some, slot)
        return found[numbers]

    def _fit(self, numbers: Ints, slot: int) -> Bools:
        rows = self._fleet.nodes.rows
        columns = np.array([rows.number(name) for name in self._rows], np.int64)
        index = rows.rows_of(np.array([slot]))
        free = rows.matrix[columns[:, None], index]
        most = free[:, rows.matrix[KIND].take(index) != IN_FLIGHT].max(axis=1, initial=-1.0)
        found: Bools = (self._of_a_node[:, numbers] <= most[:, None]).all(axis=0)
        total = self._total
        found &= (self._in_all[: len(total), numbers] <= total[:, None]).all(axis=0)
        some = np.flatnonzero(found)
        some = some[self._counts_flights(numbers[some])]
        if len(some):
            free, counts = _merged(free, rows.matrix[COUNT].take(index))
            if len(counts) <= _MOST_ROWS:
                found[some] = _has_room(self._of_a_node[:, numbers[some]], free, counts)
        return found

    def _counts_flights(self, numbers: Ints) -> Bools:
        """Of which needs it is known how much what is in flight takes from them at most.

        Where limits may make pods larger it is not: larger ones may lose fewer replicas.
        """
        limits = self._fleet.limits
        limited = [place for name, place in self._spaces.items() if limits.of(name) is not None]
        known: Bools = self._is_plain[numbers] & ~np.isin(self._space[numbers], limited)
        return known

    def _free_number(self) -> int:
        if self._unused:
            return self._unused.pop()
        self._needs.append(None)
        self._times.append(0)
        if len(self._needs) > len(self._is_plain):
            self._of_a_node = _doubled(self._of_a_node)
            self._in_all = _doubled(self._in_all)
            self._is_plain = _doubled(self._is_plain)
            self._space = _doubled(self._space)
        return len(self._needs) - 1

    def _write(self, number: int, need: Need) -> None:
        self._needs[number] = need
        self._is_plain[number] = need.is_plain
        self._space[number] = self._spaces.setdefault(need.namespace, len(self._spaces))
        rows = [self._row_of(name) for name, _ in need.of_a_node]
        self._of_a_node[:, number] = self._in_all[:, number] = 0.0
        self._of_a_node[rows, number] = [amount for _, amount in need.of_a_node]
        for name, amount in need.in_all:
            self._in_all[self._rows[name], number] = amount

    def _row_of(self, resource: str) -> int:
        row = self._rows.get(resource)
        if row is None:
            row = self._rows[resource] = len(self._rows)
            more = np.zeros((1, len(self._is_plain)))
            self._of_a_node = np.concatenate([self._of_a_node, more])
            self._in_all = np.concatenate([self._in_all, more])
        return row


def _doubled(table: NDArray[Any]) -> NDArray[Any]:
    """The table with room for twice as many needs."""
    return np.concatenate([table, np.zeros_like(table)], axis=-1)


def _merged(free: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """The same with equal rows as one: what is in flight has a row for each order."""
    if len(counts) <= _FEW_ROWS:
        return free, counts
    once, places = np.unique(free, axis=1, return_inverse=True)
    merged = np.bincount(places.ravel(), weights=counts).astype(np.float64)
    return once, merged


def _has_room(asked: Floats, free: Floats, counts: Floats) -> Bools:
    """Whether one pod or more fits beside what is in flight; never no where `capacity.py` says yes.

    Args:
        asked: by resource and need.
        free: by resource and row of the site; less than nothing of what is in flight.
        counts: how many nodes a row stands for.
    """
    found = np.zeros(asked.shape[1], np.bool_)
    step = max(1, _MOST_AT_ONCE // max(1, len(counts)))
    for start in range(0, asked.shape[1], step):
        part = slice(start, start + step)
        fits = np.full((len(asked[0, part]), len(counts)), np.inf)
        for asks, has in zip(asked[:, part], free, strict=True):
            some = np.flatnonzero(asks > 0)
            share = np.floor(has / asks[some, None])
            fits[some] = np.minimum(fits[some], share)
        found[part] = fits @ counts >= 1.0
    return found
