"""Which required rules a whole placement does not meet: what was kept and what is new, together.

A division places what is new by every rule, but replicas that run stay where they are. So a rule
that was added later, a site that moved, or a smaller number of replicas may leave the whole
placement short of what is required. One function finds that, for any placement.

Some rules are no part of it: what a site's rights allow is in `filter/retention.py`, and a taint, a
cordon or an old report keeps new replicas away from a site without ending what runs there.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from msgspec.structs import replace

from scheduler.model.decision import UnmetRule
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.disaster_recovery import (
    DEFAULT_PAIR_MILLISECONDS,
    DISASTER_RECOVERY_PRESET,
    round_trip_milliseconds,
    standby_replicas_of,
)
from scheduler.placement.divide.division import ReplicasBySlot
from scheduler.placement.divide.spread.levels import (
    UNKNOWN_PLACE,
    max_groups_of,
    max_per_group_of,
    place_numbers_of,
    replicas_by_place,
)
from scheduler.placement.filter.filter import FilterResult, filter_sites
from scheduler.placement.filter.rules import is_site_rule, rule_name
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import domain_of

RULES_OF_SITES = frozenset(
    {"selector", "site-group", "too-far", "companion", "weighted", "energy-limit"}
)
"""The rules of a demand about each of its sites, by name; those of a site's state are not. An
energy limit that tightens is found here for what runs already."""
_ACTIVE_ACTIVE_PRESET, _ACTIVE_ACTIVE_LEVELS = "same-city-active-active", 2
_PAIR_SITES = 2
_MAX_NAMED = 8


def find_unmet_rules(
    demand: Demand, fleet: Fleet, replicas_by_site: Mapping[str, int], context: DecisionContext
) -> tuple[UnmetRule, ...]:
    """The required rules that a placement does not meet; empty: it meets all of them.

    Args:
        demand: what was asked.
        fleet: the sites.
        replicas_by_site: the whole placement; sites that are gone are left out of it.
        context: the time and terms.
    """
    shares = {
        fleet.slot_of[site]: count
        for site, count in sorted(replicas_by_site.items())
        if site in fleet.slot_of
    }
    return unmet_rules(demand, fleet, shares, filter_sites(demand, fleet, context), context)


def unmet_rules(
    demand: Demand,
    fleet: Fleet,
    shares: ReplicasBySlot,
    filter_result: FilterResult,
    context: DecisionContext,
) -> tuple[UnmetRule, ...]:
    """`find_unmet_rules` for replicas by slot, with the answers of the filter at hand."""
    held = {slot: count for slot, count in shares.items() if count > 0}
    if not held:
        return ()
    found = (
        []
        if not demand.placed
        else list(_refusing_sites(demand, fleet, held, filter_result, context))
    )
    if demand.spread:
        found += _unmet_levels(demand, fleet, held)
    if demand.preset == DISASTER_RECOVERY_PRESET:
        found += _unmet_pair(demand, fleet, held)
    elif demand.strategy == "Duplicated":
        found += _partial_copies(demand, fleet, held)
    return tuple(found)


def format_unmet(unmet: Sequence[UnmetRule]) -> str:
    """What is unmet, for the decision's line; "" if nothing is."""
    if not unmet:
        return ""
    more = f" and {len(unmet) - 1} more" if len(unmet) > 1 else ""
    return f"; does not meet {unmet[0].rule}: {unmet[0].sentence}{more}"


def refusing_slots(
    shares: ReplicasBySlot,
    filter_result: FilterResult,
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
) -> dict[int, str]:
    """Slots that hold replicas and that a rule of the demand refuses, with the rule's name.

    Where new replicas may return to after a failover is no rule about what stays.
    """
    refused: dict[int, str] = {}
    lasting = replace(demand, moves_back_to=()) if demand.moves_back_to else None
    for rule, passed in filter_result.passed:
        name = rule_name(rule)
        if name not in RULES_OF_SITES:
            continue
        if lasting is not None and is_site_rule(rule) and name == "selector":
            passed = rule.admits(fleet, lasting, context)  # noqa: PLW2901 - the same question
        for slot in shares:
            if not passed[slot]:
                refused.setdefault(slot, name)
    return refused


def _refusing_sites(
    demand: Demand,
    fleet: Fleet,
    held: ReplicasBySlot,
    filter_result: FilterResult,
    context: DecisionContext,
) -> Iterator[UnmetRule]:
    refused = refusing_slots(held, filter_result, demand, fleet, context)
    if not refused:
        return
    rules = {rule_name(rule): rule for rule, _ in filter_result.passed}
    for slot in sorted(refused, key=fleet.name_at):
        name = fleet.name_at(slot)
        sentence = rules[refused[slot]].explain(fleet.facts_of(name), demand, context)
        yield UnmetRule(
            rule=refused[slot], sentence=f"{held[slot]} replicas run at {name}: {sentence}"
        )


def _unmet_levels(demand: Demand, fleet: Fleet, held: ReplicasBySlot) -> Iterator[UnmetRule]:
    for index, rule in enumerate(demand.spread):
        if not rule.required:
            continue
        is_preset = demand.preset == _ACTIVE_ACTIVE_PRESET and index < _ACTIVE_ACTIVE_LEVELS
        for problem in _problems_of_level(rule, fleet, held):
            yield UnmetRule(
                rule=demand.preset if is_preset else "spread",
                sentence=f"spread by {rule.by}: {problem}",
            )


def _problems_of_level(rule: Spread, fleet: Fleet, held: ReplicasBySlot) -> Iterator[str]:
    numbers = place_numbers_of(fleet, rule.by)
    by_number = replicas_by_place(numbers, held)
    if _is_met(rule, by_number):  # by numbers: to name the places of many sites takes long
        return
    places = {int(numbers[slot]): _place_at(fleet, slot, rule.by) for slot in held}
    groups = {places[number]: count for number, count in by_number.items()}
    unknown = groups.pop("", 0)
    if unknown:
        sites = sorted(fleet.name_at(slot) for slot in held if not numbers[slot])
        yield f"{format_list(sites, _MAX_NAMED)} names no {rule.by}, and holds {unknown} replicas"
    named = format_list(sorted(groups), _MAX_NAMED) or "none"
    if len(groups) < rule.min_groups:
        yield f"minGroups is {rule.min_groups}, the replicas are in {len(groups)} ({named})"
    if len(groups) > max_groups_of(rule):
        yield f"maxGroups is {rule.max_groups}, the replicas are in {len(groups)} ({named})"
    full = sorted(name for name, count in groups.items() if count > max_per_group_of(rule))
    if full:
        there = format_list([f"{name} ({groups[name]})" for name in full], _MAX_NAMED)
        yield f"maxPerGroup is {rule.max_per_group}, more are in {there}"


def _is_met(rule: Spread, by_number: Mapping[int, int]) -> bool:
    """Whether replicas by the number of their place meet a level."""
    return (
        UNKNOWN_PLACE not in by_number
        and rule.min_groups <= len(by_number) <= max_groups_of(rule)
        and max(by_number.values(), default=0) <= max_per_group_of(rule)
    )


def _place_at(fleet: Fleet, slot: int, by: str) -> str:
    facts = fleet.facts[slot]
    return "" if facts is None else domain_of(facts, by) or ""


def _partial_copies(demand: Demand, fleet: Fleet, held: ReplicasBySlot) -> Iterator[UnmetRule]:
    partial = sorted(
        (fleet.name_at(slot), count) for slot, count in held.items() if count < demand.replicas
    )
    if partial:
        there = format_list([f"{name} ({count})" for name, count in partial], _MAX_NAMED)
        yield UnmetRule(
            rule="duplicated",
            sentence=f"Duplicated places {demand.replicas} replicas at each site; "
            f"a partial copy is at {there}",
        )


def _unmet_pair(demand: Demand, fleet: Fleet, held: ReplicasBySlot) -> Iterator[UnmetRule]:
    """What of a pair with its standby is missing; of several pairs, the one closest to it."""
    slots = sorted(held, key=fleet.name_at)
    problems = [
        _problems_of_pair(demand, fleet, held, pair) for pair in combinations(slots, _PAIR_SITES)
    ]
    least = min(problems, key=len, default=["the replicas are at one site, without a pair"])
    for problem in least:
        yield UnmetRule(rule=DISASTER_RECOVERY_PRESET, sentence=problem)


def _problems_of_pair(
    demand: Demand, fleet: Fleet, held: ReplicasBySlot, pair: Sequence[int]
) -> list[str]:
    first, second = (fleet.facts_of(fleet.name_at(slot)) for slot in pair)
    names = f"{first.name} and {second.name}"
    problems = []
    place = first.spec.location
    if not place.metro or place.metro != second.spec.location.metro:
        problems.append(f"no two sites of one metro hold the active pair; {names} do not")
    limit = demand.preset_options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    trip = round_trip_milliseconds(first, second)
    if not trip <= limit:
        shown = "is unknown" if trip == float("inf") else f"is {trip:g} ms"
        problems.append(f"the round trip between {names} {shown}; the pair needs {limit:g} ms")
    active = sum(held[slot] for slot in pair)
    if active < demand.replicas:
        problems.append(f"the pair {names} holds {active} of {demand.replicas} replicas")
    wanted = standby_replicas_of(demand)
    others = [fleet.facts_of(fleet.name_at(slot)) for slot in held if slot not in pair]
    away = sum(
        held[fleet.slot_of[each.name]]
        for each in others
        if place.province and each.spec.location.province not in {"", place.province}
    )
    if len(others) > 1 or away < wanted:
        problems.append(
            f"one site in another province is to hold {wanted} on standby; "
            f"{len(others)} other sites hold {away} outside {place.province or 'the province'}"
        )
    return problems
