"""Two places, three centres (两地三中心): an active pair in one metro, a standby far away.

The replicas are divided between two sites of one metro whose round trip is known and short enough;
a third site in another province gets a share of them on top, as standby. Running replicas stay,
unless fewer are asked or Fresh starts over; of all triples the one that keeps most of them is
taken, then the cheapest. Source: GB/T 20988, disaster recovery of information systems.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.divide.spread.levels import (
    UNKNOWN_PLACE,
    max_groups_of,
    max_per_group_of,
    place_numbers_of,
    replicas_by_place,
)
from scheduler.placement.fleet.distance import longest_rtt_milliseconds
from scheduler.placement.fleet.fleet import Fleet

DISASTER_RECOVERY_PRESET = "two-places-three-centres"
DEFAULT_PAIR_MILLISECONDS = 5.0
"""The longest round trip at which synchronous replication is practical."""
DEFAULT_STANDBY_RATIO = 0.5
MAX_SITES_PER_METRO = 40
"""At most so many sites of one metro are paired; cheaper ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    slot: int
    facts: SiteFacts
    max_replicas: int
    cost: tuple[int, float]
    running_replicas: int
    is_kept: bool


def divide_disaster_recovery(request: DivisionRequest, fleet: Fleet) -> Division:
    """Finds the pair and the standby; no division if there is none."""
    standby = standby_replicas_of(request.demand)
    triples = (
        each
        for each in _iter_triples(request, fleet, standby)
        if _meets_spread(request, fleet, each.replicas_by_slot)
    )
    best = min(triples, key=lambda each: each.rank, default=None)
    if best is None:
        return Division(replicas_by_slot=None, spread_failed=True)
    standby_replicas = best.replicas_by_slot.get(best.standby.slot, 0)
    notes = (
        (f"standby at {best.standby.facts.name} ({standby_replicas})",) if standby_replicas else ()
    )
    return Division(replicas_by_slot=best.replicas_by_slot, is_optimal=False, notes=notes)


def standby_replicas_of(demand: Demand) -> int:
    """How many replicas are on standby: their ratio of all, rounded up.

    The ratio is taken as it is written: in binary 0.07 is a little more than 7/100, and 7 of 100
    replicas would become 8.
    """
    ratio = demand.preset_options.standby_ratio
    written = str(DEFAULT_STANDBY_RATIO if ratio is None else ratio)
    return ceil(demand.replicas * Fraction(written))


def total_replicas_of(demand: Demand) -> int:
    """How many replicas run when everything is placed, those on standby included.

    Duplicated work has that many at each of its sites.
    """
    return demand.replicas + (
        standby_replicas_of(demand) if demand.preset == DISASTER_RECOVERY_PRESET else 0
    )


def round_trips_within_metros(fleet: Fleet) -> set[float]:
    """The known round trips between sites of one metro, in milliseconds."""
    metros = {each.name: each.spec.location.metro for each in fleet.all_facts()}
    return {
        trip.milliseconds
        for each in fleet.all_facts()
        for trip in each.status.rtt
        if metros[each.name] and metros.get(trip.to) == metros[each.name]
    }


def _find_candidates(request: DivisionRequest, fleet: Fleet) -> list[_Candidate]:
    """Sites that may get more, and those that keep what they have, cheapest first."""
    held = {**request.kept, **request.own_replicas}
    is_open = set(request.open_slots.tolist())
    slots = request.costs.sort_cheapest_first(
        np.union1d(request.open_slots, np.array(sorted(request.kept), np.int64))
    )
    found = []
    for slot, additional in zip(
        slots.tolist(), request.capacity.replicas_at(slots).tolist(), strict=True
    ):
        facts, running_replicas = fleet.facts[slot], held.get(slot, 0)
        max_replicas = running_replicas + (additional if slot in is_open else 0)
        if facts is not None and max_replicas > 0:
            cost = (int(request.costs.unknown[slot]), float(request.costs.cny[slot]))
            found.append(
                _Candidate(
                    slot=slot,
                    facts=facts,
                    max_replicas=max_replicas,
                    cost=cost,
                    running_replicas=running_replicas,
                    is_kept=slot in request.kept,
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class _Triple:
    """A pair with its standby; the smallest rank is the best: most that stays, then the cost."""

    replicas_by_slot: ReplicasBySlot
    standby: _Candidate
    rank: tuple[int, int, float]


def _iter_triples(request: DivisionRequest, fleet: Fleet, standby: int) -> Iterator[_Triple]:
    candidates = _find_candidates(request, fleet)
    limit = request.demand.preset_options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    grows = request.replicas + standby >= request.kept_total
    for first, second in _iter_pairs(candidates, limit):
        larger, smaller = _split_in_halves(request, first, second)
        if first.max_replicas < larger or second.max_replicas < smaller:
            continue
        standby_replicas = standby
        standby_site = _choose_standby(candidates, first, standby_replicas)
        if standby_site is None:
            continue
        if grows:
            standby_replicas = max(standby_replicas, request.kept.get(standby_site.slot, 0))
        assignments = ((first, larger), (second, smaller), (standby_site, standby_replicas))
        shares = {each.slot: count for each, count in assignments if count > 0}
        if grows and any(shares.get(slot, 0) < count for slot, count in request.kept.items()):
            continue  # running replicas stay
        cny = sum(count * each.cost[1] for each, count in assignments)
        unknown = sum(each.cost[0] for each, _ in assignments)
        kept_replicas = sum(min(each.running_replicas, count) for each, count in assignments)
        yield _Triple(shares, standby_site, (-kept_replicas, unknown, cny))


def _split_in_halves(
    request: DivisionRequest, first: _Candidate, second: _Candidate
) -> tuple[int, int]:
    """Half of the replicas each, as far as running ones allow; both sites get at least one.

    Returns:
        The replicas of the first site and of the second.
    """
    one, other = request.kept.get(first.slot, 0), request.kept.get(second.slot, 0)
    half, most = ceil(request.replicas / 2), request.replicas - 1
    if one + other <= request.replicas:
        larger = min(max(half, one), request.replicas - other)
    else:
        larger = max(min(half, one), request.replicas - other)
    larger = max(1, min(larger, most)) if most else larger
    return larger, request.replicas - larger


def _meets_spread(request: DivisionRequest, fleet: Fleet, shares: ReplicasBySlot) -> bool:
    """Whether shares meet the required spread that is asked beside the preset."""
    for rule in request.demand.spread:
        if not rule.required:
            continue
        groups = replicas_by_place(place_numbers_of(fleet, rule.by), shares)
        fullest = max(groups.values(), default=0)
        if (
            UNKNOWN_PLACE in groups
            or len(groups) < rule.min_groups
            or len(groups) > max_groups_of(rule)
            or fullest > max_per_group_of(rule)
        ):
            return False
    return True


def _iter_pairs(
    candidates: list[_Candidate], max_milliseconds: float
) -> Iterator[tuple[_Candidate, _Candidate]]:
    metros: dict[str, list[_Candidate]] = {}
    for each in candidates:
        metro = each.facts.spec.location.metro
        if metro and len(metros.setdefault(metro, [])) < MAX_SITES_PER_METRO:
            metros[metro].append(each)
    for members in metros.values():
        for first in members:
            for second in members:
                stays = (
                    first.is_kept and second.is_kept
                )  # a running pair is not parted, whatever its round trip is now
                if first is not second and (
                    stays or round_trip_milliseconds(first.facts, second.facts) <= max_milliseconds
                ):
                    yield first, second


def round_trip_milliseconds(first: SiteFacts, second: SiteFacts) -> float:
    """The longer of both sites' figures; infinite if one of them is unknown."""
    trips = (
        longest_rtt_milliseconds(first, (second.name,)),
        longest_rtt_milliseconds(second, (first.name,)),
    )
    known = [trip for trip in trips if trip == trip]  # noqa: PLR0124 - NaN is the unknown
    return max(known) if len(known) == len(trips) else float("inf")


def _choose_standby(
    candidates: list[_Candidate], first: _Candidate, replicas: int
) -> _Candidate | None:
    province = first.facts.spec.location.province
    fitting = [
        each
        for each in candidates
        if each.max_replicas >= replicas
        and province
        and each.facts.spec.location.province not in {"", province}
    ]
    return min(fitting, key=lambda each: (-each.running_replicas, each.cost), default=None)
