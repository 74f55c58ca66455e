"""Demand of Guangzhou on the national hubs: rules, two ledgers, and what moves west.

Sites are the ten clusters of the national hubs and the cities of Guangdong, with the machines of
the openb trace; its pods arrive, run and end as recorded, with classes of data, levels and latency
drawn by the seed. Every decision is the product's (`demand_from_spec`, `choose`), and is checked
again here from the raw tables. Emission factors are yearly, so that only places are compared, never
hours.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec

from benchmarks._energy.break_even import break_even_rows, least_green_shares
from benchmarks._energy.hubs import (
    INPUT,
    JURISDICTION_OF_HOME,
    HubSite,
    facts_of,
    fleet_of,
    read_hub_sites,
)
from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.ledgers import (
    JOULES_PER_KWH,
    CarbonSum,
    location_emission,
    market_emission,
)
from scheduler.energy.factors.official_china import official_factor, residual_factor
from scheduler.energy.power import marginal_watts
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import DATA_CLASSES, DataClass
from scheduler.model.kinds.rights import BUILT_IN_RULES
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI
from scheduler.model.units import SECONDS_PER_HOUR
from scheduler.placement.choose import choose
from scheduler.placement.public import demand_from_spec
from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.choosers import SiteChoice
from scheduler.simulation.trace.grouping import SiteRecord
from scheduler.simulation.trace.kapok import node_classes_of, time_at
from scheduler.simulation.trace.reading import (
    CARD_MILLI,
    NodeRecord,
    PodRecord,
    TracePodShape,
    read_nodes,
    read_pods,
)
from scheduler.simulation.trace.runner import Assignment, TraceRunner

_Drawn = TypeVar("_Drawn")

_TRACE = "openb-gpu-v2023"
_NODES, _PODS = "openb_node_list_all_node.csv", "openb_pod_list_default.csv"
_YEAR = 2023
_STALE_SECONDS = 315_360_000
_INPUTS = f"{INPUT}; pods and nodes: measured (openb trace); classes, levels, latency: drawn"
_TERMS = {
    "carbon": Terms(
        report_stale_seconds=_STALE_SECONDS, carbon_cny_per_kg=1.0, fallback_core_cny_per_hour=0.0
    ),
    "nearest": Terms(
        report_stale_seconds=_STALE_SECONDS,
        carbon_cny_per_kg=0.0,
        latency_cny_per_millisecond_hour=0.01,
        fallback_core_cny_per_hour=0.0,
    ),
}
_CLASSES: tuple[tuple[DataClass, int], ...] = (
    ("general-1", 35),
    ("general-2", 30),
    ("general-3", 20),
    ("general-4", 8),
    ("important", 5),
    ("core", 2),
)
_WITHIN_MILLISECONDS: tuple[tuple[float | None, int], ...] = (
    (None, 30),
    (10.0, 35),
    (20.0, 20),
    (40.0, 15),
)
"""Of services (QoS LS); other pods may be anywhere that their class allows."""
_NO_BOUND_MILLISECONDS = 1000.0
_LEVELS = ((1, 50), (2, 35), (3, 15))


@dataclass(frozen=True, slots=True)
class Asked:
    """What was drawn for a pod."""

    data_class: DataClass
    level: int
    within_milliseconds: float | None

    def spec(self, pod: PodRecord) -> dict[str, Any]:
        """`spec` of the Workload that runs the pod."""
        shape = pod.shape
        requests: dict[str, object] = {
            "cpu": f"{shape.cpu_milli}m",
            "memory": f"{shape.memory_mib}Mi",
        }
        if shape.card_count:
            requests |= {GPU_CARDS: shape.card_count, GPU_MILLI: shape.card_milli}
        # Without a bound the way to Guangzhou would have no price.
        within = self.within_milliseconds or _NO_BOUND_MILLISECONDS
        home = self.data_class in {"general-4", "important", "core"}
        return {
            "dataClass": self.data_class,
            "protectionLevel": self.level,
            "jurisdictions": [JURISDICTION_OF_HOME] if home else [],
            "demand": {"requests": requests, "gpuModels": list(shape.models)},
            "placement": {"latency": [{"from": "guangzhou", "withinMilliseconds": within}]},
        }


def draw(pods: Sequence[PodRecord], services: set[str], seed: int) -> dict[str, Asked]:
    """Class, level and latency of each pod; by the pod's place in the trace and the seed."""
    chance = Random(seed)  # noqa: S311 - a simulation
    found = {}
    for pod in pods:
        data_class: DataClass = _drawn(chance, _CLASSES)
        level, within = _drawn(chance, _LEVELS), _drawn(chance, _WITHIN_MILLISECONDS)
        # A class brings its least level; a lower one would be asked for in vain.
        floor = 1 if data_class == "core" else BUILT_IN_RULES[data_class].protection_level
        latency = within if pod.name in services else None
        found[pod.name] = Asked(data_class, max(level, floor), latency)
    return found


@dataclass(frozen=True, slots=True)
class Study:
    """What a run is given: sites, their machines, the pods, and what was drawn for each."""

    sites: Sequence[HubSite]
    records: Sequence[SiteRecord]
    pods: list[PodRecord]
    asked: dict[str, Asked]


def _drawn(chance: Random, table: Sequence[tuple[_Drawn, int]]) -> _Drawn:
    return chance.choices([each for each, _ in table], [share for _, share in table])[0]


class HubChooser:
    """Chooses a site for each pod with the product's decision."""

    def __init__(
        self,
        sites: Sequence[HubSite],
        binders: list[SiteBinder],
        asked: dict[str, Asked],
        terms: Terms,
    ) -> None:
        self._binders, self._asked, self._terms = binders, asked, terms
        self._facts = [facts_of(site, time_at(0)) for site in sites]
        self._fleet = fleet_of(self._facts)
        self._index = {site.name: number for number, site in enumerate(sites)}
        self._demands: dict[tuple[object, Asked], Demand] = {}
        for number in range(len(sites)):
            self.on_site_change(number, 0)

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The site of one decision."""
        asked = self._asked[pod.name]
        key = (pod.shape, asked)
        if key not in self._demands:
            self._demands[key] = demand_from_spec("guangzhou/pod", asked.spec(pod))
        demand = msgspec.structs.replace(
            self._demands[key], key=f"guangzhou/{pod.name}", uid=pod.name
        )
        decision = choose(demand, self._fleet, now=time_at(now_seconds), terms=self._terms)
        if decision.phase != "Placed":
            return SiteChoice(None, next(iter(sorted(decision.reasons)), "full"))
        return SiteChoice(self._index[decision.assignment[0].site])

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """A new report of the site."""
        facts = self._facts[site]
        status = msgspec.structs.replace(
            facts.status,
            observed_at=time_at(now_seconds),
            node_classes=node_classes_of(self._binders[site]),
        )
        self._fleet.upsert(msgspec.structs.replace(facts, status=status))

    def may_have_capacity(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Whether one of these nodes holds the shape."""
        return any(self._binders[site].node_fits(node, shape) for node in nodes)


def broken_rules(site: HubSite, asked: Asked) -> Iterator[str]:
    """The hard rules that a placement breaks, from the raw tables alone."""
    if asked.data_class == "core":
        yield "core data is placed"
    if asked.data_class == "important":
        yield "important data without an allow list is placed"
    if DATA_CLASSES.index(asked.data_class) > DATA_CLASSES.index(site.data_class):
        yield f"{asked.data_class} at a site for {site.data_class}"
    if asked.level > site.level:
        yield f"level {asked.level} at a site of level {site.level}"
    if asked.data_class in {"general-3", "general-4"} and not site.jurisdiction.startswith("CN-"):
        yield f"{asked.data_class} in {site.jurisdiction}"
    if asked.data_class == "general-4" and site.jurisdiction != JURISDICTION_OF_HOME:
        yield f"general-4 of {JURISDICTION_OF_HOME} in {site.jurisdiction}"
    within = asked.within_milliseconds
    if within is not None and not (site.rtt_ms is not None and site.rtt_ms <= within):
        yield f"{site.rtt_ms} ms where {within} ms are asked"


def rows(data: Path | None, seed: int) -> list[dict[str, object]]:
    """One row for each way to decide, then one for each cluster's break-even green share.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: a hard rule was broken, or a break-even share is not that of the formula.
    """
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds china-hubs, {_TRACE}")
    sites = read_hub_sites(data)
    folder = data / _TRACE
    pods = read_pods(folder / _PODS)
    asked = draw(pods, _services(folder / _PODS), seed)
    records = _sites_with_nodes(sites, read_nodes(folder / _NODES), seed)
    study = Study(sites, records, pods, asked)
    found = [_row(name, terms, study) for name, terms in _TERMS.items()]
    baseline = found[-1][1]
    compared = [
        {**row, "location_saving": round(1 - kilograms / baseline, 4), "inputs": _INPUTS}
        for row, kilograms in found
    ]
    return [*compared, *break_even_rows(least_green_shares(sites))]


def _services(path: Path) -> set[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"] for row in csv.DictReader(file) if row.get("qos") == "LS"}


def _sites_with_nodes(
    sites: Sequence[HubSite], nodes: Sequence[NodeRecord], seed: int
) -> list[SiteRecord]:
    """The machines of the trace, shuffled and given out by the weights of the sites."""
    shuffled = list(nodes)
    Random(seed).shuffle(shuffled)  # noqa: S311 - a simulation
    turns = [number for number, site in enumerate(sites) for _ in range(site.weight)]
    given: list[list[NodeRecord]] = [[] for _ in sites]
    for place, node in enumerate(shuffled):
        given[turns[place % len(turns)]].append(node)
    return [
        SiteRecord(site.name, tuple(sorted(own, key=lambda node: node.name)))
        for site, own in zip(sites, given, strict=True)
    ]


def _row(name: str, terms: Terms, study: Study) -> tuple[dict[str, object], float]:
    """The row of one way to decide, and its kilograms in the location ledger."""
    sites, asked = study.sites, study.asked
    binders = [SiteBinder(record) for record in study.records]
    chooser = HubChooser(sites, binders, asked, terms)
    outcome = TraceRunner(sites=binders, chooser=chooser, pods=study.pods).run()
    broken = [
        f"{each.pod.name} at {sites[each.site].name}: {problem}"
        for each in outcome.assignments
        for problem in broken_rules(sites[each.site], asked[each.pod.name])
    ]
    if broken or outcome.wrong_fits:
        raise ValueError(
            f"{len(broken)} hard rules broken, {outcome.wrong_fits} wrong fits: {broken[:3]}"
        )
    location, market = _ledgers(sites, outcome.assignments)
    kilograms = location.kilograms or 0.0
    refused = sorted(outcome.refused.items())
    row = {
        "policy": name,
        "placed": len(outcome.assignments),
        "refused": outcome.refused.total() + outcome.waiting,
        "refused_by": ", ".join(f"{slug} {count}" for slug, count in refused),
        "rules_broken": len(broken),
        "wrong_fits": outcome.wrong_fits,
        **_shares_in_the_west(sites, outcome.assignments, asked),
        "location_kg": round(kilograms, 1),
        "market_kg": round(market.kilograms or 0.0, 1),
        "kwh_without_factor": round(location.kwh_without_factor, 3),
    }
    return row, kilograms


def _shares_in_the_west(
    sites: Sequence[HubSite], placed: Sequence[Assignment], asked: dict[str, Asked]
) -> dict[str, object]:
    """IT energy, and the shares of it that are in the west and that may be there by the rules."""
    whole, west, free = 0.0, 0.0, 0.0
    for each, joules in _joules(placed):
        whole += joules
        west += joules * sites[each.site].is_west
        free += joules * (not any(broken_rules(_WEST, asked[each.pod.name])))
    return {
        "it_kwh": round(whole / JOULES_PER_KWH, 1),
        "moved_west": round(west / whole, 4),
        "could_move_west": round(free / whole, 4),
    }


def _ledgers(sites: Sequence[HubSite], placed: Sequence[Assignment]) -> tuple[CarbonSum, CarbonSum]:
    """What all pods emitted, by the location and by the market ledger."""
    by_site: Counter[int] = Counter()
    for each, joules in _joules(placed):
        by_site[each.site] += round(joules)
    location, market = CarbonSum(), CarbonSum()
    for number, joules in by_site.items():
        hour = _energy(sites[number], joules)
        location.add(location_emission(hour), kwh=joules / JOULES_PER_KWH)
        market.add(market_emission(hour), kwh=joules / JOULES_PER_KWH)
    return location, market


def _joules(placed: Sequence[Assignment]) -> Iterator[tuple[Assignment, float]]:
    """The IT energy of each pod; one that never ends is counted until the last one that does."""
    end = max((each.end_seconds or each.start_seconds for each in placed), default=0)
    for each in placed:
        yield each, _watts(each) * ((each.end_seconds or end) - each.start_seconds)


_WEST = HubSite("any-western", "CN-GZ", 1.2, 17.5, "general-3", 3, 0, is_west=True)
"""What a western cluster allows at most, with the shortest way of them."""


def _watts(one: Assignment) -> float:
    shape = one.pod.shape
    cards = shape.card_count * shape.card_milli / CARD_MILLI
    requests = {"cpu": shape.cpu_milli, "memory": shape.memory_mib * 2**20}
    return marginal_watts(requests, cards, Terms())


def _energy(site: HubSite, joules: int) -> EnergyHour:
    return EnergyHour(
        site=site.name,
        hour=0,
        seconds=SECONDS_PER_HOUR,
        it_joules=joules,
        origin="modelled",
        pue=site.pue,
        pue_origin="assumed",
        location=official_factor(site.jurisdiction, year=_YEAR),
        residual=residual_factor(site.jurisdiction, year=_YEAR),
    )
