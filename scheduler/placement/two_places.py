"""Two places, three centres (两地三中心): an active pair in one metro, a standby far away.

The replicas are divided between two sites of one metro whose round trip is short enough and known;
a third site in another province gets a share of them on top, as standby. Of all triples the one
that keeps most of what runs is taken, then the cheapest. Source: GB/T 20988, disaster recovery of
information systems.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from scheduler.model.facts import SiteFacts
from scheduler.placement.distance import milliseconds_to
from scheduler.placement.divide import Ask, Shares
from scheduler.placement.fleet import Fleet
from scheduler.placement.spread_answer import Division

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
    runs: bool


def divide_two_places(ask: Ask, fleet: Fleet) -> Division:
    """Finds the pair and the standby; no division if there is none."""
    candidates = _candidates(ask, fleet)
    ratio = ask.demand.preset_options.standby_ratio
    standby = ceil(ask.replicas * (DEFAULT_STANDBY_RATIO if ratio is None else ratio))
    best = min(_triples(ask, candidates, standby), key=lambda found: found[0], default=None)
    if best is None:
        return Division(None, spread_failed=True)
    _, shares, name = best
    notes = (f"standby at {name} ({standby})",) if standby else ()
    return Division(shares, is_optimal=False, notes=notes)


def _candidates(ask: Ask, fleet: Fleet) -> list[_Candidate]:
    held = {**ask.kept, **ask.ran}
    slots = ask.price.sorted(ask.open)
    own = [held.get(slot, 0) for slot in slots.tolist()]
    rooms = ask.room.at(slots).tolist()
    found = []
    for slot, more, mine in zip(slots.tolist(), rooms, own, strict=True):
        facts = fleet.facts[slot]
        if facts is not None and more + mine > 0:
            cost = (int(ask.price.unknown[slot]), float(ask.price.cny[slot]))
            found.append(_Candidate(slot, facts, more + mine, cost, mine > 0))
    return found


Rank = tuple[int, int, float]


def _triples(
    ask: Ask, candidates: list[_Candidate], standby: int
) -> Iterator[tuple[Rank, Shares, str]]:
    larger, smaller = ceil(ask.replicas / 2), ask.replicas // 2
    limit = ask.demand.preset_options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    for first, second in _pairs(candidates, limit):
        if first.room < larger or second.room < smaller:
            continue
        third = _standby(candidates, first, standby)
        if third is None:
            continue
        shares = {first.slot: larger, second.slot: smaller, third.slot: standby}
        trio = (first, second, third)
        counts = (larger, smaller, standby)
        money = sum(count * each.cost[1] for each, count in zip(trio, counts, strict=True))
        unknown = sum(each.cost[0] for each in trio)
        kept = sum(each.runs for each in trio)
        wanted = {slot: count for slot, count in shares.items() if count > 0}
        yield (-kept, unknown, money), wanted, third.facts.name


def _pairs(candidates: list[_Candidate], limit: float) -> Iterator[tuple[_Candidate, _Candidate]]:
    metros: dict[str, list[_Candidate]] = {}
    for each in candidates:
        metro = each.facts.spec.location.metro
        if metro and len(metros.setdefault(metro, [])) < MOST_PER_METRO:
            metros[metro].append(each)
    for members in metros.values():
        for first in members:
            for second in members:
                if first is not second and _round_trip(first.facts, second.facts) <= limit:
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
    return min(fitting, key=lambda each: (not each.runs, each.cost), default=None)
