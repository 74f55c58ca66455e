"""Where pods of a shape fit now, and what becomes of the work at a site that is lost."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, get_args

import msgspec
import numpy as np

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import DataClass
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape, split_shared_cards
from scheduler.model.quantities import refuse_shares, requests_of
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.filter.rules import is_grant_rule, rule_name
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import in_flight_pods
from scheduler.placement.result import CycleState

MAX_MOVES: Final = 1000
"""So many workloads of a lost site are decided again, by priority; the others are counted."""
_ABOUT_RIGHTS: Final = frozenset({"data-class-missing", "has-grant", "grant-expired"})
_MAX_TARGETS: Final = 12


def shape_demand(requests: Mapping[str, str], replicas: int, data_class: str) -> Demand:
    """A demand of equal pods that no one has asked for yet.

    Raises:
        ValueError: a quantity or the class cannot be read; the message says what to write.
    """
    if data_class and data_class not in get_args(DataClass):
        raise ValueError(f"class: write one of {', '.join(get_args(DataClass))}")
    refuse_shares(requests)
    amounts = split_shared_cards(requests_of(requests))
    shape = PodShape(
        requests=amounts.requests, gpu_cards=amounts.gpu_cards, gpu_milli=amounts.gpu_milli
    )
    return Demand(
        key="-/shape",
        replicas=replicas,
        unit=(Pods(shape=shape, count=1),),
        data_class=msgspec.convert(data_class, DataClass) if data_class else None,
    )


def find_room(
    demand: Demand, fleet: Fleet, *, now: datetime, terms: Terms, limit: int
) -> dict[str, Any]:
    """How many replicas each site takes now, node by node.

    Without a data class the rules about grants are left out: then the answer is about room only.

    Args:
        demand: the shape.
        fleet: the sites.
        now: the time.
        terms: limits and prices.
        limit: the most sites that are listed, those that take most first.
    """
    state = prepare_cycle(demand, fleet, decision_context(now, terms))
    refused = _first_refusals(state, with_rights=demand.data_class is not None)
    names = sorted(fleet.slot_of)
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    counts = state.capacity.replicas_at(slots).tolist() if len(slots) else []
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "replicas": 0 if name in refused else int(count),
            "room": int(count),
            "firstRefusal": refused.get(name) or (None if count else "full"),
            "cnyPerReplicaHour": _cost_at(state, fleet.slot_of[name]),
        }
        for name, count in zip(names, counts, strict=True)
    ]
    rows.sort(key=lambda row: (-row["replicas"], -row["room"], row["name"]))
    fitting = [row for row in rows if row["replicas"]]
    return {
        "sites": rows[:limit],
        "fitting": len(fitting),
        "total": len(rows),
        "replicas": sum(row["replicas"] for row in fitting),
        "wanted": demand.replicas,
        "rightsChecked": demand.data_class is not None,
        "architectures": list(demand.architectures),
    }


def _cost_at(state: CycleState, slot: int) -> float | None:
    """CNY per replica-hour; None: one of its figures is unknown."""
    if not state.costs.are_known(np.array([slot])):
        return None
    return float(state.costs.cny[slot])


def _first_refusals(state: CycleState, *, with_rights: bool) -> dict[str, str]:
    """The reason of the first rule that refuses each site; sites that none refuses are left out."""
    found: dict[str, str] = {}
    for rule, passed in state.filter_result.passed:
        if not with_rights and (is_grant_rule(rule) or rule_name(rule) in _ABOUT_RIGHTS):
            continue
        for slot in (~passed & state.fleet.has_site).nonzero()[0].tolist():
            found.setdefault(state.fleet.name_at(slot), rule.reason)
    if with_rights:
        for slot in (~state.filter_result.admitted & state.fleet.has_site).nonzero()[0].tolist():
            found.setdefault(state.fleet.name_at(slot), "not-allowed")
    return found


def lose_site(
    site: str,
    facts: Sequence[SiteFacts],
    demands: Iterable[Demand],
    *,
    now: datetime,
    terms: Terms,
) -> dict[str, Any]:
    """What becomes of workloads if a site is gone now, decided one after the other by priority.

    What each one takes is taken for those after it, so the answer holds for all together. Nothing
    is moved.

    Args:
        site: the site that is gone.
        facts: all sites.
        demands: the workloads with replicas there, as they are now.
        now: the time.
        terms: limits and prices.
    """
    fleet = Fleet(one for one in facts if one.name != site)
    ordered = sorted(demands, key=lambda one: (-one.priority, one.key))
    rows = [_after_loss(site, one, fleet, now, terms) for one in ordered[:MAX_MOVES]]
    outcomes = [row["outcome"] for row in rows]
    return {
        "site": site,
        "workloads": len(ordered),
        "leftOut": max(0, len(ordered) - MAX_MOVES),
        "outcomes": {name: outcomes.count(name) for name in ("replaced", "partly", "lost")},
        "rows": sorted(rows, key=lambda row: _WORST_FIRST.index(row["outcome"])),
    }


_WORST_FIRST: Final = ("lost", "partly", "replaced")


def _after_loss(
    site: str, demand: Demand, fleet: Fleet, now: datetime, terms: Terms
) -> dict[str, Any]:
    before = demand.placed_replicas
    context = decision_context(now, terms)
    lawful = prepare_cycle(demand, fleet, context).filter_result.admitted_slots
    decision = choose(demand, fleet, now=now, terms=terms)
    gained = _gained(decision, before) if decision.phase == "Placed" else {}
    _take(fleet, demand, gained)
    stays = sum(count for name, count in before.items() if name != site)
    after = max(stays, decision.replicas)
    is_whole = after >= sum(before.values())
    outcome = "replaced" if is_whole else "partly" if after else "lost"
    targets = sorted(gained.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "workload": demand.key,
        "tenant": demand.tenant,
        "priority": demand.priority,
        "replicas": before.get(site, 0),
        "elsewhere": stays,
        "after": after,
        "outcome": outcome,
        "to": [{"name": name, "replicas": count} for name, count in targets[:_MAX_TARGETS]],
        "lawfulSites": len(lawful),
        "reasons": {str(slug): count for slug, count in decision.reasons.items()},
        "line": decision.line,
        "failoverMode": demand.failover_mode,
    }


def _gained(decision: Decision, before: Mapping[str, int]) -> dict[str, int]:
    grown = {one.site: one.replicas - before.get(one.site, 0) for one in decision.assignment}
    return {name: count for name, count in grown.items() if count > 0}


def _take(fleet: Fleet, demand: Demand, gained: Mapping[str, int]) -> None:
    """Has the workloads after this one see its new replicas in flight."""
    for name, count in gained.items():
        facts = fleet.facts_of(name)
        new = in_flight_pods(demand, count, new_site=name not in demand.placed_replicas)
        fleet.upsert(msgspec.structs.replace(facts, in_flight=(*facts.in_flight, *new)))
