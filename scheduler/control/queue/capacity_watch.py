"""Workloads that wait for capacity, and which of them is next when a site has more of it.

Every increase of capacity at a site has a number. Each workload advances along these numbers: for
every site that increased since its last decision, `MinimumRequests` says whether the workload could
fit there now (the answer may be wrongly yes, never wrongly no). A workload that could fit is ready
as if an event had woken it, and is checked again when it is taken, because others may have used the
capacity meanwhile. So an increase costs one decision for each workload that fits, one by one while
there is capacity, and none for the others.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.queue.minimum_requests import MinimumRequest, MinimumRequests
from scheduler.placement.queue.order import (
    AGING_STEP,
    AGING_WINDOW_SECONDS,
    MAX_AGING_WINDOWS,
    QueuedWork,
    TenantShare,
    aging_window_of,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_INITIAL_ROWS = 64


@dataclass(slots=True)
class _Rows:
    """A table with one row per workload; every array has the shape [rows].

    Attributes:
        is_used: whether the row is in use.
        request_number: number of its minimum request in `MinimumRequests`.
        increase: the increase that it has reached: it could fit there, and no earlier one helps.
        could_fit: whether it could fit at the site of that increase when that was checked last.
        since_seconds: monotonic time since when it could fit.
        priority: its priority, without aging.
        tenant: number of its tenant.
        rank: its rank in the last batch.
        created_seconds: creation time in seconds since 1970.
        sort_number: the sorting by key that `sort_position` comes from; 0: none yet.
        sort_position: its position among the keys that were sorted then.
    """

    is_used: Bools = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.bool_))
    request_number: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    increase: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    could_fit: Bools = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.bool_))
    since_seconds: Floats = field(default_factory=lambda: np.zeros(_INITIAL_ROWS))
    priority: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    tenant: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    rank: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    created_seconds: Floats = field(default_factory=lambda: np.zeros(_INITIAL_ROWS))
    sort_number: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))
    sort_position: Ints = field(default_factory=lambda: np.zeros(_INITIAL_ROWS, np.int64))

    def double_capacity(self) -> None:
        """Doubles the number of rows."""
        for one in dataclasses.fields(self):
            column = getattr(self, one.name)
            setattr(self, one.name, np.concatenate([column, np.zeros_like(column)]))


@dataclass(slots=True)
class CapacityWatcher:
    """Workloads that wait for capacity, and the increases that they have not been checked for.

    Attributes:
        minimum_requests: the least that each requests, and where that could fit.
    """

    minimum_requests: MinimumRequests
    _rows: _Rows = field(default_factory=_Rows)
    _waiting: list[QueuedWork | None] = field(default_factory=list)
    _row_of: dict[WorkKey, int] = field(default_factory=dict)
    _free_rows: list[int] = field(default_factory=list)
    _tenants: dict[str, int] = field(default_factory=dict)
    _increases: dict[int, str] = field(default_factory=dict)
    _increase_of: dict[str, int] = field(default_factory=dict)
    _sort_positions: dict[WorkKey, tuple[int, int]] = field(default_factory=dict)
    _sort_count: int = 0
    _next_increase: int = 0
    _summed_at_increase: int = -1

    @property
    def next_increase(self) -> int:
        """The number that the next increase will have."""
        return self._next_increase

    def put(self, work: QueuedWork, minimum_request: MinimumRequest, since_increase: int) -> None:
        """Adds a workload that waits for capacity.

        Args:
            work: the workload; it is ready from `waiting_since_seconds` on if it fits at once.
            minimum_request: the least that it requests.
            since_increase: it has not been decided on increases from this number on.
        """
        self.drop(work.key)
        row, rows = self._allocate_row(), self._rows
        self._waiting[row] = work
        self._row_of[work.key] = row
        rows.request_number[row] = self.minimum_requests.add(minimum_request)
        rows.increase[row] = since_increase
        rows.is_used[row], rows.could_fit[row] = True, False
        rows.priority[row], rows.rank[row] = work.priority, work.rank
        rows.tenant[row] = self._tenants.setdefault(work.tenant, len(self._tenants))
        rows.created_seconds[row] = work.created_at_seconds
        rows.sort_number[row], rows.sort_position[row] = self._sort_positions.pop(work.key, (0, 0))
        if since_increase < self._next_increase:
            self._advance(np.array([row]), work.waiting_since_seconds)

    def drop(self, key: WorkKey) -> None:
        """Removes a workload that does not wait for capacity any more."""
        row = self._row_of.pop(key, None)
        if row is not None:
            self._remember_sort_position(key, row)
            self.minimum_requests.drop(int(self._rows.request_number[row]))
            self._rows.is_used[row] = self._rows.could_fit[row] = False
            self._waiting[row] = None
            self._free_rows.append(row)

    def set_rank(self, key: WorkKey, rank: int) -> None:
        """Sets the rank of a workload in the last batch."""
        row = self._row_of.get(key)
        work = None if row is None else self._waiting[row]
        if row is not None and work is not None:
            self._waiting[row] = dataclasses.replace(work, rank=rank)
            self._rows.rank[row] = rank

    def on_capacity_increased(self, sites: Iterable[str], *, now_seconds: float) -> None:
        """Numbers an increase for each of these sites, and checks all workloads for them."""
        for site in sites:
            self._increases.pop(self._increase_of.get(site, -1), None)
            self._increases[self._next_increase] = site
            self._increase_of[site] = self._next_increase
            self._next_increase += 1
        self._advance(np.flatnonzero(self._rows.is_used), now_seconds)

    def fitting_keys(self, sites: Iterable[str], *, above_priority: int) -> list[WorkKey]:
        """The workloads above a priority that could fit at one of these sites now."""
        rows = np.flatnonzero(self._rows.is_used & (self._rows.priority > above_priority))
        found = np.zeros(len(rows), np.bool_)
        for site in sites:
            found |= self.minimum_requests.may_fit(self._rows.request_number[rows], site)
        works = [self._waiting[row] for row in rows[found].tolist()]
        return [work.key for work in works if work is not None]

    def next_fitting(self, shares: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """The next of the workloads that could fit now; it stays here. None: no workload could."""
        while True:
            rows = np.flatnonzero(self._rows.could_fit)
            if not len(rows):
                return None
            row = self._next_row(rows, shares, now_seconds)
            work = self._waiting[row]
            if work is not None and self._still_fits(row):
                since = float(self._rows.since_seconds[row])
                return dataclasses.replace(work, waiting_since_seconds=since)
            others = rows[self._rows.increase[rows] == self._rows.increase[row]]
            self._rows.increase[row] += 1  # this one does not fit; the others are checked again
            self._advance(others, None)

    def _still_fits(self, row: int) -> bool:
        site = self._increases.get(int(self._rows.increase[row]))
        return site is not None and bool(
            self.minimum_requests.may_fit(self._rows.request_number[row : row + 1], site)[0]
        )

    def _advance(self, selected: Ints, now_seconds: float | None) -> None:
        """Advances rows along the increases until each could fit, or there are no more.

        Args:
            selected: the rows, [selected].
            now_seconds: rows that could fit already stay, and the others are ready from this time
                on; None: all rows are checked again, and keep the time since when they are ready.
        """
        rows = self._rows
        remaining = selected if now_seconds is None else selected[~rows.could_fit[selected]]
        if not len(remaining):
            return
        if self._summed_at_increase != self._next_increase:
            self.minimum_requests.update_totals()
            self._summed_at_increase = self._next_increase
        rows.could_fit[remaining] = False
        if now_seconds is not None:
            rows.since_seconds[remaining] = now_seconds
        for number, site in self._increases_from(int(rows.increase[remaining].min())):
            reached = remaining[rows.increase[remaining] <= number]
            fits = self.minimum_requests.may_fit(rows.request_number[reached], site)
            # A row that fits stays at this increase; one that does not goes on to the next.
            rows.increase[reached] = number + ~fits
            rows.could_fit[reached] = fits
            remaining = remaining[~rows.could_fit[remaining]]
            if not len(remaining):
                return
        rows.increase[remaining] = self._next_increase

    def _increases_from(self, number: int) -> list[tuple[int, str]]:
        """The increases from a number on, oldest first; of each site only the last one is kept."""
        found: list[tuple[int, str]] = []
        for each in reversed(self._increases.items()):
            if each[0] < number:
                break
            found.append(each)
        return found[::-1]

    def _next_row(self, rows: Ints, shares: TenantShare, now_seconds: float) -> int:
        """The row that is next, by the order of `scheduler.placement.queue.order.sort_key`."""
        table = self._rows
        began = (table.since_seconds[rows] // AGING_WINDOW_SECONDS).astype(np.int64)
        windows = np.clip(aging_window_of(now_seconds) - began, 0, MAX_AGING_WINDOWS)
        # The same sum as `aged_priority`, over all rows.
        rows = _rows_with_largest(rows, table.priority[rows] + AGING_STEP * ((1 << windows) - 1))
        rows = _rows_with_largest(rows, -self._shares_by_row(table.tenant[rows], shares))
        rows = _rows_with_largest(rows, -table.rank[rows])
        rows = _rows_with_largest(rows, -table.created_seconds[rows])
        return self._row_of_smallest_key(rows)

    def _row_of_smallest_key(self, rows: Ints) -> int:
        """The row with the smallest key.

        Many workloads may be created in one second, so the keys are sorted once and the positions
        kept.
        """
        table = self._rows
        sortings = table.sort_number[rows]
        if len(rows) > 1 and (not sortings[0] or (sortings != sortings[0]).any()):
            sorted_keys = sorted(
                (work.key, row) for row in rows.tolist() if (work := self._waiting[row])
            )
            self._sort_count += 1
            ordered = [row for _, row in sorted_keys]
            table.sort_number[ordered], table.sort_position[ordered] = (
                self._sort_count,
                np.arange(len(ordered)),
            )
        return int(rows[table.sort_position[rows].argmin()])

    def _remember_sort_position(self, key: WorkKey, row: int) -> None:
        """Remembers the position of a removed workload, which often comes back unplaced."""
        if len(self._sort_positions) > len(self._waiting):
            self._sort_positions.clear()
        self._sort_positions[key] = (
            int(self._rows.sort_number[row]),
            int(self._rows.sort_position[row]),
        )

    def _shares_by_row(self, tenants: Ints, shares: TenantShare) -> Floats:
        """The share of the tenant of each row, [rows]; each tenant's share is computed once."""
        wanted = np.zeros(len(self._tenants), np.bool_)
        wanted[tenants] = True
        found = np.zeros(len(self._tenants))
        names = list(self._tenants)
        for number in np.flatnonzero(wanted).tolist():
            found[number] = shares(names[number])
        by_row: Floats = found[tenants]
        return by_row

    def _allocate_row(self) -> int:
        if self._free_rows:
            return self._free_rows.pop()
        self._waiting.append(None)
        if len(self._waiting) > len(self._rows.request_number):
            self._rows.double_capacity()
        return len(self._waiting) - 1


def _rows_with_largest(rows: Ints, by: Ints | Floats) -> Ints:
    """The rows with the largest value of `by`, in their order."""
    found: Ints = rows[by == by.max()]
    return found
