"""Rows of different number per site, in shared arrays: one block per site.

A site that reports is written into its own block if the new rows fit there, else its block moves to
the end; when half of the space is holes, everything is packed. So one report costs its own rows
only.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FIRST_ROWS = 256


class Ragged:
    """Named columns of floats in blocks, one block per site.

    A column that a row does not name holds 0 there, or the default of that column.
    """

    def __init__(self) -> None:
        self.columns: dict[str, Floats] = {}
        self.start: Ints = np.zeros(0, np.int64)
        self.length: Ints = np.zeros(0, np.int64)
        self._space: Ints = np.zeros(0, np.int64)
        self._capacity = _FIRST_ROWS
        self._end = 0
        self._holes = 0

    def grow_sites(self, sites: int) -> None:
        """Makes room for `sites` blocks."""
        more = sites - len(self.start)
        if more > 0:
            for name in ("start", "length", "_space"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more, np.int64)]))

    def column(self, name: str) -> Floats:
        """One column over all rows; made of zeros when nobody has it yet."""
        found = self.columns.get(name)
        if found is None:
            found = self.columns[name] = np.zeros(self._capacity)
        return found

    def write(self, site: int, rows: int, values: dict[str, list[float]]) -> None:
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
        for name in values:
            self.column(name)
        for name, column in self.columns.items():
            given = values.get(name)
            column[begin : begin + rows] = 0.0 if given is None else given

    def _move(self, site: int, rows: int) -> None:
        self._holes += int(self._space[site])
        self._space[site] = self.length[site] = 0
        if self._end + rows > self._capacity or self._holes > max(_FIRST_ROWS, self._end // 2):
            self._pack(rows)
        self.start[site] = self._end
        self._space[site] = rows
        self._end += rows

    def _pack(self, more: int) -> None:
        kept = np.flatnonzero(self.length)
        index = self.rows_of(kept)
        needed = len(index) + more
        self._capacity = max(_FIRST_ROWS, needed + needed // 2)
        for name, column in self.columns.items():
            packed = np.zeros(self._capacity)
            packed[: len(index)] = column[index]
            self.columns[name] = packed
        lengths = self.length[kept]
        self._space[:] = 0
        self._space[kept] = lengths
        self.start[kept] = np.cumsum(lengths) - lengths
        self._end = len(index)
        self._holes = 0

    def rows_of(self, sites: Ints) -> Ints:
        """The row numbers of several sites, one site after the other."""
        lengths = self.length[sites]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        offsets = self.start[sites] - (ends - lengths)
        return np.repeat(offsets, lengths) + np.arange(total)

    def sums(self, sites: Ints, per_row: Floats) -> Floats:
        """Sums values of `rows_of(sites)` by site; [len(sites)]."""
        ends = np.cumsum(self.length[sites])
        padded = np.concatenate([np.zeros(1), np.cumsum(per_row)])
        per_site: Floats = padded[ends] - padded[ends - self.length[sites]]
        return per_site
