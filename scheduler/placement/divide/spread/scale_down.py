"""Scales down so that replicas are left in as many places as the spread needs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.divide import DivisionRequest, divide
from scheduler.placement.divide.division import Division, ReplicasBySlot, drop_zeros
from scheduler.placement.divide.spread.levels import place_numbers_of
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]


def scale_down_within_spread(
    request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread]
) -> Division:
    """Takes replicas away without giving up groups that the spread needs.

    Scaling down always succeeds: if too few groups hold replicas, as many as possible are kept.

    Args:
        request: the request; it asks at most as many replicas as are kept.
        fleet: the fleet; it numbers the places.
        rules: the spread constraints.
    """
    shares = divide(request)
    if shares is None or not request.replicas:
        return Division(replicas_by_slot=shares)
    needed = [(place_numbers_of(fleet, rule.by), rule.min_groups) for rule in rules]
    if all(len(_used_places_of(shares, names)) >= least for names, least in needed):
        return Division(replicas_by_slot=shares)
    return Division(replicas_by_slot=_scale_down_keeping_groups(request, needed))


def _used_places_of(shares: ReplicasBySlot, names: Ints) -> set[int]:
    """The numbers of the places that hold replicas; an unknown place is not one of them."""
    return {int(names[slot]) for slot, count in shares.items() if count > 0} - {0}


def _scale_down_keeping_groups(
    request: DivisionRequest, needed: list[tuple[Ints, int]]
) -> ReplicasBySlot:
    shares = dict(request.kept)
    surplus = request.kept_total - request.replicas
    most_expensive_first = request.costs.sort_cheapest_first(np.array(sorted(shares), np.int64))[
        ::-1
    ].tolist()
    for slot in most_expensive_first:
        removed = min(surplus, shares[slot] - 1)  # all but the last: this gives up no group
        shares[slot] -= removed
        surplus -= removed
        if surplus > 0 and not _is_needed_for_groups(slot, shares, needed):
            shares[slot] = 0
            surplus -= 1
    # What is still too much is taken although groups are given up for it.
    for slot in most_expensive_first:
        removed = min(surplus, shares[slot])
        shares[slot] -= removed
        surplus -= removed
    return drop_zeros(shares)


def _is_needed_for_groups(
    slot: int, shares: ReplicasBySlot, needed: list[tuple[Ints, int]]
) -> bool:
    """Whether taking the last replica of a site gives up a group that a level needs."""
    without = {**shares, slot: 0}
    for names, least in needed:
        after = len(_used_places_of(without, names))
        if after < least and after < len(_used_places_of(shares, names)):
            return True
    return False
