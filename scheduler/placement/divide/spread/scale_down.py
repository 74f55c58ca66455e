"""Fewer replicas than run, taken away so that as many places as the spread needs are left."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.divide import Ask, Shares, divide
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.spread.levels import places
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]


def fewer_within(ask: Ask, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    """Takes replicas away without giving up groups that the spread needs.

    Fewer are always possible: where the groups that there are do not suffice, as many as can be
    are kept.

    Args:
        ask: what is to be divided; fewer replicas than are kept, or as many.
        fleet: the fleet; it numbers the places.
        rules: the spread that is asked.
    """
    shares = divide(ask)
    if shares is None or not ask.replicas:
        return Division(shares)
    needed = [(places(fleet, rule.by), rule.min_groups) for rule in rules]
    if all(len(_groups_of(shares, names)) >= least for names, least in needed):
        return Division(shares)
    return Division(_keeping_groups(ask, needed))


def _groups_of(shares: Shares, names: Ints) -> set[int]:
    """The places that hold replicas; a place that nobody knows is none."""
    return {int(names[slot]) for slot, count in shares.items() if count > 0} - {0}


def _keeping_groups(ask: Ask, needed: list[tuple[Ints, int]]) -> Shares:
    shares = dict(ask.kept)
    left = ask.kept_total - ask.replicas
    dearest = ask.price.sorted(np.array(sorted(shares), np.int64))[::-1].tolist()
    for slot in dearest:  # all but the last of a site cost no group
        given = min(left, shares[slot] - 1)
        shares[slot] -= given
        left -= given
        if left > 0 and not _is_needed(slot, shares, needed):
            shares[slot] = 0
            left -= 1
    for slot in dearest:
        given = min(left, shares[slot])
        shares[slot] -= given
        left -= given
    return {slot: count for slot, count in shares.items() if count > 0}


def _is_needed(slot: int, shares: Shares, needed: list[tuple[Ints, int]]) -> bool:
    """Whether a level would have too few groups without the last replica of a site."""
    without = {**shares, slot: 0}
    for names, least in needed:
        after = len(_groups_of(without, names))
        if after < least and after < len(_groups_of(shares, names)):
            return True
    return False
