"""Rows of different number per site, in shared arrays: one block per site.

A site that reports is written into its own block if the new rows fit there, else its block moves to
the end; when half of the space is holes, everything is packed. So one report costs its own rows
only. Columns are the rows of one matrix, so that several are read in one step.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FIRST_ROWS = 256
_FIRST_COLUMNS = 8


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

    def column(self, name: str) -> Floats:
        """One column over all rows."""
        found: Floats = self.matrix[self.number(name)]
        return found

    def write(self, site: int, rows: int, values: Mapping[str, Sequence[float]]) -> None:
        """Replaces a site's rows.

        Args:
            site: the site's slot.
            rows: how many rows.
            values: by column, one number per row. Columns that are left out become 0.
        """
        if rows > self._space[site]:
            self._move(site, rows)
        self.length[site] = rows
        begin = int(self.start[site])
        numbers = [self.number(name) for name in values]
        self.matrix[:, begin : begin + rows] = 0.0
        if numbers:
            self.matrix[numbers, begin : begin + rows] = np.array(list(values.values()))

    def append(self, site: int, rows: int, values: Mapping[str, Sequence[float]]) -> None:
        """Adds rows to a site; its block grows by doubling, so that many small steps stay cheap."""
        held = int(self.length[site])
        if held + rows > self._space[site]:
            begin = int(self.start[site])
            kept = self.matrix[:, begin : begin + held].copy()
            self._move(site, max(4, 2 * (held + rows)))
            begin = int(self.start[site])
            self.matrix[: len(kept), begin : begin + held] = kept
        begin = int(self.start[site]) + held
        numbers = [self.number(name) for name in values]
        self.matrix[:, begin : begin + rows] = 0.0
        self.matrix[numbers, begin : begin + rows] = np.array(list(values.values()))
        self.length[site] = held + rows

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
        lengths = self.length[sites]
        equal = _equal(lengths)
        if equal is not None:
            return np.add.outer(self.start[sites], np.arange(equal)).ravel()
        ends = lengths.cumsum()
        offsets = self.start[sites] - (ends - lengths)
        index = np.repeat(offsets, lengths) + np.arange(int(ends[-1]))
        return index.astype(np.int64, copy=False)

    def sums(self, sites: Ints, per_row: Floats) -> Floats:
        """Sums values of `rows_of(sites)` by site; [len(sites)]."""
        lengths = self.length[sites]
        equal = _equal(lengths)
        if equal is not None:
            summed: Floats = per_row.reshape(len(sites), equal).sum(axis=1)
            return summed
        ends = lengths.cumsum()
        padded = np.concatenate([np.zeros(1), per_row.cumsum()])
        per_site: Floats = padded[ends] - padded[ends - lengths]
        return per_site


def _equal(lengths: Ints) -> int | None:
    """The length that all share; None when they differ."""
    if not len(lengths):
        return 0
    first = int(lengths[0])
    return first if (lengths == first).all() else None
