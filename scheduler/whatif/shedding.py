"""What sites can promise to a grid that asks them to draw less: which work moves, and what stays.

Work gives way in order of priority, the lowest first and of equal work the largest, until what is
asked is met; of each as few replicas as that takes. Every move is a decision of the engine on the
same copy, so rules hold and room elsewhere is taken once. Only moves are promised that end no other
work. Jobs run on: moved, they would begin again, and their deadlines come first. A kW counts with
the PUE of the site where that is known, else as if it were 1: unknown is never the larger promise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, fsum
from typing import Any

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.workload import Workload
from scheduler.placement.cost.energy import pue, replica_kwh_per_hour
from scheduler.placement.failover.drain import why_not_at_all
from scheduler.whatif.leaving import NOT_ACCEPTED, drain_candidate
from scheduler.whatif.scenario.apply import SheddingRequest
from scheduler.whatif.settling.settle import decide_task, is_placed_by
from scheduler.whatif.settling.settled_fleet import DecisionTask, SettledFleet, is_over

Answer = dict[str, Any]

_TOLERANCE_KILOWATTS = 1e-9
_DIGITS = 6
_MAX_NAMED = 5
_NO_ROOM = "no other site that its rules admit has room for it"
_DECIDED_ANYWAY = "it is decided again for another reason"
_SILENT = "its site does not report"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """A workload that draws power at the sites of a request.

    Attributes:
        key: `namespace/name`.
        priority: of the workload.
        replicas: how many it has at each of the sites.
        kilowatts: what one of them draws there, PUE included.
    """

    key: str
    priority: int
    replicas: Mapping[str, int]
    kilowatts: Mapping[str, float]

    @property
    def total(self) -> float:
        """What all of them draw."""
        return self.of(self.replicas)

    def of(self, replicas: Mapping[str, int]) -> float:
        """What some of them draw."""
        return fsum(count * self.kilowatts[site] for site, count in replicas.items())


def shed_power(settled: SettledFleet, request: SheddingRequest) -> Answer:
    """What the sites of a request can promise, as a row of the answer.

    Args:
        settled: the fleet with the scenario; it takes the moves over.
        request: what the grid asks.
    """
    drawing = list(_drawing(settled, request.sites))
    drawn, origin = _drawn(settled, request.sites, drawing)
    change = request.change
    asked = change.kilowatts if change.kilowatts is not None else drawn * (change.ratio or 0.0)
    gives, stays, shed = list[Answer](), list[Answer](), 0.0
    ends_others, settled.ends_others = settled.ends_others, False
    for work in sorted(drawing, key=lambda one: (one.priority, -one.total, one.key)):
        if shed >= asked - _TOLERANCE_KILOWATTS:
            break
        why = request.freeze or _why_it_stays(settled, work)
        moved = {} if why else _move(settled, work, asked - shed)
        shed += work.of(moved)
        gives += [_row(work, {site: count}, site=site) for site, count in moved.items()]
        left = {site: count - moved.get(site, 0) for site, count in work.replicas.items()}
        if sum(left.values()) and shed < asked - _TOLERANCE_KILOWATTS:
            stays.append(_row(work, left, why=why or _NO_ROOM))
    settled.ends_others = ends_others
    is_met = shed >= asked - _TOLERANCE_KILOWATTS and asked > 0
    promised = min(shed, asked)
    answer = {
        "place": change.text,
        "sites": list(request.sites),
        "hours": change.hours,
        "drawnKilowatts": round(drawn, _DIGITS),
        "drawnOrigin": origin,
        "askedKilowatts": round(asked, _DIGITS),
        "promisedKilowatts": round(promised, _DIGITS),
        "promisedKwh": round(promised * change.hours, _DIGITS),
        "met": is_met,
        "moves": gives,
        "stays": stays,
    }
    return answer | {"lines": _lines(answer)}


def _drawing(settled: SettledFleet, sites: tuple[str, ...]) -> Iterator[_Drawing]:
    """The workloads that run at these sites."""
    factors = pue(settled.fleet, settled.context)
    slots = {site: settled.fleet.slot_of[site] for site in sites}
    factor = {
        site: max(1.0, float(factors.value[slot])) if factors.known[slot] else 1.0
        for site, slot in slots.items()
    }
    for key, workload in settled.workloads.items():
        if is_over(workload):
            continue
        demand = settled.demands[key]
        there = {
            site: count
            for site, count in sorted(settled.replicas_of(key).items())
            if site in factor and count
        }
        if not there:
            continue
        # What is not accepted still draws, but how much is not known: it counts as nothing shed.
        each = replica_kwh_per_hour(demand, settled.context) if isinstance(demand, Demand) else 0.0
        yield _Drawing(
            key=key,
            priority=workload.spec.priority,
            replicas=there,
            kilowatts={site: each * factor[site] for site in there},
        )


def _drawn(
    settled: SettledFleet, sites: tuple[str, ...], drawing: list[_Drawing]
) -> tuple[float, str]:
    """What the sites draw now, PUE included: as they report it, else what Kapok's work draws."""
    factors = pue(settled.fleet, settled.context)
    reported = list[float]()
    for site in sites:
        facts, slot = settled.fleet.facts_of(site), settled.fleet.slot_of[site]
        power = facts.status.power
        if facts.is_silent or power is None or power.watts is None or not factors.known[slot]:
            return fsum(one.total for one in drawing), "modelled"
        reported.append(power.watts / 1000 * max(1.0, float(factors.value[slot])))
    return fsum(reported), "reported"


def _why_it_stays(settled: SettledFleet, work: _Drawing) -> str:
    """Why a workload does not give way; empty: it may."""
    workload, demand = settled.workloads[work.key], settled.demands[work.key]
    if isinstance(demand, NotAccepted):
        return f"{NOT_ACCEPTED}: {demand.message}"
    if work.key in settled.decisions:
        return _DECIDED_ANYWAY
    if any(settled.fleet.facts_of(site).is_silent for site in work.replicas):
        return _SILENT
    return next(filter(None, _why_not_at(workload, demand, work.replicas)), "")


def _why_not_at(workload: Workload, demand: Demand, replicas: Mapping[str, int]) -> Iterator[str]:
    for site in replicas:
        candidate = drain_candidate(workload, demand, site)
        yield candidate.needs_force or why_not_at_all(candidate)  # a grid forces nothing


def _move(settled: SettledFleet, work: _Drawing, missing: float) -> dict[str, int]:
    """Moves as few replicas as are missing, or as many as there is room for; by site."""
    wanted = _wanted(work, missing)
    while sum(wanted.values()):
        keeps = {site: work.replicas[site] - count for site, count in wanted.items()}
        task = DecisionTask(key=work.key, leaves=frozenset(wanted), keeps=keeps)
        if is_placed_by(settled, task):
            decide_task(settled, task)
            after = settled.replicas_of(work.key)
            return {
                site: count - after.get(site, 0)
                for site, count in work.replicas.items()
                if count > after.get(site, 0)
            }
        wanted = {site: count // 2 for site, count in wanted.items() if count // 2}
    return {}


def _wanted(work: _Drawing, missing: float) -> dict[str, int]:
    wanted = dict[str, int]()
    for site, count in work.replicas.items():
        each = work.kilowatts[site]
        if missing <= _TOLERANCE_KILOWATTS or each <= 0:
            continue
        wanted[site] = min(count, ceil(missing / each - _TOLERANCE_KILOWATTS))
        missing -= wanted[site] * each
    return wanted


def _row(work: _Drawing, replicas: Mapping[str, int], **more: str) -> Answer:
    return {
        "workload": work.key,
        "priority": work.priority,
        "replicas": sum(replicas.values()),
        "kilowatts": round(work.of(replicas), _DIGITS),
        **more,
    }


def _lines(answer: Answer) -> list[str]:
    """The promise in sentences, and who does not give way."""
    place = answer["place"]
    promise = (
        f"grid {place}: {answer['promisedKilowatts']:.4g} of {answer['askedKilowatts']:.4g} kW can "
        f"be promised for {answer['hours']:g} h ({answer['promisedKwh']:.4g} kWh), from when the "
        "replacements run"
    )
    if answer["met"]:
        return [promise]
    lines = [promise]
    whys = dict[str, list[str]]()
    for one in answer["stays"]:
        whys.setdefault(one["why"], []).append(one["workload"])
    if not whys and not answer["moves"]:
        lines.append(f"grid {place}: no work of Kapok runs there")
    for why, names in whys.items():
        lines.append(f"grid {place} keeps {_named(names)}: {why}")
    return lines


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
