from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]

INTERFACE: int
SOURCE: str  # digest of what it was built from; build_kernel.py adds it
MAX_COLUMNS: int

class _Figures(Protocol):  # what is read of a SiteVector; fleet, a higher package, defines it
    @property
    def value(self) -> Floats: ...

def sum_terms(terms: Sequence[tuple[object, float, _Figures]], slot_capacity: int) -> Floats: ...
def apply_grant_rule(
    first_refusal_ranks: Bytes,
    grant_bits_in_play: Ints,
    accepted_bits: Ints,
    passed: Bytes,
    rank: int,
) -> None: ...
def count_ranks(first_refusal_ranks: Bytes, max_rank: int) -> list[int]: ...
def merge_ranks(one: Bytes, other: Bytes, third: Bytes | None) -> tuple[Bytes, Ints]: ...
def any_of_rows(
    holds: Bytes, numbers: Floats, start: Ints, length: Ints, of_none: int
) -> Bytes: ...

class Rows:
    arrays: tuple[Floats, Ints, Ints, Ints, Ints, Ints, Floats, Ints]
    def __init__(
        self,
        matrix: Floats,
        start: Ints,
        length: Ints,
        cards: Ints,
        versions: Ints,
        read_versions: Ints,
        headroom: Floats,
        writes: Ints,
        read: Callable[[int], None],
    ) -> None: ...

class Topology:
    def __init__(
        self,
        domains: NDArray[np.int32] | None,
        one_per_domain: bool,
        zone_skew: float,
        zone_least: float,
        in_zone: Bytes | None,
        host_skew: float,
        host_least: float,
        is_host: Bytes | None,
        lost_at: Callable[[int], float],
    ) -> None: ...

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
        worst_case: Callable[[int], tuple[int, bool]],
        wanted: int,
        topology: Topology | None = None,
    ) -> None: ...
    def replicas_at(self, slots: Ints) -> Ints: ...
    def repeated_orders(self, slot: int, replicas: int, most_orders: int) -> int: ...
    def is_exact_at_all(self, slots: Ints, most: int) -> bool: ...
    def replicas_by_sums(self, slots: Ints, in_flight: Floats) -> Ints: ...
    def held_by_in_flight(self, slots: Ints, in_flight: Floats) -> list[int]: ...
    def count_fragmented(
        self, slots: Ints, sums: Ints, replicas: int, full: FullSiteTracker | None
    ) -> int: ...
    def cheapest(
        self,
        slots: Ints,
        cny: Floats,
        unknown: Ints | None,
        name_hashes: NDArray[np.uint64],
        salt: int,
        full: FullSiteTracker | None,
    ) -> Cheapest: ...

class FullSiteTracker:
    def __init__(
        self, full_at_versions: Ints, versions: Ints, make_smallest: Callable[[], Fit]
    ) -> None: ...

class Cheapest:
    def __iter__(self) -> Iterator[tuple[int, int]]: ...
    def __next__(self) -> tuple[int, int]: ...
    def fill(self, shares: dict[int, int], missing: int) -> bool: ...
    def cheapest_by_group(self, groups: Ints, missing: int) -> tuple[Ints, Ints]: ...

class NestedGroups:
    def __init__(
        self,
        caps: Ints,
        cost: Floats,
        fine: Ints,
        coarse: Ints,
        fine_left: Ints,
        coarse_left: Ints,
        fine_used: Bytes,
        coarse_used: Bytes,
    ) -> None: ...
    def divide(
        self,
        missing: int,
        fine_least: int,
        fine_most: int,
        coarse_least: int,
        coarse_most: int,
        max_steps: int,
    ) -> tuple[Ints | None, float | None, float | None]: ...
