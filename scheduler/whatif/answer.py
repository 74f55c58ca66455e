"""The answer to a what-if: what the fleet is without the scenario, and with it.

`ask` reads the demands of all workloads, applies the changes to a copy, settles both fleets (what
waits, and what the changes concern), compares placements, cost, carbon and the room that is left,
and suggests the smallest change that would place what is left over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scheduler.model.demand.demand import Demand
from scheduler.whatif.demands import DemandReader, Progress, no_progress
from scheduler.whatif.figures import FleetBill, bill_of, loads_of, used_by_site
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.leaving import LeavingPlan, plan_leaving
from scheduler.whatif.made_change import make_changes
from scheduler.whatif.moves import end_rows, move_rows, start_rows
from scheduler.whatif.scenario.apply import ChangedFleet, apply_changes
from scheduler.whatif.scenario.changes import Change, ChangeIntensity, ChangePolicies, ChangePrice
from scheduler.whatif.settling.backlog import settle_backlog
from scheduler.whatif.settling.settle import settle, waiting_tasks
from scheduler.whatif.settling.settled_fleet import SettledFleet, is_over, open_fleet
from scheduler.whatif.shedding import shed_power
from scheduler.whatif.smallest_change import smallest_changes
from scheduler.whatif.unplaced import count_unplaced, unplaced_rows

Answer = dict[str, Any]

_COST_DIGITS = 6
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class _State:
    """One side of the comparison."""

    settled: SettledFleet
    running: Mapping[str, Mapping[str, int]]
    bill: FleetBill
    lost: frozenset[str] = frozenset()


def ask(copy: FleetCopy, changes: Sequence[Change], progress: Progress = no_progress) -> Answer:
    """What a scenario would do to a fleet, in the JSON form of `kapok whatif -o json`.

    Args:
        copy: the fleet; it stays as it is.
        changes: the scenario.
        progress: shows how far it is.

    Raises:
        ScenarioError: a name of the scenario does not exist, or its changes contradict.
        NotAQuantity: an amount of a site cannot be read.
    """
    reader = DemandReader(copy)
    changed = apply_changes(copy, changes, lambda site: _used_at(copy, reader, site))
    demands = reader.read_all(progress)
    before = open_fleet(copy, reader, demands, progress)
    made = make_changes(before, changes)
    changed = replace(
        changed,
        copy=changed.copy.with_facts(made.facts.values()),
        notes=(*changed.notes, *made.notes),
    )
    reader_after, demands_after = DemandReader(changed.copy, changed.load), demands
    if changed.load != 1.0 or any(isinstance(one, ChangePolicies) for one in changes):
        has_policies = any(isinstance(one, ChangePolicies) for one in changes)
        demands_after = reader_after.read_all(progress, {} if has_policies else demands)
    demands_after = {**demands_after, **made.demands} if made.demands else demands_after
    after = open_fleet(changed.copy, reader_after, demands_after, progress)
    after.changed_demands = made.demands
    plan = plan_leaving(before, after, changed)
    settle(before, waiting_tasks(before), progress)
    settle(after, plan.tasks, progress)
    shed = [shed_power(after, one) for one in changed.shedding]
    for one in (before, after):
        settle_backlog(one, progress)
    was = _state_before(before, progress)
    is_priced_again = changed.load != 1.0 or any(
        isinstance(one, ChangePrice | ChangeIntensity) for one in changes
    )
    now = _state_after(was, after, changed, progress, is_priced_again=is_priced_again)
    return _compare(was, now, changed, plan, progress) | {"grid": shed}


def _used_at(copy: FleetCopy, reader: DemandReader, site: str) -> Mapping[str, int]:
    """What placed workloads request at one site."""
    there = [
        one
        for one in copy.workloads
        if any(site in group.sites for group in one.status.placement.groups)
    ]
    demands = {one.metadata.key: reader.read(one, copy.workloads) for one in there}
    placed = {
        key: demand.placed_replicas for key, demand in demands.items() if isinstance(demand, Demand)
    }
    return used_by_site(demands, placed).get(site, Counter())


def _running(settled: SettledFleet, left_out: Iterable[str]) -> dict[str, dict[str, int]]:
    """The replicas that run, by workload and site."""
    gone = frozenset(left_out)
    found = {}
    for key, workload in settled.workloads.items():
        if is_over(workload):
            continue
        replicas = settled.replicas_of(key)
        kept = {site: count for site, count in replicas.items() if count and site not in gone}
        if kept:
            found[key] = kept
    return found


def _state_before(settled: SettledFleet, progress: Progress) -> _State:
    running = _running(settled, ())
    return _State(settled, running, bill_of(settled, running, progress=progress))


def _state_after(
    was: _State,
    settled: SettledFleet,
    changed: ChangedFleet,
    progress: Progress,
    *,
    is_priced_again: bool,
) -> _State:
    lost = frozenset() if changed.is_broker_lost else changed.lost
    running = _running(settled, lost)
    if is_priced_again:
        return _State(settled, running, bill_of(settled, running, progress=progress), lost)
    other = {
        key: running.get(key, {})
        for key in running.keys() | was.running.keys()
        if running.get(key) != was.running.get(key)
        or settled.demands[key] is not was.settled.demands[key]
    }
    return _State(settled, running, bill_of(settled, other, was.bill, progress), lost)


def _compare(
    was: _State, now: _State, changed: ChangedFleet, plan: LeavingPlan, progress: Progress
) -> Answer:
    unplaced, waiting = unplaced_rows(was.settled, now.settled, now.running, changed, plan)
    loads = loads_of(now.settled, now.running, now.lost)
    name, ratio = loads.hottest()
    before = was.settled
    live = [key for key, one in before.workloads.items() if not is_over(one)]
    was_not_placed = sum(not before.is_placed(key) for key in live)
    return {
        "before": _summary(was, was_not_placed),
        "after": _summary(now, len(unplaced) + len(waiting)),
        "unplaced": unplaced,
        "unplacedBy": count_unplaced(unplaced),
        "waiting": waiting,
        "moves": move_rows(was.running, now.running),
        "starts": start_rows(was.running, now.running),
        "ends": end_rows(was.running, now.running),
        "givesWay": _gives_way(now.settled),
        "cost": _cost(now.bill),
        "hottestSite": {"name": name, "ratio": ratio},
        "headroom": loads.headroom(),
        "freeze": {"frozen": bool(changed.freeze), "why": changed.freeze},
        "smallestChange": smallest_changes(
            now.settled,
            changed,
            unplaced or waiting,
            waiting if unplaced else (),
            progress,
        ),
        "notes": [*changed.notes, *_scaling_note(now.settled.reader)],
    }


def _gives_way(settled: SettledFleet) -> list[Answer]:
    """The replicas that end for another workload, by it."""
    return [
        {
            "workload": one.workload,
            "site": one.site,
            "replicas": one.replicas,
            "for": key,
            "reclaimed": one.reclaimed,
        }
        for key, victims in sorted(settled.gives_way.items())
        for one in victims
    ]


def _summary(state: _State, not_placed: int) -> Answer:
    settled = state.settled
    facts = settled.copy.facts
    loads = loads_of(settled, state.running, state.lost)
    name, ratio = loads.hottest()
    live = sum(not is_over(one) for one in settled.workloads.values())
    return {
        "sites": len(facts),
        "sitesReporting": sum(not one.is_silent for one in facts),
        "workloads": live,
        "placed": live - not_placed,
        "notPlaced": not_placed,
        "replicas": sum(sum(one.values()) for one in state.running.values()),
        "cost": _cost(state.bill),
        "hottestSite": {"name": name, "ratio": ratio},
        "headroom": loads.headroom(),
    }


def _cost(bill: FleetBill) -> Answer:
    return {
        "cnyPerHour": round(bill.cny_per_hour, _COST_DIGITS),
        "gco2PerHour": round(bill.gco2_per_hour, _COST_DIGITS),
        "workloadsWithAssumedFigures": len(bill.assumed),
    }


def _scaling_note(reader: DemandReader) -> list[str]:
    if not reader.unscaled:
        return []
    names = ", ".join(sorted(set(reader.unscaled))[:_MAX_NAMED])
    return [f"the replicas of {len(set(reader.unscaled))} workloads cannot be changed: {names}"]
