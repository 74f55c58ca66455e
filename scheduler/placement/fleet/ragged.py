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

_INITIAL_ROWS = 256
_INITIAL_COLUMNS = 16

_SPARE_ROWS = 4
_SPARE_DIVISOR = 4
"""A block of n rows gets space for n + n / _SPARE_SHARE + _SPARE_ROWS."""


class ColumnNumbers(dict[str, int]):
    """The numbers of columns by name; a name that is asked for the first time gets the next one."""

    def __init__(self, on_new: Callable[[], None]) -> None:
        super().__init__()
        self._on_new = on_new

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        self._on_new()
        return number


class RaggedTable:
    """Named columns of floats in blocks, one block per site; what a row does not name is 0.

    Attributes:
        column_numbers: the columns by name, as rows of `matrix`; asking for a new one makes it, and
        may
            replace the matrix.
        matrix: [columns, rows].
        start: the first row of each site; [sites].
        length: how many rows each site has; [sites].
    """

    def __init__(self) -> None:
        self.column_numbers = ColumnNumbers(self._widen)
        self.matrix: Floats = np.zeros((_INITIAL_COLUMNS, _INITIAL_ROWS))
        self.start: Ints = np.zeros(0, np.int64)
        self.length: Ints = np.zeros(0, np.int64)
        self._block_sizes: Ints = np.zeros(0, np.int64)
        self._used_rows = 0
        self._unused_rows = 0
        self._row_range: Ints = np.arange(_INITIAL_ROWS)

    def grow_sites(self, sites: int) -> None:
        """Makes room for `sites` blocks."""
        more = np.zeros(max(0, sites - len(self.start)), np.int64)
        self.start = np.concatenate([self.start, more])
        self.length = np.concatenate([self.length, more])
        self._block_sizes = np.concatenate([self._block_sizes, more])

    def column_number(self, name: str) -> int:
        """The number of a column; it is made, of zeros, when nobody has it yet."""
        return self.column_numbers[name]

    def _widen(self) -> None:
        if len(self.column_numbers) > len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])

    def column_numbers_of(self, names: Iterable[str]) -> list[int]:
        """The numbers of several columns. `matrix` is another one afterwards if some were made."""
        number_of = self.column_numbers
        return [number_of[name] for name in names]

    def column(self, name: str) -> Floats:
        """One column over all rows; [rows]."""
        number = self.column_number(name)  # first: it may replace the matrix
        found: Floats = self.matrix[number]
        return found

    def write(self, site: int, rows: Floats) -> None:
        """Replaces a site's rows.

        Args:
            site: the site's slot.
            rows: a value for every column that has a number; [len(number_of), rows].
        """
        columns, count = rows.shape
        if count > self._block_sizes.item(site):
            self._relocate(site, _with_spare(count))
        self.length[site] = count
        begin = self.start.item(site)
        self.matrix[:columns, begin : begin + count] = rows

    def drop_last(self, site: int, count: int) -> None:
        """Takes the last `count` rows off a site."""
        self.length[site] -= count

    def append(self, site: int, row: Mapping[int, float]) -> None:
        """Adds a row to a site; blocks grow by doubling, so that many small steps stay cheap."""
        row_count = self.length.item(site)
        if row_count >= self._block_sizes.item(site):
            begin = self.start.item(site)
            old_rows = self.matrix[:, begin : begin + row_count].copy()
            self._relocate(site, max(4, 2 * row_count))
            begin = self.start.item(site)
            self.matrix[:, begin : begin + row_count] = old_rows
        place = self.start.item(site) + row_count
        matrix = self.matrix
        matrix[:, place] = 0.0
        for number, value in row.items():
            matrix[number, place] = value
        self.length[site] = row_count + 1

    def _relocate(self, site: int, block_size: int) -> None:
        self._unused_rows += self._block_sizes.item(site)
        self._block_sizes[site] = self.length[site] = 0
        is_full = self._used_rows + block_size > self.matrix.shape[1]
        if is_full or self._unused_rows > max(_INITIAL_ROWS, self._used_rows // 2):
            self._pack(block_size)
        self.start[site] = self._used_rows
        self._block_sizes[site] = block_size
        self._used_rows += block_size

    def _pack(self, extra_rows: int) -> None:
        occupied = np.flatnonzero(self.length)
        index = self.row_indices(occupied)
        block_sizes = np.minimum(self._block_sizes, _with_spare(self.length))
        block_sizes[self.length == 0] = 0
        needed = int(block_sizes.sum()) + extra_rows
        self._block_sizes[:] = block_sizes
        self.start[:] = np.cumsum(block_sizes) - block_sizes
        packed = np.zeros((len(self.matrix), max(_INITIAL_ROWS, needed + needed // 2)))
        packed[:, self.row_indices(occupied)] = self.matrix[:, index]
        self.matrix = packed
        self._used_rows = needed - extra_rows
        self._unused_rows = 0

    def row_indices(self, sites: Ints) -> Ints:
        """The numbers of the rows of several sites, one site after the other; [their rows]."""
        if not len(sites):
            return np.zeros(0, np.int64)
        lengths = self.length.take(sites)
        ends = lengths.cumsum()
        total = int(ends[-1])
        if total > len(self._row_range):
            self._row_range = np.arange(2 * total)
        index: Ints = (self.start.take(sites) - ends + lengths).repeat(lengths)
        index += self._row_range[:total]
        return index

    def sum_by_site(self, sites: Ints, per_row: Floats) -> Floats:
        """Sums values of `row_indices(sites)` by site; [..., len(sites)].

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
    return rows + rows // _SPARE_DIVISOR + _SPARE_ROWS
