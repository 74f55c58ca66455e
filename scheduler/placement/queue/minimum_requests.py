"""The least that a site must have free before it can help a workload that waits for capacity.

The check is cheap, and its "no" is always right: a site on which not one pod fits, or a fleet whose
free capacity sums to less than all missing replicas ask, cannot help. Only a decision says "yes".
Equal requests are kept once, so that a site is compared with all of them in a few array steps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand, total_requests
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN
from scheduler.placement.queue.one_assignment import free_beside_in_flight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_GPU_CARDS_ROW = "\0cards"
"""Stands for the thousandths of all GPU cards of a node together; no resource has this name."""
_INITIAL_CAPACITY = 64
_MAX_PAIRS_PER_STEP = 1_000_000
"""Pairs of request and row of a site that are compared in one step; it bounds the memory."""
_MAX_ROWS = 1_000
"""At a site with more distinct rows only the largest free amounts are compared."""
_MIN_ROWS_TO_MERGE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumRequest:
    """What a workload asks at least; millicores for cpu, whole units for all else.

    Attributes:
        largest_pod: the most that any of its pods asks of a node, by resource.
        in_total: what all missing replicas ask together, by resource.
        is_plain: whether a replica is one pod, which then needs all that it asks of one node.
    """

    largest_pod: tuple[tuple[str, int], ...]
    in_total: tuple[tuple[str, int], ...]
    is_plain: bool


def minimum_request_of(demand: Demand) -> MinimumRequest | None:
    """The request of a workload that is not placed in full; None: it asks nothing.

    If it runs in part, capacity for one more replica is enough to change the decision.
    """
    largest: dict[str, int] = {}
    for each in demand.unit:
        for name, amount in _requests_of(each.shape).items():
            largest[name] = max(amount, largest.get(name, 0))
    if not largest:
        return None
    missing = 1 if demand.placed else max(1, demand.replicas)
    total = total_requests(demand.unit)
    return MinimumRequest(
        largest_pod=tuple(sorted(largest.items())),
        in_total=tuple((name, amount * missing) for name, amount in total.items() if amount > 0),
        is_plain=_is_plain(demand),
    )


def _requests_of(shape: PodShape) -> dict[str, int]:
    asked = {name: amount for name, amount in shape.requests.items() if amount > 0}
    if shape.gpu_cards * shape.gpu_milli:
        asked[_GPU_CARDS_ROW] = shape.gpu_cards * shape.gpu_milli
    return asked


def _is_plain(demand: Demand) -> bool:
    if len(demand.unit) != 1 or demand.unit[0].count != 1 or demand.beside or demand.per_node:
        return False
    shape = demand.unit[0].shape
    return not (shape.one_per_node or shape.one_per or shape.skews)


class MinimumRequests:
    """Distinct requests by number, and which of them a site may be able to serve."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._number_of: dict[MinimumRequest, int] = {}
        self._by_number: list[MinimumRequest | None] = []
        self._use_counts: list[int] = []
        self._free_numbers: list[int] = []
        self._row_by_resource: dict[str, int] = {}
        self._largest_pod: Floats = np.zeros((0, _INITIAL_CAPACITY))
        self._in_total: Floats = np.zeros((0, _INITIAL_CAPACITY))
        self._is_plain: Bools = np.zeros(_INITIAL_CAPACITY, np.bool_)
        self._free_in_fleet: Floats = np.zeros(0)

    def add(self, request: MinimumRequest) -> int:
        """Counts a request once more and returns its number."""
        number = self._number_of.get(request)
        if number is None:
            number = self._number_of[request] = self._allocate_number()
            self._store(number, request)
        self._use_counts[number] += 1
        return number

    def drop(self, number: int) -> None:
        """Counts a request once less; at zero its number may be given to another one."""
        self._use_counts[number] -= 1
        request = self._by_number[number]
        if not self._use_counts[number] and request is not None:
            del self._number_of[request]
            self._by_number[number] = None
            self._free_numbers.append(number)

    def update_totals(self) -> None:
        """Sums up what all nodes have free; `may_fit` uses the sums until the next call."""
        rows = self._fleet.nodes.rows
        columns = self._columns()  # first: one that appears may replace the matrix
        index = rows.row_indices(np.array(sorted(self._fleet.slot_of.values()), np.int64))
        counts = self._fleet.nodes.node_counts(index)
        self._free_in_fleet = np.array(
            [rows.matrix[number].take(index) @ counts for number in columns]
        )

    def _columns(self) -> list[int]:
        """The columns of the node rows that hold the resources of all requests."""
        number = self._fleet.nodes.column_number
        return [
            CARDS_COLUMN if name == _GPU_CARDS_ROW else number(name)
            for name in self._row_by_resource
        ]

    def may_fit(self, numbers: Ints, site: str) -> Bools:
        """Which requests a site may be able to serve now; [len(numbers)].

        Args:
            numbers: the numbers of requests; one may occur several times.
            site: the name of the site.
        """
        slot = self._fleet.slot_of.get(site)
        found = np.zeros(len(self._by_number), np.bool_)
        if slot is not None:
            found[numbers] = True
            asked = np.flatnonzero(found)
            found[asked] = self._may_fit_at(asked, slot)
        return found[numbers]

    def _may_fit_at(self, numbers: Ints, slot: int) -> Bools:
        columns = np.array(self._columns(), np.int64)
        free = free_beside_in_flight(self._fleet, slot, columns)
        max_free = free.max(axis=1, initial=-1.0)
        found: Bools = (self._largest_pod[:, numbers] <= max_free[:, None]).all(axis=0)
        total = self._free_in_fleet
        found &= (self._in_total[: len(total), numbers] <= total[:, None]).all(axis=0)
        candidates = np.flatnonzero(found)
        candidates = candidates[self._is_plain[numbers[candidates]]]
        if len(candidates):
            free = _distinct_rows(free)
            if free.shape[1] <= _MAX_ROWS:
                found[candidates] = _fits_some_row(self._largest_pod[:, numbers[candidates]], free)
        return found

    def _allocate_number(self) -> int:
        if self._free_numbers:
            return self._free_numbers.pop()
        self._by_number.append(None)
        self._use_counts.append(0)
        if len(self._by_number) > len(self._is_plain):
            self._largest_pod = _double_columns(self._largest_pod)
            self._in_total = _double_columns(self._in_total)
            self._is_plain = _double_columns(self._is_plain)
        return len(self._by_number) - 1

    def _store(self, number: int, request: MinimumRequest) -> None:
        self._by_number[number] = request
        self._is_plain[number] = request.is_plain
        rows = [self._row_of(name) for name, _ in request.largest_pod]
        self._largest_pod[:, number] = self._in_total[:, number] = 0.0
        self._largest_pod[rows, number] = [amount for _, amount in request.largest_pod]
        for name, amount in request.in_total:
            self._in_total[self._row_by_resource[name], number] = amount

    def _row_of(self, resource: str) -> int:
        row = self._row_by_resource.get(resource)
        if row is None:
            row = self._row_by_resource[resource] = len(self._row_by_resource)
            more = np.zeros((1, len(self._is_plain)))
            self._largest_pod = np.concatenate([self._largest_pod, more])
            self._in_total = np.concatenate([self._in_total, more])
        return row


def _double_columns(table: NDArray[Any]) -> NDArray[Any]:
    """The table with twice as many columns, new ones zero."""
    return np.concatenate([table, np.zeros_like(table)], axis=-1)


def _distinct_rows(free: Floats) -> Floats:
    """The different ones of equal rows; [resources, rows]."""
    if free.shape[1] <= _MIN_ROWS_TO_MERGE:
        return free
    distinct: Floats = np.unique(free, axis=1)
    return distinct


def _fits_some_row(asked: Floats, free: Floats) -> Bools:
    """Whether a pod fits on some node; [requests].

    Args:
        asked: what the largest pod asks; [resources, requests].
        free: what a node of each row has free; [resources, rows].
    """
    found = np.zeros(asked.shape[1], np.bool_)
    step = max(1, _MAX_PAIRS_PER_STEP // max(1, free.shape[1]))
    for start in range(0, asked.shape[1], step):
        part = slice(start, start + step)
        fits = np.ones((asked[:, part].shape[1], free.shape[1]), np.bool_)
        for asks, has in zip(asked[:, part], free, strict=True):
            some = np.flatnonzero(asks > 0)
            fits[some] &= has >= asks[some, None]
        found[part] = fits.any(axis=1)
    return found
