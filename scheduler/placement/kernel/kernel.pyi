from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.fleet.site_vector import Figures

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]

INTERFACE: int
SOURCE: str  # digest of what it was built from; build_kernel.py adds it
MOST_COLUMNS: int

def added(terms: Sequence[tuple[object, float, Figures]], capacity: int) -> Floats: ...
def judged(first: Bytes, bits: Ints, accepted: Ints, holds: Bytes, rank: int) -> None: ...
def tallied(first: Bytes, most: int) -> list[int]: ...
def admitted(one: Bytes, other: Bytes, third: Bytes | None) -> tuple[Bytes, Ints]: ...

class Rows:
    arrays: tuple[Floats, Ints, Ints, Ints]
    def __init__(self, matrix: Floats, start: Ints, length: Ints, cards: Ints) -> None: ...

class Fit:
    def __init__(
        self,
        rows: Rows,
        columns: Collection[int],
        asked: Collection[float],
        gpu_cards: int,
        gpu_milli: float,
        one_per_node: bool,
        chosen: Bytes | None,
        sets: Ints | None,
        permitted: Bytes | None,
    ) -> None: ...
    def rooms(self, slots: Ints) -> Ints: ...
    def sums(self, slots: Ints, flying: Floats) -> Ints: ...
    def fragmented(self, slots: Ints, sums: Ints, replicas: int, full: Full | None) -> int: ...
    def cheapest(
        self,
        slots: Ints,
        cny: Floats,
        unknown: Ints | None,
        name_hashes: NDArray[np.uint64],
        salt: int,
        full: Full | None,
    ) -> Cheapest: ...

class Full:
    def __init__(self, stamp: Ints, versions: Ints, smallest: Fit, largest: Fit) -> None: ...

class Cheapest:
    def __iter__(self) -> Iterator[tuple[int, int]]: ...
    def __next__(self) -> tuple[int, int]: ...
    def fill(self, shares: dict[int, int], missing: int) -> bool: ...
