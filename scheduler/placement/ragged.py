"""Rows of different number per site, in shared arrays: one block per site.

A site that reports is written into its own block if the new rows fit there, else its block moves to
the end; when half of the space is holes, everything is packed. So one report costs its own rows
only. Columns are the rows of one matrix, so that several are read in one step.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FIRST_ROWS = 256
_FIRST_COLUMNS = 16

Part = tuple[int, Mapping[int, Sequence[float]]]
"""Some rows of a site: how many, and by column number one value per row."""


class Ragged:
    """Named columns of floats in blocks, one block per site; what a row does not name is 0.

    Attributes:
        number_of: the columns by name, as rows of `matrix`.
        matrix: [columns, rows].
        start: the first row of each site; [sites].
        length: how many rows each site has; [sites].
    """

    def __init__(self) -> None:
        self.number_of: dict[str, int] = {}
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
        found = self.number_of.get(name)
        if found is None:
            found = self.number_of[name] = len(self.number_of)
            if found >= len(self.matrix):
                self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])
        return found

    def numbers(self, names: Iterable[str]) -> list[int]:
        """The numbers of several columns. `matrix` is another one afterwards if some were made."""
        return [self.number(name) for name in names]

    def column(self, name: str) -> Floats:
        """One column over all rows."""
        number = self.number(name)  # first: it may replace the matrix
        found: Floats = self.matrix[number]
        return found

    def write(self, site: int, parts: Sequence[Part]) -> None:
        """Replaces a site's rows.

        Args:
            site: the site's slot.
            parts: its rows; columns that a part leaves out become 0.
        """
        rows = sum(count for count, _ in parts)
        if rows > self._space[site]:
            self._move(site, rows)
        self.length[site] = rows
        begin = int(self.start[site])
        self.matrix[:, begin : begin + rows] = 0.0
        for count, columns in parts:
            if columns:
                self.matrix[list(columns), begin : begin + count] = list(columns.values())
            begin += count

    def append(self, site: int, row: Mapping[int, float]) -> None:
        """Adds a row to a site; blocks grow by doubling, so that many small steps stay cheap."""
        held = int(self.length[site])
        if held >= self._space[site]:
            begin = int(self.start[site])
            kept = self.matrix[:, begin : begin + held].copy()
            self._move(site, max(4, 2 * held))
            begin = int(self.start[site])
            self.matrix[:, begin : begin + held] = kept
        place = int(self.start[site]) + held
        matrix = self.matrix
        matrix[:, place] = 0.0
        for number, value in row.items():
            matrix[number, place] = value
        self.length[site] = held + 1

    def _move(self, site: int, rows: int) -> None:
        self._holes += int(self._space[site])
        self._space[site] = self.length[site] = 0
        is_full = self._end + rows > self.matrix.shape[1]
        if is_full or self._holes > max(_FIRST_ROWS, self._end // 2):
            self._pack(rows)
        self.start[site] = self._end
        self._space[site] = rows
        self._end += rows

    def _pack(self, more: int) -> None:
        kept = np.flatnonzero(self.length)
        index = self.rows_of(kept)
        needed = len(index) + more
        packed = np.zeros((len(self.matrix), max(_FIRST_ROWS, needed + needed // 2)))
        packed[:, : len(index)] = self.matrix[:, index]
        self.matrix = packed
        lengths = self.length[kept]
        self._space[:] = 0
        self._space[kept] = lengths
        self.start[kept] = np.cumsum(lengths) - lengths
        self._end = len(index)
        self._holes = 0

    def rows_of(self, sites: Ints) -> Ints:
        """The row numbers of several sites, one site after the other."""
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
