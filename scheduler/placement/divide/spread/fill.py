"""Fills the cheapest sites within the limits of a spread, without reading more expensive ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.division import ReplicasBySlot

Ints = NDArray[np.int64]


class LazySites:
    """Sites in order of cost with their capacity, computed once and only as far as is read."""

    def __init__(self, sites: Iterator[tuple[int, int]]) -> None:
        self._sites = sites
        self._seen: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Slots and how many more replicas each could get."""
        yield from self._seen
        for each in self._sites:
            self._seen.append(each)
            yield each


@dataclass(slots=True, kw_only=True)
class GroupCounts:
    """How many replicas each group of one level holds, by the number of the place.

    Attributes:
        place_numbers: the number of every site's place; 0 where it is unknown; [slot_capacity].
        held: replicas by place.
        max_per_group: the most replicas of one group.
        max_groups: the most groups.
        min_groups: the fewest groups.
    """

    place_numbers: Ints
    held: dict[int, int]
    max_per_group: int
    max_groups: int
    min_groups: int

    def remaining_at(self, slot: int) -> int:
        """How many more replicas the group of a site may get; 0 if its place is unknown."""
        place = self.place_numbers.item(slot)
        return self.max_per_group - self.held.get(place, 0) if place else 0

    def is_group_unused(self, slot: int) -> bool:
        """Whether the group of a site holds nothing yet."""
        return self.place_numbers.item(slot) not in self.held

    def add_replicas(self, slot: int, more: int) -> bool:
        """Counts replicas at a site; returns False if that makes too many groups."""
        place = self.place_numbers.item(slot)
        self.held[place] = self.held.get(place, 0) + more
        return len(self.held) <= self.max_groups

    @property
    def has_enough_groups(self) -> bool:
        """Whether at least `min_groups` groups hold replicas."""
        return len(self.held) >= self.min_groups


def fill_cheapest_first(
    sites: LazySites,
    group_counts: Sequence[GroupCounts],
    missing: int,
    *,
    initial: ReplicasBySlot | None = None,
) -> ReplicasBySlot | None:
    """New replicas by slot, cheapest sites first; None: that does not meet every level.

    Args:
        sites: the sites in order of cost.
        group_counts: one for each level, with what its groups hold already; they are changed.
        missing: how many replicas to place, those of `initial` included.
        initial: new replicas by slot that `group_counts` counts already.
    """
    shares: ReplicasBySlot = dict(initial or {})
    missing -= sum(shares.values())
    for slot, additional in sites:
        if missing <= 0:
            break
        added = min(additional - shares.get(slot, 0), missing)  # `initial` has used some of it
        for counts in group_counts:
            added = min(added, counts.remaining_at(slot))
        if added <= 0:
            continue
        shares[slot] = shares.get(slot, 0) + added
        missing -= added
        for counts in group_counts:
            if not counts.add_replicas(slot, added):
                return None
    return (
        shares
        if missing <= 0 and all(counts.has_enough_groups for counts in group_counts)
        else None
    )
