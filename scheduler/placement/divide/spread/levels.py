"""Spread constraints as numbers: the group of each candidate site, and what each may hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.division import ReplicasBySlot
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import domain_of

Ints = NDArray[np.int64]

UNKNOWN_PLACE = 0
"""The number of a place that is not known."""
_UNLIMITED = 2**40
"""Replicas or groups; small enough that sums of it fit an int64."""


@dataclass(frozen=True, slots=True)
class Level:
    """One spread constraint over the candidate sites.

    Attributes:
        group: the group of each candidate, numbered from 0; [candidates].
        held: how many kept replicas each group holds; [groups].
        rule: the constraint.
    """

    group: Ints
    held: Ints
    rule: Spread

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return len(self.held)

    @property
    def max_per_group(self) -> int:
        """The most replicas of one group."""
        return max_per_group_of(self.rule)

    @property
    def max_groups(self) -> int:
        """The most groups that may be used; at least those that hold kept replicas."""
        return max(max_groups_of(self.rule), int(np.count_nonzero(self.held)))

    @property
    def min_groups(self) -> int:
        """The fewest groups that must be used."""
        return self.rule.min_groups


def max_per_group_of(rule: Spread) -> int:
    """The most replicas of one group; more than any workload has where the rule names no limit."""
    return _UNLIMITED if rule.max_per_group is None else rule.max_per_group


def max_groups_of(rule: Spread) -> int:
    """The most groups; more than any fleet has where the rule names no limit."""
    return _UNLIMITED if rule.max_groups is None else rule.max_groups


def replicas_by_place(place_numbers: Ints, shares: ReplicasBySlot) -> dict[int, int]:
    """How many replicas each place holds, by its number; `UNKNOWN_PLACE` is one of them.

    Args:
        place_numbers: the number of every site's place; [slot_capacity].
        shares: replicas by slot.
    """
    found: dict[int, int] = {}
    for slot, replicas in shares.items():
        place = place_numbers.item(slot)
        found[place] = found.get(place, 0) + replicas
    return found


def place_numbers_of(fleet: Fleet, by: str) -> Ints:
    """The number of the place of every site; 0 where it is unknown; [slot_capacity]."""
    return fleet.description_column(
        ("place", by), lambda facts: fleet.domain_number(domain_of(facts, by)), np.int64
    )


class JointPlacesCache:
    """The places of several levels as one, by the names of the levels.

    Attributes:
        numbers: the numbers of the joint places, with the version of `Fleet.description_columns`
            that they hold for.
    """

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, ...], tuple[int, Ints]] = {}


def joint_places_of(fleet: Fleet, rules: Sequence[Spread]) -> Ints:
    """The number of every site's place at all levels together; [slot_capacity].

    Sites have the same number if they are in the same place at every level; 0 where the place at
    any level is unknown. Cached until a site changes.
    """
    names = tuple([rule.by for rule in rules])
    numbers = fleet.cache(JointPlacesCache).numbers
    cached = numbers.get(names)
    version = fleet.description_columns.version
    if cached is None or cached[0] != version or len(cached[1]) != fleet.slot_capacity:
        places = np.stack([place_numbers_of(fleet, by) for by in names])
        _, joint = np.unique(places, axis=1, return_inverse=True)
        joint = np.where((places != UNKNOWN_PLACE).all(axis=0), joint.reshape(-1) + 1, 0)
        if len(numbers) >= _MAX_JOINT_PLACES:
            numbers.clear()
        cached = numbers[names] = (version, joint.astype(np.int64))
    return cached[1]


_MAX_JOINT_PLACES = 16


def level_of(fleet: Fleet, slots: Ints, kept: dict[int, int], rule: Spread) -> Level:
    """Numbers the groups of a level in the order of their first candidates.

    The numbers decide between equal groups, so they must not depend on the order in which sites
    joined the fleet.

    Args:
        fleet: the fleet.
        slots: the candidates, cheapest first; each must have a known place at this level.
        kept: replicas that stay, by slot, on candidates or not.
        rule: the constraint.
    """
    names = place_numbers_of(fleet, rule.by)
    holders = [slot for slot in kept if names[slot]]  # an unknown place is not a group
    both = np.concatenate([names[slots], names[np.array(holders, np.int64)]])
    numbers, count = _number_by_first(both)
    held = np.zeros(count, np.int64)
    for number, slot in zip(numbers[len(slots) :].tolist(), holders, strict=True):
        held[number] += kept[slot]
    return Level(numbers[: len(slots)], held, rule)


def _number_by_first(places: Ints) -> tuple[Ints, int]:
    """Numbers places from 0 in the order in which they first occur; also how many there are.

    Without sorting: there are few places, or one per site.
    """
    positions = np.arange(len(places))
    first_at = np.zeros(int(places.max(initial=0)) + 1, np.int64)
    first_at[places[::-1]] = positions[::-1]  # of repeated places the last write stays
    first = first_at[places]
    is_first = first == positions
    numbers: Ints = (is_first.cumsum() - 1)[first]
    return numbers, int(np.count_nonzero(is_first))


class NestingCache:
    """Whether spread levels are nested over all sites, by the sorted names of the levels.

    Attributes:
        answers: the answer, with the version of `Fleet.description_columns` that it holds for.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, ...], tuple[int, bool]] = {}


def are_nested_everywhere(fleet: Fleet, rules: Sequence[Spread]) -> bool:
    """Whether the levels are nested over all sites; cached until a site changes."""
    names = tuple(sorted({rule.by for rule in rules} - {"site"}))
    # A level subdivides itself, and single sites subdivide every level.
    if len(names) < _MIN_LEVELS_TO_CROSS:
        return True
    answers = fleet.cache(NestingCache).answers
    cached = answers.get(names)
    version = fleet.description_columns.version
    if cached is None or cached[0] != version:
        slots = np.flatnonzero(fleet.has_site)
        levels = [
            Level(place_numbers_of(fleet, by)[slots], np.zeros(0, np.int64), Spread(by=by))
            for by in names
        ]
        cached = answers[names] = (version, are_nested(levels))
    return cached[1]


_MIN_LEVELS_TO_CROSS = 2


def are_nested(levels: list[Level]) -> bool:
    """Whether of any two levels one subdivides the groups of the other."""
    return all(
        _refines(one.group, other.group) or _refines(other.group, one.group)
        for index, one in enumerate(levels)
        for other in levels[index + 1 :]
    )


def _refines(fine: Ints, coarse: Ints) -> bool:
    """Whether every group of `fine` is within one group of `coarse`."""
    # A fine group in two coarse groups would be in two pairs.
    pairs = np.unique(np.stack([fine, coarse]), axis=1)
    return bool(len(np.unique(pairs[0])) == pairs.shape[1])


def satisfies(levels: list[Level], replicas: Ints) -> bool:
    """Whether replicas on the candidates meet every level; [candidates]."""
    for level in levels:
        totals = level.held + np.bincount(level.group, replicas, level.group_count).astype(np.int64)
        used = int(np.count_nonzero(totals))
        # Kept replicas may exceed the limit: they are not moved, but none are added to them.
        over = totals > np.maximum(level.max_per_group, level.held)
        if over.any() or not level.min_groups <= used <= level.max_groups:
            return False
    return True
