"""Who waits for room, and whose turn it is when a site has more of it.

Every gain of room has a number. Each workload walks along these numbers: at every site that gained
since its last decision it is asked whether it could fit there now (`MinimumRequests`, never wrongly
no). Who could, waits for his turn as if an event had woken him, and is asked once more when it has
come: others may have taken the room meanwhile. So a gain costs one decision for everyone who fits,
one by one while there is room, and none for the others.
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
    """One entry per workload, by row.

    Attributes:
        is_used: whether the row is in use.
        request_number: number of its need.
        increase: the gain that it stands at: it could fit there, or all before are no help.
        could_fit: at the site of that gain, when it was asked last.
        since_seconds: since when it could.
        priority: its own.
        tenant: number of its tenant.
        rank: in the last batch.
        created_seconds: since 1970.
        sort_number: which sorting by key `sort_position` comes from; 0: none yet.
        sort_position: among the keys that were sorted then.
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
        """Makes room for twice as many."""
        for one in dataclasses.fields(self):
            column = getattr(self, one.name)
            setattr(self, one.name, np.concatenate([column, np.zeros_like(column)]))


@dataclass(slots=True)
class CapacityWatcher:
    """Workloads that wait for room, and the gains of room that they have not looked at.

    Attributes:
        minimum_requests: what they ask, and where it could fit.
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
        """Gains from this number on are still to come."""
        return self._next_increase

    def put(self, work: QueuedWork, minimum_request: MinimumRequest, since_increase: int) -> None:
        """It waits for room.

        Args:
            work: who; since when does not count.
            minimum_request: what it asks at least.
            since_increase: gains from here on it has not been decided on.
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
        """It does not wait for room any more."""
        row = self._row_of.pop(key, None)
        if row is not None:
            self._remember_sort_position(key, row)
            self.minimum_requests.drop(int(self._rows.request_number[row]))
            self._rows.is_used[row] = self._rows.could_fit[row] = False
            self._waiting[row] = None
            self._free_rows.append(row)

    def set_rank(self, key: WorkKey, rank: int) -> None:
        """Its place by gain in the last batch."""
        row = self._row_of.get(key)
        work = None if row is None else self._waiting[row]
        if row is not None and work is not None:
            self._waiting[row] = dataclasses.replace(work, rank=rank)
            self._rows.rank[row] = rank

    def on_capacity_increased(self, sites: Iterable[str], *, now_seconds: float) -> None:
        """These sites have more room than before."""
        for site in sites:
            self._increases.pop(self._increase_of.get(site, -1), None)
            self._increases[self._next_increase] = site
            self._increase_of[site] = self._next_increase
            self._next_increase += 1
        self._advance(np.flatnonzero(self._rows.is_used), now_seconds)

    def fitting_keys(self, sites: Iterable[str], *, above_priority: int) -> list[WorkKey]:
        """Who could fit at one of these sites now, of those of a higher priority."""
        rows = np.flatnonzero(self._rows.is_used & (self._rows.priority > above_priority))
        found = np.zeros(len(rows), np.bool_)
        for site in sites:
            found |= self.minimum_requests.may_fit(self._rows.request_number[rows], site)
        works = [self._waiting[row] for row in rows[found].tolist()]
        return [work.key for work in works if work is not None]

    def next_fitting(self, shares: TenantShare, *, now_seconds: float) -> QueuedWork | None:
        """Whose turn it is among those who could fit now; it stays here. None: nobody could."""
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
            self._rows.increase[row] += 1  # whatever is found for the others: here it was no
            self._advance(others, None)

    def _still_fits(self, row: int) -> bool:
        site = self._increases.get(int(self._rows.increase[row]))
        return site is not None and bool(
            self.minimum_requests.may_fit(self._rows.request_number[row : row + 1], site)[0]
        )

    def _advance(self, selected: Ints, now_seconds: float | None) -> None:
        """Goes on along the gains until it could fit, or there are no more.

        Args:
            selected: the rows that go on; who could fit already stays, unless it is looked at anew.
            now_seconds: from now on it has its turn; None: it has waited for it already.
        """
        rows = self._rows
        left = selected if now_seconds is None else selected[~rows.could_fit[selected]]
        if not len(left):
            return
        if self._summed_at_increase != self._next_increase:
            self.minimum_requests.update_totals()
            self._summed_at_increase = self._next_increase
        rows.could_fit[left] = False
        if now_seconds is not None:
            rows.since_seconds[left] = now_seconds
        for number, site in self._increases_from(int(rows.increase[left].min())):
            here = left[rows.increase[left] <= number]
            fits = self.minimum_requests.may_fit(rows.request_number[here], site)
            rows.increase[here] = number + ~fits
            rows.could_fit[here] = fits
            left = left[~rows.could_fit[left]]
            if not len(left):
                return
        rows.increase[left] = self._next_increase

    def _increases_from(self, number: int) -> list[tuple[int, str]]:
        """The gains from a number on, first the oldest; only the last of each site."""
        found: list[tuple[int, str]] = []
        for each in reversed(self._increases.items()):
            if each[0] < number:
                break
            found.append(each)
        return found[::-1]

    def _next_row(self, rows: Ints, shares: TenantShare, now_seconds: float) -> int:
        """The row whose turn it is, by the order of `queueing.turn_of`."""
        table = self._rows
        began = (table.since_seconds[rows] // AGING_WINDOW_SECONDS).astype(np.int64)
        windows = np.clip(aging_window_of(now_seconds) - began, 0, MAX_AGING_WINDOWS)
        rows = _rows_with_largest(rows, table.priority[rows] + AGING_STEP * ((1 << windows) - 1))
        rows = _rows_with_largest(rows, -self._shares_by_row(table.tenant[rows], shares))
        rows = _rows_with_largest(rows, -table.rank[rows])
        rows = _rows_with_largest(rows, -table.created_seconds[rows])
        return self._row_of_smallest_key(rows)

    def _row_of_smallest_key(self, rows: Ints) -> int:
        """The row with the smallest key; many are made in one second, so they are sorted once."""
        table = self._rows
        sortings = table.sort_number[rows]
        if len(rows) > 1 and (not sortings[0] or (sortings != sortings[0]).any()):
            keyed = sorted((work.key, row) for row in rows.tolist() if (work := self._waiting[row]))
            self._sort_count += 1
            ordered = [row for _, row in keyed]
            table.sort_number[ordered], table.sort_position[ordered] = (
                self._sort_count,
                np.arange(len(ordered)),
            )
        return int(rows[table.sort_position[rows].argmin()])

    def _remember_sort_position(self, key: WorkKey, row: int) -> None:
        """Who is decided in vain comes back, and stands where he stood."""
        if len(self._sort_positions) > len(self._waiting):
            self._sort_positions.clear()
        self._sort_positions[key] = (
            int(self._rows.sort_number[row]),
            int(self._rows.sort_position[row]),
        )

    def _shares_by_row(self, tenants: Ints, shares: TenantShare) -> Floats:
        """The share of each of these tenants; every one is asked for once."""
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
    """The rows of which `by` is largest."""
    found: Ints = rows[by == by.max()]
    return found
