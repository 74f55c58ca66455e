"""Two places, three centres (两地三中心): an active pair in one metro, a standby far away.

The replicas are divided between two sites of one metro whose round trip is short enough and known;
a third site in another province gets a share of them on top, as standby. What runs stays, unless
fewer are asked or Fresh starts over; of all triples the one that keeps most of it is taken, then
the cheapest. Source: GB/T 20988, disaster recovery of
information systems.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.divide.divide import Ask, Shares
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.spread.levels import places
from scheduler.placement.fleet.distance import milliseconds_to
from scheduler.placement.fleet.fleet import Fleet

PRESET = "two-places-three-centres"
DEFAULT_PAIR_MILLISECONDS = 5.0
"""A round trip that synchronous replication bears."""
DEFAULT_STANDBY_RATIO = 0.5
MOST_PER_METRO = 40
"""Sites of one metro that are paired; cheaper ones first."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    slot: int
    facts: SiteFacts
    room: int
    cost: tuple[int, float]
    runs: int
    stays: bool


def divide_two_places(ask: Ask, fleet: Fleet) -> Division:
    """Finds the pair and the standby; no division if there is none."""
    standby = standby_of(ask.demand)
    triples = (each for each in _triples(ask, fleet, standby) if _meets(ask, fleet, each.shares))
    best = min(triples, key=lambda each: each.rank, default=None)
    if best is None:
        return Division(None, spread_failed=True)
    standing = best.shares.get(best.standby.slot, 0)
    notes = (f"standby at {best.standby.facts.name} ({standing})",) if standing else ()
    return Division(best.shares, is_optimal=False, notes=notes)


def standby_of(demand: Demand) -> int:
    """How many replicas stand by: the ratio of all as it is written, rounded up.

    In binary 0.07 is a little more than that, and 7 of 100 would become 8.
    """
    ratio = demand.preset_options.standby_ratio
    written = str(DEFAULT_STANDBY_RATIO if ratio is None else ratio)
    return ceil(demand.replicas * Fraction(written))


def all_replicas(demand: Demand) -> int:
    """How many replicas run when everything is placed: those that stand by come on top.

    Duplicated work wants that many at each of its sites.
    """
    return demand.replicas + (standby_of(demand) if demand.preset == PRESET else 0)


def trips_within_metros(fleet: Fleet) -> set[float]:
    """The known round trips between sites of one metro, in milliseconds."""
    metros = {each.name: each.spec.location.metro for each in fleet.all_facts()}
    return {
        trip.milliseconds
        for each in fleet.all_facts()
        for trip in each.status.rtt
        if metros[each.name] and metros.get(trip.to) == metros[each.name]
    }


def _candidates(ask: Ask, fleet: Fleet) -> list[_Candidate]:
    """Sites that may get more, and those that keep what they have, cheapest first."""
    held = {**ask.kept, **ask.ran}
    is_open = set(ask.open.tolist())
    slots = ask.price.sorted(np.union1d(ask.open, np.array(sorted(ask.kept), np.int64)))
    found = []
    for slot, more in zip(slots.tolist(), ask.room.at(slots).tolist(), strict=True):
        facts, runs = fleet.facts[slot], held.get(slot, 0)
        room = runs + (more if slot in is_open else 0)
        if facts is not None and room > 0:
            cost = (int(ask.price.unknown[slot]), float(ask.price.cny[slot]))
            found.append(_Candidate(slot, facts, room, cost, runs, slot in ask.kept))
    return found


@dataclass(frozen=True, slots=True)
class _Triple:
    """A pair and a standby; the best rank is the least: most that stays, then the cost."""

    shares: Shares
    standby: _Candidate
    rank: tuple[int, int, float]


def _triples(ask: Ask, fleet: Fleet, standby: int) -> Iterator[_Triple]:
    candidates = _candidates(ask, fleet)
    limit = ask.demand.preset_options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    grows = ask.replicas + standby >= ask.kept_total
    for first, second in _pairs(candidates, limit):
        larger, smaller = _halves(ask, first, second)
        if first.room < larger or second.room < smaller:
            continue
        reserve = standby
        third = _standby(candidates, first, reserve)
        if third is None:
            continue
        if grows:
            reserve = max(reserve, ask.kept.get(third.slot, 0))
        seats = ((first, larger), (second, smaller), (third, reserve))
        shares = {each.slot: count for each, count in seats if count > 0}
        if grows and any(shares.get(slot, 0) < count for slot, count in ask.kept.items()):
            continue  # what runs stays
        money = sum(count * each.cost[1] for each, count in seats)
        unknown = sum(each.cost[0] for each, _ in seats)
        stays = sum(min(each.runs, count) for each, count in seats)
        yield _Triple(shares, third, (-stays, unknown, money))


def _halves(ask: Ask, first: _Candidate, second: _Candidate) -> tuple[int, int]:
    """Half of the replicas each, as far as what runs there lets it be; nobody is left without."""
    one, other = ask.kept.get(first.slot, 0), ask.kept.get(second.slot, 0)
    half, most = ceil(ask.replicas / 2), ask.replicas - 1
    if one + other <= ask.replicas:
        larger = min(max(half, one), ask.replicas - other)
    else:
        larger = max(min(half, one), ask.replicas - other)
    larger = max(1, min(larger, most)) if most else larger
    return larger, ask.replicas - larger


def _meets(ask: Ask, fleet: Fleet, shares: Shares) -> bool:
    """Whether the levels of spread that are asked beside the preset hold."""
    for rule in ask.demand.spread:
        if not rule.required:
            continue
        names = places(fleet, rule.by)
        groups: dict[int, int] = {}
        for slot, count in shares.items():
            groups[int(names[slot])] = groups.get(int(names[slot]), 0) + count
        fullest = max(groups.values(), default=0)
        if (
            0 in groups
            or len(groups) < rule.min_groups
            or (rule.max_groups is not None and len(groups) > rule.max_groups)
            or (rule.max_per_group is not None and fullest > rule.max_per_group)
        ):
            return False
    return True


def _pairs(candidates: list[_Candidate], limit: float) -> Iterator[tuple[_Candidate, _Candidate]]:
    metros: dict[str, list[_Candidate]] = {}
    for each in candidates:
        metro = each.facts.spec.location.metro
        if metro and len(metros.setdefault(metro, [])) < MOST_PER_METRO:
            metros[metro].append(each)
    for members in metros.values():
        for first in members:
            for second in members:
                stays = first.stays and second.stays  # a pair that runs is not parted again
                if first is not second and (
                    stays or _round_trip(first.facts, second.facts) <= limit
                ):
                    yield first, second


def _round_trip(first: SiteFacts, second: SiteFacts) -> float:
    """The longer of both ends' figures; endless where an end does not know it."""
    trips = (milliseconds_to(first, (second.name,)), milliseconds_to(second, (first.name,)))
    known = [trip for trip in trips if trip == trip]  # noqa: PLR0124 - NaN is the unknown
    return max(known) if len(known) == len(trips) else float("inf")


def _standby(candidates: list[_Candidate], first: _Candidate, replicas: int) -> _Candidate | None:
    province = first.facts.spec.location.province
    fitting = [
        each
        for each in candidates
        if each.room >= replicas
        and province
        and each.facts.spec.location.province not in {"", province}
    ]
    return min(fitting, key=lambda each: (-each.runs, each.cost), default=None)
