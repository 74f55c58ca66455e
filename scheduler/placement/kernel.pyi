from collections.abc import Collection, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]

INTERFACE: int
SOURCE: str  # digest of what it was built from; build_kernel.py adds it
MOST_COLUMNS: int

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
    def fragmented(self, slots: Ints, flying: Floats, replicas: int) -> int: ...
    def cheapest(
        self,
        slots: Ints,
        cny: Floats,
        unknown: Ints | None,
        names: NDArray[np.uint64],
        salt: int,
    ) -> Cheapest: ...

class Cheapest:
    def __iter__(self) -> Iterator[tuple[int, int]]: ...
    def __next__(self) -> tuple[int, int]: ...
    def fill(self, shares: dict[int, int], missing: int) -> bool: ...
