"""Ordered site groups: the first is filled before the next is touched.

A division resumes at the group that worked last, so that a workload that moved on does not try its
first group again with every replica; where that group and the later ones are full, the earlier ones
are asked once more, from the first. Spread counts over all groups that are in use: it is the
cheapest of the divisions that leave the fewest replicas to later groups. Another strategy divides
so only as long as one group will do; the order of the groups goes before the evenness of shares.
"""

import numpy as np
from msgspec.structs import replace

from scheduler.placement.divide.disaster_recovery import PRESET, divide_two_places
from scheduler.placement.divide.divide import Ask, Shares
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.spread.spread import divide_spread
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import in_group


def divide_in_groups(ask: Ask, fleet: Fleet) -> Division:
    """Divides within the first group that has room, flowing over into the next ones."""
    demand = ask.demand
    if demand.preset == PRESET and demand.replicas > 0:
        return divide_two_places(ask, fleet)
    if not demand.site_groups or demand.strategy == "Duplicated" or ask.replicas <= ask.kept_total:
        return divide_spread(ask, fleet)
    members = _members(ask, fleet)
    names = [each.name for each in demand.site_groups]
    begin = names.index(demand.last_group) if demand.last_group in names else 0
    members, names = members[begin:] + members[:begin], names[begin:] + names[:begin]
    divided = _widening if demand.spread else _overflowing
    return divided(ask, fleet, members, names)


def _members(ask: Ask, fleet: Fleet) -> list[list[int]]:
    """The open slots of each group; a site belongs to the first group that holds it."""
    members: list[list[int]] = [[] for _ in ask.demand.site_groups]
    for slot in ask.open.tolist():
        facts = fleet.facts[slot]
        for place, group in enumerate(ask.demand.site_groups):
            if facts is not None and in_group(group, facts):
                members[place].append(slot)
                break
    return members


def _overflowing(ask: Ask, fleet: Fleet, members: list[list[int]], names: list[str]) -> Division:
    shares: Shares = dict(ask.kept)
    for slots, name in zip(members, names, strict=True):
        missing = ask.replicas - sum(shares.values())
        open_here = np.array(slots, np.int64)
        room = int(ask.more_at(open_here).sum()) if slots else 0
        if room <= 0:
            continue
        part = replace(
            ask,
            replicas=sum(shares.values()) + min(room, missing),
            kept=shares,
            open=open_here,
        )
        division = divide_spread(part, fleet)
        if division.shares is None:
            continue
        shares = division.shares
        if sum(shares.values()) == ask.replicas:
            return replace(division, group=name)
    return Division(None)


def _widening(ask: Ask, fleet: Fleet, members: list[list[int]], names: list[str]) -> Division:
    slots: list[int] = []
    division = Division(None)
    later = ask.price.unknown.copy()
    most = int(later.max(initial=0)) + 1
    for place, (more, name) in enumerate(zip(members, names, strict=True)):
        slots += more
        later[more] += place * most  # whatever it costs, a later group ranks behind
        price = replace(ask.price, unknown=later, is_any_unknown=True)
        wider = replace(ask, open=np.array(sorted(slots), np.int64), price=price)
        division = divide_spread(_in_order(wider) if place else wider, fleet)
        if division.shares is not None:
            return replace(division, group=name)
    return division


def _in_order(ask: Ask) -> Ask:
    """The same by price alone, in which the order of the groups is: no share is any strategy's."""
    return replace(ask, demand=replace(ask.demand, strategy="CostOptimal"))
