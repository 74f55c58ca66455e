"""A table with a different number of rows per site, in shared arrays: one block of rows per site.

New rows of a site are written into its block if they fit, else the block is moved to the end. When
half of the space is unused, all blocks are packed. So a report costs only its own rows. Every block
has some spare rows, also after packing, because orders add rows one by one. Columns are the rows of
one matrix, so that several are read in one step.
"""

from collections.abc import Mapping, Sequence
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
"""A block of n rows gets space for n + n // _SPARE_DIVISOR + _SPARE_ROWS."""


class RaggedTable:
    """Columns of floats in blocks, one block per site; what a row does not name is 0.

    Args:
        initial_columns: the columns that there is space for; more space is made when it is needed.

    Attributes:
        column_count: how many columns are in use; the others of `matrix` are spare.
        matrix: the values; [columns, rows].
        start: the first row of each site; [sites].
        length: how many rows each site has; [sites].
        writes: how often the rows of each site were replaced by others; [sites].
    """

    def __init__(self, initial_columns: int = _INITIAL_COLUMNS) -> None:
        self.column_count = 0
        self.matrix: Floats = np.zeros((initial_columns, _INITIAL_ROWS))
        self.start: Ints = np.zeros(0, np.int64)
        self.length: Ints = np.zeros(0, np.int64)
        self.writes: Ints = np.zeros(0, np.int64)
        self._block_sizes: Ints = np.zeros(0, np.int64)
        self._used_rows = 0
        self._unused_rows = 0
        self._row_range: Ints = np.arange(_INITIAL_ROWS)

    def grow_sites(self, sites: int) -> None:
        """Extends the arrays to `sites` blocks; new ones are empty."""
        more = np.zeros(max(0, sites - len(self.start)), np.int64)
        self.start = np.concatenate([self.start, more])
        self.length = np.concatenate([self.length, more])
        self.writes = np.concatenate([self.writes, more])
        self._block_sizes = np.concatenate([self._block_sizes, more])

    def add_column(self) -> int:
        """Adds a column that is 0 everywhere, and returns its number; may replace `matrix`."""
        number = self.column_count
        self.column_count += 1
        if self.column_count > len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])
        return number

    def clear_column(self, number: int) -> None:
        """Sets a column to 0 everywhere."""
        self.matrix[number] = 0.0

    def write(self, site: int, rows: Floats) -> None:
        """Replaces a site's rows.

        Args:
            site: the site's slot.
            rows: a value for every column in use; [column_count, rows].
        """
        columns, count = rows.shape
        if count > self._block_sizes.item(site):
            self._relocate(site, _with_spare(count))
        self.length[site] = count
        self.writes[site] += 1
        begin = self.start.item(site)
        self.matrix[:columns, begin : begin + count] = rows

    def append(self, site: int, row: Mapping[int, float], copies: int = 1) -> None:
        """Adds a row to a site, given as values by column number, or several such rows.

        Blocks grow by doubling, so that adding many rows one by one stays cheap.
        """
        row_count = self.length.item(site)
        self._make_room(site, copies)
        begin = self.start.item(site) + row_count
        index = begin if copies == 1 else slice(begin, begin + copies)
        matrix = self.matrix
        matrix[:, index] = 0.0  # the space may hold values of a former row
        for number, value in row.items():
            matrix[number, index] = value
        self.length[site] = row_count + copies

    def splice(self, site: int, at: int, dropped: int, rows: Sequence[Mapping[int, float]]) -> None:
        """Replaces some rows of a site by others; the rows behind them keep their order.

        Args:
            site: the site's slot.
            at: the first row that is replaced, counted within the site.
            dropped: how many are replaced.
            rows: the new ones, given as values by column number.
        """
        begin, end = self.start.item(site) + at + dropped, self.length.item(site)
        behind = self.matrix[:, begin : self.start.item(site) + end].copy()
        self.length[site] = at
        for row in rows:
            self.append(site, row)
        count = behind.shape[1]
        if count:
            self._make_room(site, count)
            begin = self.start.item(site) + self.length.item(site)
            self.matrix[:, begin : begin + count] = behind
            self.length[site] += count

    def _make_room(self, site: int, more: int) -> None:
        """Makes the block of a site hold so many more rows; those that it has stay."""
        row_count = self.length.item(site)
        if row_count + more > self._block_sizes.item(site):
            begin = self.start.item(site)
            old_rows = self.matrix[:, begin : begin + row_count].copy()
            self._relocate(site, max(4, 2 * row_count, row_count + more))
            begin = self.start.item(site)
            self.matrix[:, begin : begin + row_count] = old_rows
            self.length[site] = row_count

    def _relocate(self, site: int, block_size: int) -> None:
        self._unused_rows += self._block_sizes.item(site)
        # Without rows the site is left out when blocks are packed: the caller writes them again.
        self._block_sizes[site] = self.length[site] = 0
        is_full = self._used_rows + block_size > self.matrix.shape[1]
        if is_full or self._unused_rows > max(_INITIAL_ROWS, self._used_rows // 2):
            self._pack(block_size)
        self.start[site] = self._used_rows
        self._block_sizes[site] = block_size
        self._used_rows += block_size

    def _pack(self, extra_rows: int) -> None:
        occupied = np.flatnonzero(self.length)
        index = self.row_indices(occupied)  # before `start` is overwritten below
        block_sizes = np.minimum(self._block_sizes, _with_spare(self.length))
        block_sizes[self.length == 0] = 0  # sites without rows need no spare rows
        needed = int(block_sizes.sum()) + extra_rows
        self._block_sizes[:] = block_sizes
        self.start[:] = np.cumsum(block_sizes) - block_sizes
        # Half as much again as is needed, so that the next blocks are added without packing.
        packed = np.zeros((len(self.matrix), max(_INITIAL_ROWS, needed + needed // 2)))
        packed[:, self.row_indices(occupied)] = self.matrix[:, index]
        self.matrix = packed
        self._used_rows = needed - extra_rows  # `_relocate` adds the extra rows itself
        self._unused_rows = 0

    def row_indices(self, sites: Ints) -> Ints:
        """The numbers of the rows of several sites, one site after the other; [their rows].

        Those of site i are `start[i] + (0, 1, … length[i] - 1)`.
        """
        if not len(sites):
            return np.zeros(0, np.int64)
        lengths = self.length.take(sites)
        ends = lengths.cumsum()
        total = int(ends[-1])
        if total > len(self._row_range):
            self._row_range = np.arange(2 * total)  # doubled, so that it seldom grows
        # `ends - lengths` is where a site's rows begin in the result: the running number of the
        # result, less that, plus `start`, is the row.
        index: Ints = (self.start.take(sites) - ends + lengths).repeat(lengths)
        index += self._row_range[:total]
        return index

    def sum_by_site(self, sites: Ints, per_row: Floats) -> Floats:
        """Sums the values of each site's rows; [..., len(sites)].

        Args:
            sites: the sites.
            per_row: a value for each of `row_indices(sites)`; [..., rows].
        """
        lengths = self.length.take(sites)
        begins = lengths.cumsum() - lengths
        if lengths.all():
            if not len(sites):
                return np.zeros((*per_row.shape[:-1], 0))
            whole: Floats = np.add.reduceat(per_row, begins, axis=-1)
            return whole
        has_rows = lengths > 0  # `reduceat` would give an empty range the value at its begin
        found = np.zeros((*per_row.shape[:-1], len(sites)))
        if has_rows.any():
            found[..., has_rows] = np.add.reduceat(per_row, begins[has_rows], axis=-1)
        return found


def _with_spare(rows: _Counts) -> _Counts:
    return rows + rows // _SPARE_DIVISOR + _SPARE_ROWS


def any_of_rows(
    holds: NDArray[np.uint8], numbers: Floats, start: Ints, length: Ints, of_none: int
) -> NDArray[np.uint8]:
    """Whether any of the numbers that each site has holds, 1 or 0; [sites].

    Args:
        holds: 1 for each number that does; [numbers].
        numbers: the numbers of all sites, in one column; [1, rows].
        start: the first of each site; [sites].
        length: how many each site has; [sites].
        of_none: the answer of a site that has none.
    """
    found = np.full(len(start), of_none, np.uint8)
    some = length.nonzero()[0]
    if len(some):
        lengths = length[some]
        begins = lengths.cumsum() - lengths
        index = (start[some] - begins).repeat(lengths) + np.arange(int(lengths.sum()))
        each = holds.take(numbers[0].take(index).astype(np.int64))
        found[some] = np.maximum.reduceat(each, begins)
    return found
