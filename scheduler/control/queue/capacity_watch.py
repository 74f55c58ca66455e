"""Who waits for room, and whose turn it is when a site has more of it.

Every gain of room has a number. Each workload walks along these numbers: at every site that gained
since its last decision it is asked whether it could fit there now (`Needs`, never wrongly no). Who
could, waits for his turn as if an event had woken him, and is asked once more when it has come:
others may have taken the room meanwhile. So a gain costs one decision for everyone who fits, one by
one while there is room, and none for the others.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.metadata import WorkKey
from scheduler.placement.queue.minimum_requests import Need, Needs
from scheduler.placement.queue.order import (
    LIFT,
    LIFT_AFTER_SECONDS,
    MOST_WINDOWS,
    Shares,
    Waiting,
    window_of,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FIRST = 64


@dataclass(slots=True)
class _Rows:
    """One entry per workload, by row.

    Attributes:
        is_there: whether the row is in use.
        need: number of its need.
        seen: the gain that it stands at: it could fit there, or all before are no help.
        could_fit: at the site of that gain, when it was asked last.
        since_seconds: since when it could.
        priority: its own.
        tenant: number of its tenant.
        rank: in the last batch.
        created_seconds: since 1970.
        sorting: which sorting by key `place` comes from; 0: none yet.
        place: among the keys that were sorted then.
    """

    is_there: Bools = field(default_factory=lambda: np.zeros(_FIRST, np.bool_))
    need: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    seen: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    could_fit: Bools = field(default_factory=lambda: np.zeros(_FIRST, np.bool_))
    since_seconds: Floats = field(default_factory=lambda: np.zeros(_FIRST))
    priority: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    tenant: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    rank: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    created_seconds: Floats = field(default_factory=lambda: np.zeros(_FIRST))
    sorting: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))
    place: Ints = field(default_factory=lambda: np.zeros(_FIRST, np.int64))

    def double(self) -> None:
        """Makes room for twice as many."""
        for one in dataclasses.fields(self):
            column = getattr(self, one.name)
            setattr(self, one.name, np.concatenate([column, np.zeros_like(column)]))


@dataclass(slots=True)
class Lookout:
    """Workloads that wait for room, and the gains of room that they have not looked at.

    Attributes:
        needs: what they ask, and where it could fit.
    """

    needs: Needs
    _rows: _Rows = field(default_factory=_Rows)
    _works: list[Waiting | None] = field(default_factory=list)
    _row_of: dict[WorkKey, int] = field(default_factory=dict)
    _unused: list[int] = field(default_factory=list)
    _tenants: dict[str, int] = field(default_factory=dict)
    _gains: dict[int, str] = field(default_factory=dict)
    _gain_of: dict[str, int] = field(default_factory=dict)
    _places: dict[WorkKey, tuple[int, int]] = field(default_factory=dict)
    _sortings: int = 0
    _next: int = 0
    _summed: int = -1

    @property
    def position(self) -> int:
        """Gains from this number on are still to come."""
        return self._next

    def put(self, work: Waiting, need: Need, position: int) -> None:
        """It waits for room.

        Args:
            work: who; since when does not count.
            need: what it asks at least.
            position: gains from here on it has not been decided on.
        """
        self.drop(work.key)
        row, rows = self._free_row(), self._rows
        self._works[row] = work
        self._row_of[work.key] = row
        rows.need[row] = self.needs.add(need)
        rows.seen[row] = position
        rows.is_there[row], rows.could_fit[row] = True, False
        rows.priority[row], rows.rank[row] = work.priority, work.rank
        rows.tenant[row] = self._tenants.setdefault(work.tenant, len(self._tenants))
        rows.created_seconds[row] = work.created_at_seconds
        rows.sorting[row], rows.place[row] = self._places.pop(work.key, (0, 0))
        if position < self._next:
            self._walk(np.array([row]), work.waiting_since_seconds)

    def drop(self, key: WorkKey) -> None:
        """It does not wait for room any more."""
        row = self._row_of.pop(key, None)
        if row is not None:
            self._keep_place(key, row)
            self.needs.drop(int(self._rows.need[row]))
            self._rows.is_there[row] = self._rows.could_fit[row] = False
            self._works[row] = None
            self._unused.append(row)

    def rank(self, key: WorkKey, rank: int) -> None:
        """Its place by gain in the last batch."""
        row = self._row_of.get(key)
        work = None if row is None else self._works[row]
        if row is not None and work is not None:
            self._works[row] = dataclasses.replace(work, rank=rank)
            self._rows.rank[row] = rank

    def gained(self, sites: Iterable[str], *, now_seconds: float) -> None:
        """These sites have more room than before."""
        for site in sites:
            self._gains.pop(self._gain_of.get(site, -1), None)
            self._gains[self._next] = site
            self._gain_of[site] = self._next
            self._next += 1
        self._walk(np.flatnonzero(self._rows.is_there), now_seconds)

    def able(self, sites: Iterable[str], *, above: int) -> list[WorkKey]:
        """Who could fit at one of these sites now, of those of a higher priority."""
        rows = np.flatnonzero(self._rows.is_there & (self._rows.priority > above))
        found = np.zeros(len(rows), np.bool_)
        for site in sites:
            found |= self.needs.fit(self._rows.need[rows], site)
        works = [self._works[row] for row in rows[found].tolist()]
        return [work.key for work in works if work is not None]

    def best(self, shares: Shares, *, now_seconds: float) -> Waiting | None:
        """Whose turn it is among those who could fit now; it stays here. None: nobody could."""
        while True:
            rows = np.flatnonzero(self._rows.could_fit)
            if not len(rows):
                return None
            row = self._first(rows, shares, now_seconds)
            work = self._works[row]
            if work is not None and self._fits_still(row):
                since = float(self._rows.since_seconds[row])
                return dataclasses.replace(work, waiting_since_seconds=since)
            others = rows[self._rows.seen[rows] == self._rows.seen[row]]
            self._rows.seen[row] += 1  # whatever is found for the others: here it was no
            self._walk(others, None)

    def _fits_still(self, row: int) -> bool:
        site = self._gains.get(int(self._rows.seen[row]))
        return site is not None and bool(self.needs.fit(self._rows.need[row : row + 1], site)[0])

    def _walk(self, some: Ints, now_seconds: float | None) -> None:
        """Goes on along the gains until it could fit, or there are no more.

        Args:
            some: the rows that go on; who could fit already stays, unless it is looked at anew.
            now_seconds: from now on it has its turn; None: it has waited for it already.
        """
        rows = self._rows
        left = some if now_seconds is None else some[~rows.could_fit[some]]
        if not len(left):
            return
        if self._summed != self._next:
            self.needs.sum_up()
            self._summed = self._next
        rows.could_fit[left] = False
        if now_seconds is not None:
            rows.since_seconds[left] = now_seconds
        for number, site in self._gains_from(int(rows.seen[left].min())):
            here = left[rows.seen[left] <= number]
            fits = self.needs.fit(rows.need[here], site)
            rows.seen[here] = number + ~fits
            rows.could_fit[here] = fits
            left = left[~rows.could_fit[left]]
            if not len(left):
                return
        rows.seen[left] = self._next

    def _gains_from(self, number: int) -> list[tuple[int, str]]:
        """The gains from a number on, first the oldest; only the last of each site."""
        found: list[tuple[int, str]] = []
        for each in reversed(self._gains.items()):
            if each[0] < number:
                break
            found.append(each)
        return found[::-1]

    def _first(self, rows: Ints, shares: Shares, now_seconds: float) -> int:
        """The row whose turn it is, by the order of `queueing.turn_of`."""
        table = self._rows
        began = (table.since_seconds[rows] // LIFT_AFTER_SECONDS).astype(np.int64)
        windows = np.clip(window_of(now_seconds) - began, 0, MOST_WINDOWS)
        rows = _largest(rows, table.priority[rows] + LIFT * ((1 << windows) - 1))
        rows = _largest(rows, -self._shares(table.tenant[rows], shares))
        rows = _largest(rows, -table.rank[rows])
        rows = _largest(rows, -table.created_seconds[rows])
        return self._first_by_key(rows)

    def _first_by_key(self, rows: Ints) -> int:
        """The row with the smallest key; many are made in one second, so they are sorted once."""
        table = self._rows
        sortings = table.sorting[rows]
        if len(rows) > 1 and (not sortings[0] or (sortings != sortings[0]).any()):
            keyed = sorted((work.key, row) for row in rows.tolist() if (work := self._works[row]))
            self._sortings += 1
            ordered = [row for _, row in keyed]
            table.sorting[ordered], table.place[ordered] = self._sortings, np.arange(len(ordered))
        return int(rows[table.place[rows].argmin()])

    def _keep_place(self, key: WorkKey, row: int) -> None:
        """Who is decided in vain comes back, and stands where he stood."""
        if len(self._places) > len(self._works):
            self._places.clear()
        self._places[key] = (int(self._rows.sorting[row]), int(self._rows.place[row]))

    def _shares(self, tenants: Ints, shares: Shares) -> Floats:
        """The share of each of these tenants; every one is asked for once."""
        wanted = np.zeros(len(self._tenants), np.bool_)
        wanted[tenants] = True
        found = np.zeros(len(self._tenants))
        names = list(self._tenants)
        for number in np.flatnonzero(wanted).tolist():
            found[number] = shares(names[number])
        by_row: Floats = found[tenants]
        return by_row

    def _free_row(self) -> int:
        if self._unused:
            return self._unused.pop()
        self._works.append(None)
        if len(self._works) > len(self._rows.need):
            self._rows.double()
        return len(self._works) - 1


def _largest(rows: Ints, by: Ints | Floats) -> Ints:
    """The rows of which `by` is largest."""
    found: Ints = rows[by == by.max()]
    return found
