"""Slow and simple answers to check fast ones against; they share no code with the engine."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

Division = tuple[int, ...]


def divisions(total: int, caps: Sequence[int]) -> Iterator[Division]:
    """Every way to divide `total` among places with these caps."""
    for division in product(*(range(min(cap, total) + 1) for cap in caps)):
        if sum(division) == total:
            yield division


def cheapest_cost(
    total: int,
    caps: Sequence[int],
    costs: Sequence[float],
    allowed: Callable[[Division], bool],
) -> float | None:
    """The least cost of a division that is allowed; None when none is."""
    found = [
        sum(count * cost for count, cost in zip(division, costs, strict=True))
        for division in divisions(total, caps)
        if allowed(division)
    ]
    return min(found, default=None)


def spread_allows(
    replicas: Division, groups: Sequence[str], min_groups: int, max_groups: int, max_per_group: int
) -> bool:
    """Whether a division meets one level of spread."""
    totals: dict[str, int] = {}
    for count, group in zip(replicas, groups, strict=True):
        if count:
            totals[group] = totals.get(group, 0) + count
    return (
        min_groups <= len(totals) <= max_groups and max(totals.values(), default=0) <= max_per_group
    )
