"""Rows of different number per site, in shared arrays: one block per site.

A site that reports is written into its own block if the new rows fit there, else its block moves to
the end; when half of the space is holes, everything is packed. So one report costs its own rows
only. Every block has some space to spare, also after packing: what is ordered at a site adds rows
one by one. Columns are the rows of one matrix, so that several are read in one step.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Counts = TypeVar("_Counts", int, Ints)

_FIRST_ROWS = 256
_FIRST_COLUMNS = 16

_SPARE_ROWS = 4
_SPARE_SHARE = 4
"""A block of n rows gets space for n + n / _SPARE_SHARE + _SPARE_ROWS."""


class Numbers(dict[str, int]):
    """The numbers of columns by name; a name that is asked for the first time gets the next one."""

    def __init__(self, made: Callable[[], None]) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        self._made()
        return number


class Ragged:
    """Named columns of floats in blocks, one block per site; what a row does not name is 0.

    Attributes:
        number_of: the columns by name, as rows of `matrix`; asking for a new one makes it, and may
            replace the matrix.
        matrix: [columns, rows].
        start: the first row of each site; [sites].
        length: how many rows each site has; [sites].
    """

    def __init__(self) -> None:
        self.number_of = Numbers(self._widen)
        self.matrix: Floats = np.zeros((_FIRST_COLUMNS, _FIRST_ROWS))
        self.start: Ints = np.zeros(0, np.int64)
        self.length: Ints = np.zeros(0, np.int64)
        self._space: Ints = np.zeros(0, np.int64)
        self._end = 0
        self._holes = 0
        self._count: Ints = np.arange(_FIRST_ROWS)

    def grow_sites(self, sites: int) -> None:
        """Makes room for `sites` blocks."""
        more = np.zeros(max(0, sites - len(self.start)), np.int64)
        self.start = np.concatenate([self.start, more])
        self.length = np.concatenate([self.length, more])
        self._space = np.concatenate([self._space, more])

    def number(self, name: str) -> int:
        """The number of a column; it is made, of zeros, when nobody has it yet."""
        return self.number_of[name]

    def _widen(self) -> None:
        if len(self.number_of) > len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])

    def numbers(self, names: Iterable[str]) -> list[int]:
        """The numbers of several columns. `matrix` is another one afterwards if some were made."""
        number_of = self.number_of
        return [number_of[name] for name in names]

    def column(self, name: str) -> Floats:
        """One column over all rows; [rows]."""
        number = self.number(name)  # first: it may replace the matrix
        found: Floats = self.matrix[number]
        return found

    def write(self, site: int, rows: Floats) -> None:
        """Replaces a site's rows.

        Args:
            site: the site's slot.
            rows: a value for every column that has a number; [len(number_of), rows].
        """
        columns, count = rows.shape
        if count > self._space.item(site):
            self._move(site, _with_spare(count))
        self.length[site] = count
        begin = self.start.item(site)
        self.matrix[:columns, begin : begin + count] = rows

    def cut(self, site: int, count: int) -> None:
        """Takes the last `count` rows off a site."""
        self.length[site] -= count

    def append(self, site: int, row: Mapping[int, float]) -> None:
        """Adds a row to a site; blocks grow by doubling, so that many small steps stay cheap."""
        held = self.length.item(site)
        if held >= self._space.item(site):
            begin = self.start.item(site)
            kept = self.matrix[:, begin : begin + held].copy()
            self._move(site, max(4, 2 * held))
            begin = self.start.item(site)
            self.matrix[:, begin : begin + held] = kept
        place = self.start.item(site) + held
        matrix = self.matrix
        matrix[:, place] = 0.0
        for number, value in row.items():
            matrix[number, place] = value
        self.length[site] = held + 1

    def _move(self, site: int, space: int) -> None:
        self._holes += self._space.item(site)
        self._space[site] = self.length[site] = 0
        is_full = self._end + space > self.matrix.shape[1]
        if is_full or self._holes > max(_FIRST_ROWS, self._end // 2):
            self._pack(space)
        self.start[site] = self._end
        self._space[site] = space
        self._end += space

    def _pack(self, more: int) -> None:
        kept = np.flatnonzero(self.length)
        index = self.rows_of(kept)
        spaces = np.minimum(self._space, _with_spare(self.length))
        spaces[self.length == 0] = 0
        needed = int(spaces.sum()) + more
        self._space[:] = spaces
        self.start[:] = np.cumsum(spaces) - spaces
        packed = np.zeros((len(self.matrix), max(_FIRST_ROWS, needed + needed // 2)))
        packed[:, self.rows_of(kept)] = self.matrix[:, index]
        self.matrix = packed
        self._end = needed - more
        self._holes = 0

    def rows_of(self, sites: Ints) -> Ints:
        """The numbers of the rows of several sites, one site after the other; [their rows]."""
        if not len(sites):
            return np.zeros(0, np.int64)
        lengths = self.length.take(sites)
        ends = lengths.cumsum()
        total = int(ends[-1])
        if total > len(self._count):
            self._count = np.arange(2 * total)
        index: Ints = (self.start.take(sites) - ends + lengths).repeat(lengths)
        index += self._count[:total]
        return index

    def sums(self, sites: Ints, per_row: Floats) -> Floats:
        """Sums values of `rows_of(sites)` by site; [..., len(sites)].

        Args:
            sites: the sites.
            per_row: [..., rows].
        """
        lengths = self.length.take(sites)
        begins = lengths.cumsum() - lengths
        if lengths.all():
            if not len(sites):
                return np.zeros((*per_row.shape[:-1], 0))
            whole: Floats = np.add.reduceat(per_row, begins, axis=-1)
            return whole
        has_rows = lengths > 0
        found = np.zeros((*per_row.shape[:-1], len(sites)))
        if has_rows.any():
            found[..., has_rows] = np.add.reduceat(per_row, begins[has_rows], axis=-1)
        return found


def _with_spare(rows: _Counts) -> _Counts:
    return rows + rows // _SPARE_SHARE + _SPARE_ROWS
