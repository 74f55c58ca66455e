"""Spread: over how many places the replicas stand, and how many stand in each.

For CostOptimal the cheapest division is found. Most are found without a search, with a proof: when
levels are nested, filling the cheapest site first within the caps is optimal, and if the number of
groups comes out right, nothing is cheaper. Too few groups at one level are mended by opening the
groups whose first replica is cheapest, which is optimal too. Only what is left is searched
(`search.py`), exact on nested levels and bounded on crossed ones.

Other strategies choose groups by what they divide by, and divide within them; where that leads
nowhere the cheapest division is taken, so that what can be spread is spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.cost.site_costs import Price
from scheduler.placement.divide.divide import Ask, Shares, by_price, divide
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.spread.enumerate_groups import cheapest_groups
from scheduler.placement.divide.spread.fill import Lazy, Tally, filled
from scheduler.placement.divide.spread.levels import (
    UNLIMITED,
    Level,
    are_nested,
    are_nested_everywhere,
    level_of,
    places,
    satisfies,
)
from scheduler.placement.divide.spread.scale_down import fewer_within
from scheduler.placement.divide.spread.search import search
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Field:
    """Candidates in order of cost, with what each may get, and the levels that bind them.

    Attributes:
        slots: candidates, cheapest first; [candidates].
        more: how many replicas each could get; [candidates].
        levels: the constraints.
    """

    slots: Ints
    more: Ints
    levels: list[Level]


def divide_spread(ask: Ask, fleet: Fleet) -> Division:
    """Divides within the spread that is asked; preferred levels are dropped if they must be."""
    if not ask.demand.spread:
        return Division(divide(ask))
    rules = list(ask.demand.spread)
    preferred = [rule for rule in rules if not rule.required]
    while True:
        division = _within(ask, fleet, rules)
        if division.shares is not None or division.lacks_room or not preferred:
            break
        rules.remove(preferred.pop())
    if division.shares is None:
        has_room = not division.lacks_room and divide(ask) is not None
        return replace(division, spread_failed=has_room)
    dropped = len(ask.demand.spread) - len(rules)
    notes = (f"{dropped} preferred spread could not be met",) if dropped else ()
    return replace(division, notes=(*division.notes, *notes))


def _within(ask: Ask, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    if not rules:
        return Division(divide(ask))
    missing = ask.replicas - ask.kept_total
    if ask.demand.strategy == "Duplicated":
        return _duplicated(ask, fleet, rules)
    if missing <= 0:
        return fewer_within(ask, fleet, rules)
    if any(rule.min_groups > ask.replicas for rule in rules):
        return Division(None)
    if ask.demand.strategy == "CostOptimal" and are_nested_everywhere(fleet, rules):
        quick = _quickly(ask, fleet, rules, missing)
        if quick is not None:
            return quick
    return _among_all(ask, fleet, rules)


def _among_all(ask: Ask, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    """Looks at all candidates."""
    missing = ask.replicas - ask.kept_total
    more = ask.more_at(ask.open)
    if int(more.sum()) < missing:
        return Division(None, lacks_room=True)
    field = _field(ask, fleet, rules, more)
    if ask.demand.strategy != "CostOptimal":
        shares = _by_strategy(ask, field)
        if shares is not None:
            return Division(shares)
    if _cannot_hold(field, missing):
        return Division(None)
    is_tried = ask.demand.strategy == "CostOptimal" and are_nested_everywhere(fleet, rules)
    seats = None if is_tried else _without_search(field, missing, nested=are_nested(field.levels))
    return _cheapest(ask, field, missing) if seats is None else Division(_shares(ask, field, seats))


def _quickly(ask: Ask, fleet: Fleet, rules: Sequence[Spread], missing: int) -> Division | None:
    """Looks at the cheapest sites only, as long as what is found there is proven the cheapest."""
    sites = Lazy(by_price(ask, missing))
    shares = filled(sites, [_tally(ask, fleet, rule) for rule in rules], missing)
    if shares is None and len(rules) == 1 and rules[0].min_groups > 1:
        tally = _tally(ask, fleet, rules[0])
        shares = filled(sites, [tally], missing, opened=_opened(sites, tally, missing))
    if shares is None:
        return None
    for slot, replicas in ask.kept.items():
        shares[slot] = shares.get(slot, 0) + replicas
    return Division(shares)


def _opened(sites: Lazy, tally: Tally, missing: int) -> Shares:
    """One replica for each group whose first replica is cheapest, until there are enough groups.

    Replacing the dearest replica of a group that has several by the cheapest of a group that is not
    used never costs more than doing it with any other unused group, so this is optimal at one
    level.
    """
    opened: Shares = {}
    for slot, _ in sites:
        if tally.has_enough or len(opened) >= missing:
            break
        if tally.is_new(slot) and tally.left(slot) > 0:
            opened[slot] = 1
            tally.count(slot, 1)
    return opened


def _tally(ask: Ask, fleet: Fleet, rule: Spread) -> Tally:
    place = places(fleet, rule.by)
    held: dict[int, int] = {}
    for slot, replicas in ask.kept.items():
        if place[slot]:
            held[int(place[slot])] = held.get(int(place[slot]), 0) + replicas
    return Tally(
        place,
        held,
        cap=UNLIMITED if rule.max_per_group is None else rule.max_per_group,
        most=max(len(held), UNLIMITED if rule.max_groups is None else rule.max_groups),
        least=rule.min_groups,
    )


def _field(ask: Ask, fleet: Fleet, rules: Sequence[Spread], more: Ints) -> Field:
    """Sites with room in order of cost, without those whose place nobody knows."""
    room = np.zeros(fleet.capacity, np.int64)
    room[ask.open] = np.minimum(more, ask.replicas)
    slots = ask.open[more > 0]
    for rule in rules:
        slots = slots[places(fleet, rule.by)[slots] > 0]
    slots = ask.price.sorted(slots)
    more = room[slots]
    levels = [level_of(fleet, slots, ask.kept, rule) for rule in rules]
    return Field(slots, more, levels)


def _without_search(field: Field, missing: int, *, nested: bool) -> Ints | None:
    """What `_quickly` does, over all candidates."""
    seats = _greedy(field, missing, np.zeros(len(field.slots), np.int64))
    if seats is not None and nested and satisfies(field.levels, seats):
        return seats
    if seats is not None and len(field.levels) == 1:
        seats = _with_more_groups(field, missing)
        if seats is not None and satisfies(field.levels, seats):
            return seats
    return None


def _cheapest(ask: Ask, field: Field, missing: int) -> Division:
    cost = weighed(ask.price, field.slots)
    limited = _one_level(field)
    if limited is not None:
        more, level = limited
        tried = cheapest_groups(more, cost, level, missing)
        if tried is not None and tried.seats is None:
            return Division(None)
        if tried is not None and tried.seats is not None and satisfies(field.levels, tried.seats):
            return Division(_shares(ask, field, tried.seats))
    found = search(field.more, cost, field.levels, missing)
    if found is None:
        return Division(None)
    return Division(_shares(ask, field, found.seats), is_optimal=found.is_optimal, gap=found.gap)


def _greedy(field: Field, missing: int, seats: Ints) -> Ints | None:
    """Fills the cheapest site first, within the caps of every level; `seats` is where it starts."""
    seats = seats.copy()
    left = missing - int(seats.sum())
    limits = [
        np.maximum(level.cap - level.held, 0)
        - np.bincount(level.group, seats, level.groups).astype(np.int64)
        for level in field.levels
    ]
    for place in range(len(field.slots)):
        if left <= 0:
            break
        taken = min(left, int(field.more[place] - seats[place]))
        for level, limit in zip(field.levels, limits, strict=True):
            taken = min(taken, int(limit[level.group[place]]))
        if taken <= 0:
            continue
        seats[place] += taken
        left -= taken
        for level, limit in zip(field.levels, limits, strict=True):
            limit[level.group[place]] -= taken
    return seats if left == 0 else None


def _one_level(field: Field) -> tuple[Ints, Level] | None:
    """Room and level, where one level limits the number of groups and others single sites only."""
    single = [level for level in field.levels if level.groups >= len(field.slots)]
    coarse = [level for level in field.levels if level.groups < len(field.slots)]
    if len(coarse) != 1 or any(level.most < level.groups for level in single):
        return None
    more = field.more
    for level in single:
        more = np.minimum(more, np.maximum(level.cap - level.held, 0)[level.group])
    return more, coarse[0]


def weighed(price: Price, slots: Ints) -> Floats:
    """Cost by which the unknown ranks behind the known; [len(slots)].

    One more unknown term outweighs any sum of money.
    """
    cny = price.cny[slots]
    most = float(np.abs(cny).max(initial=0.0))
    weighed: Floats = cny + price.unknown[slots] * (1.0 + 2.0 * most)
    return weighed


def _with_more_groups(field: Field, missing: int) -> Ints | None:
    """Opens the groups whose first replica is cheapest (`_opened`), then fills up."""
    level = field.levels[0]
    seats = np.zeros(len(field.slots), np.int64)
    used = level.held > 0
    for place in range(len(field.slots)):  # cheapest first
        if int(np.count_nonzero(used)) >= level.least or int(seats.sum()) >= missing:
            break
        group = level.group[place]
        if not used[group] and level.cap > 0:
            used[group] = True
            seats[place] = 1
    return _greedy(field, missing, seats)


def _cannot_hold(field: Field, missing: int) -> bool:
    """Whether even the roomiest groups of a level, as many as may be used, are too few.

    Or hold too little, though as many are used as must be.
    """
    more = field.more
    for level in sorted(field.levels, key=lambda each: -each.groups):  # the finest first
        room = np.bincount(level.group, more, level.groups)
        room = np.minimum(room, np.maximum(level.cap - level.held, 0))
        if np.count_nonzero((room > 0) | (level.held > 0)) < level.least:
            return True
        fresh = np.sort(room[level.held == 0])[::-1]
        most = level.most - int(np.count_nonzero(level.held))
        if room[level.held > 0].sum() + fresh[: max(0, most)].sum() < missing:
            return True
        if level.groups == len(field.slots):  # single sites: what one may hold is known now
            more = np.minimum(more, room[level.group]).astype(np.int64)
    return False


def _by_strategy(ask: Ask, field: Field) -> Shares | None:
    """Divides by the strategy within the roomiest groups, and caps what a group has too much."""
    open_slots = _roomiest_groups(field)
    caps: Shares = dict(ask.caps)
    for _ in range(1 + sum(level.groups for level in field.levels)):
        shares = divide(replace(ask, open=np.sort(open_slots), caps=caps))
        if shares is None:
            return None
        seats = np.array(
            [shares.get(slot, 0) - ask.kept.get(slot, 0) for slot in field.slots.tolist()], np.int64
        )
        if satisfies(field.levels, seats):
            return shares
        if not _cap_the_fullest(field, seats, caps):
            return None
    return None


def _roomiest_groups(field: Field) -> Ints:
    allowed = np.ones(len(field.slots), np.bool_)
    for level in field.levels:
        weight = np.bincount(level.group, np.where(allowed, field.more, 0), level.groups)
        weight = np.minimum(weight, level.cap)
        order = np.lexsort((np.arange(level.groups), -weight, level.held == 0))
        chosen = np.zeros(level.groups, np.bool_)
        chosen[order[: min(level.most, level.groups)]] = True
        allowed &= chosen[level.group]
    return field.slots[allowed]


def _cap_the_fullest(field: Field, seats: Ints, caps: Shares) -> bool:
    """Divides the cap of the first group that has too much among its sites, in proportion."""
    for level in field.levels:
        totals = level.held + np.bincount(level.group, seats, level.groups).astype(np.int64)
        for group in np.flatnonzero(totals > np.maximum(level.cap, level.held)).tolist():
            members = np.flatnonzero(level.group == group)
            allowed = max(0, level.cap - int(level.held[group]))
            mine = seats[members]
            parts = mine * allowed // max(1, int(mine.sum()))
            for extra in np.argsort(-mine, kind="stable")[: allowed - int(parts.sum())]:
                parts[extra] += 1
            for member, part in zip(members.tolist(), parts.tolist(), strict=True):
                caps[int(field.slots[member])] = part
            return True
    return False


def _duplicated(ask: Ask, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    """All replicas on every site that the levels allow, cheapest sites first."""
    whole = divide(ask)
    if whole is None:
        return Division(None)
    slots = ask.price.sorted(np.array(sorted(whole), np.int64))
    used: list[dict[int, int]] = [{} for _ in rules]
    shares: Shares = {}
    for slot in slots.tolist():
        mine = [int(places(fleet, rule.by)[slot]) for rule in rules]
        if slot in ask.kept or all(
            _may_use(rule, groups, place, whole[slot])
            for rule, groups, place in zip(rules, used, mine, strict=True)
        ):
            shares[slot] = whole[slot]
            for groups, place in zip(used, mine, strict=True):
                groups[place] = groups.get(place, 0) + whole[slot]
    enough = all(len(groups) >= rule.min_groups for rule, groups in zip(rules, used, strict=True))
    return Division(shares if enough else None)


def _may_use(rule: Spread, groups: dict[int, int], place: int, replicas: int) -> bool:
    if not place:
        return False
    if rule.max_per_group is not None and groups.get(place, 0) + replicas > rule.max_per_group:
        return False
    return rule.max_groups is None or place in groups or len(groups) < rule.max_groups


def _shares(ask: Ask, field: Field, seats: Ints) -> Shares:
    shares = dict(ask.kept)
    for slot, more in zip(field.slots.tolist(), seats.tolist(), strict=True):
        if more > 0:
            shares[slot] = shares.get(slot, 0) + more
    return shares
