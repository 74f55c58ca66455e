"""Filling the cheapest sites within the caps of a spread, without looking at dearer ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.divide.divide import Shares

Ints = NDArray[np.int64]


class Lazy:
    """Sites in order of cost with their room; computed once, and only as far as anyone reads."""

    def __init__(self, sites: Iterator[tuple[int, int]]) -> None:
        self._sites = sites
        self._seen: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Slots and how many more replicas each could get."""
        yield from self._seen
        for each in self._sites:
            self._seen.append(each)
            yield each


@dataclass(slots=True)
class Tally:
    """How many replicas each group of one level holds, by the number of the place.

    Attributes:
        place: the number of every site's place; 0 where it is unknown; [capacity].
        held: replicas by place.
        cap: the most replicas of one group.
        most: the most groups.
        least: the fewest groups.
    """

    place: Ints
    held: dict[int, int]
    cap: int
    most: int
    least: int

    def left(self, slot: int) -> int:
        """How many more the group of a site may get; none where its place is unknown."""
        place = int(self.place[slot])
        return self.cap - self.held.get(place, 0) if place else 0

    def is_new(self, slot: int) -> bool:
        """Whether the group of a site holds nothing yet."""
        return int(self.place[slot]) not in self.held

    def count(self, slot: int, more: int) -> bool:
        """Counts replicas; False: that makes too many groups."""
        place = int(self.place[slot])
        self.held[place] = self.held.get(place, 0) + more
        return len(self.held) <= self.most

    @property
    def has_enough(self) -> bool:
        """Whether there are enough groups."""
        return len(self.held) >= self.least


def filled(
    sites: Lazy, tallies: Sequence[Tally], missing: int, *, opened: Shares | None = None
) -> Shares | None:
    """New replicas by slot, cheapest sites first; None where that does not meet every level.

    Args:
        sites: in order of cost.
        tallies: the levels, with what they hold already; they are changed.
        missing: how many replicas to place.
        opened: replicas that the tallies count already.
    """
    shares: Shares = dict(opened or {})
    missing -= sum(shares.values())
    for slot, more in sites:
        if missing <= 0:
            break
        taken = min(more - shares.get(slot, 0), missing)
        for tally in tallies:
            taken = min(taken, tally.left(slot))
        if taken <= 0:
            continue
        shares[slot] = shares.get(slot, 0) + taken
        missing -= taken
        for tally in tallies:
            if not tally.count(slot, taken):
                return None
    return shares if missing <= 0 and all(tally.has_enough for tally in tallies) else None
