"""What `kapok survive` says of small fleets holds against a search through all placements."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.demand.facts import InFlight
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import LoseSites
from scheduler.whatif.survival.answer import ask_survival
from tests.support.sites import Raw, grant, site, workload
from tests.support.whatifs import copy_of

SITES = ("m0", "m1", "m2", "m3")
SOUTH = {"m0": "CN-GD", "m1": "CN-GD", "m2": "CN-GX", "m3": "CN-GX"}
Sizes = tuple[int, ...]


class SmallFleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet as the search sees it: nodes by site, and workloads as (name, cores, placed, rules).

    Attributes:
        copy: the same for the engine.
        nodes: free cores of each node, by site.
        in_flight: cores of each pod in flight, by site.
        closed: sites that take nothing new.
        cores: of one replica, by workload.
        placed: replicas by site, by workload.
        only: the province that a workload may run in; empty: any.
    """

    copy: Any
    nodes: dict[str, Sizes]
    in_flight: dict[str, Sizes]
    closed: frozenset[str]
    cores: dict[str, int]
    placed: dict[str, dict[str, int]]
    only: dict[str, str]

    def displaced(self, gone: frozenset[str]) -> dict[str, int]:
        """The replicas that a loss takes, by workload."""
        found = {
            key: sum(count for name, count in placed.items() if name in gone)
            for key, placed in self.placed.items()
        }
        return {key: count for key, count in found.items() if count}

    def lawful(self, key: str, gone: frozenset[str]) -> list[str]:
        """The sites whose rules admit a workload."""
        province = self.only[key]
        return [
            name
            for name in SITES
            if name not in gone | self.closed and (not province or SOUTH[name] == province)
        ]


@st.composite
def fleets(draw: st.DrawFn) -> SmallFleet:
    nodes = {name: tuple(draw(st.lists(st.integers(0, 3), max_size=3))) for name in SITES}
    closed = frozenset(draw(st.sets(st.sampled_from(SITES), max_size=1)))
    flying = {name: tuple(draw(st.lists(st.integers(1, 2), max_size=1))) for name in SITES}
    raw = [_site(name, nodes[name], closed) for name in SITES]
    raw.append(grant(*SITES))
    cores, placed, only = dict[str, int](), dict[str, dict[str, int]](), dict[str, str]()
    for number in range(draw(st.integers(1, 4))):
        name = f"w{number}"
        cores[f"ns/{name}"] = draw(st.integers(1, 2))
        there = draw(
            st.dictionaries(st.sampled_from(SITES), st.integers(1, 2), min_size=1, max_size=2)
        )
        placed[f"ns/{name}"] = there
        only[f"ns/{name}"] = draw(st.sampled_from(["", "", "CN-GD", "CN-GX"]))
        placement: Raw = {"strategy": draw(st.sampled_from(["CostOptimal", "Balanced"]))}
        if only[f"ns/{name}"]:
            selector = {"matchLabels": {"province": only[f"ns/{name}"]}}
            placement["siteSelector"] = selector
        raw.append(
            workload(
                sum(there.values()) + draw(st.sampled_from([0, 0, 1])),
                name=name,
                placed=there,
                requests={"cpu": str(cores[f"ns/{name}"]), "memory": "1Mi"},
                priority=draw(st.sampled_from([0, 10])),
                placement=placement,
            )
        )
    copy = _with_in_flight(copy_of(*raw), flying)
    return SmallFleet(
        copy=copy,
        nodes=nodes,
        in_flight=flying,
        closed=closed,
        cores=cores,
        placed=placed,
        only=only,
    )


def _site(name: str, sizes: Sizes, closed: frozenset[str]) -> Raw:
    rows = [
        {"count": 1, "cpu": str(cores), "memory": f"{8 + number}Gi", "pods": 110}
        for number, cores in enumerate(sizes)
    ]
    spec = {"cordon": name in closed, "location": {"province": SOUTH[name]}}
    classes = [{"architecture": "amd64", "free": rows}] if rows else []
    return site(name, *classes, spec=spec, labels={"province": SOUTH[name]})


def _with_in_flight(copy: FleetCopy, flying: Mapping[str, Sizes]) -> FleetCopy:
    return copy.with_facts(
        msgspec.structs.replace(
            one,
            in_flight=tuple(
                InFlight(
                    workload=f"ns/other-{number}",
                    replicas=1,
                    requests={"cpu": cores * 1000, "pods": 1},
                )
                for number, cores in enumerate(flying[one.name])
            ),
        )
        for one in copy.facts
    )


@cache
def packs(pods: Sizes, free: Sizes) -> bool:
    """Whether pods of these sizes, largest first, fit on nodes."""
    if not pods:
        return True
    first, rest = pods[0], pods[1:]
    return any(
        packs(rest, tuple(sorted((*free[:at], left - first, *free[at + 1 :]))))
        for at, left in enumerate(free)
        if left >= first
    )


def landings(flying: Sizes, free: Sizes) -> Iterator[Sizes]:
    """All that can be left when what is in flight has landed, each pod on a node where it fits."""
    if not flying:
        yield tuple(sorted(free))
        return
    first, rest = flying[0], flying[1:]
    places = [at for at, left in enumerate(free) if left >= first]
    for at in places:
        yield from landings(rest, (*free[:at], free[at] - first, *free[at + 1 :]))
    if not places:
        yield from landings(rest, free)


def exists(fleet: SmallFleet, gone: frozenset[str]) -> bool:
    """Whether all displaced replicas have lawful nodes together, if nothing in flight lands."""
    replicas = [
        (fleet.cores[key], fleet.lawful(key, gone))
        for key, count in fleet.displaced(gone).items()
        for _ in range(count)
    ]
    replicas.sort(key=lambda one: -one[0])
    return _search(replicas, {name: tuple(sorted(fleet.nodes[name])) for name in SITES})


def _search(replicas: Sequence[tuple[int, list[str]]], free: dict[str, Sizes]) -> bool:
    if not replicas:
        return True
    (cores, sites), rest = replicas[0], replicas[1:]
    for name in sites:
        for at in range(len(free[name])):
            left = free[name][at]
            if left < cores or (at and free[name][at - 1] == left):
                continue
            after = tuple(sorted((*free[name][:at], left - cores, *free[name][at + 1 :])))
            if _search(rest, {**free, name: after}):
                return True
    return False


def check_plan(fleet: SmallFleet, gone: frozenset[str], plan: Sequence[dict[str, Any]]) -> None:
    """Every displaced replica has a lawful site, and each site takes its pods however it lands."""
    arrivals: dict[str, list[int]] = {name: [] for name in SITES}
    planned: Counter[str] = Counter()
    for row in plan:
        for one in row["to"]:
            assert one["site"] in fleet.lawful(row["workload"], gone)
            arrivals[one["site"]] += [fleet.cores[row["workload"]]] * one["replicas"]
            planned[row["workload"]] += one["replicas"]
    assert dict(planned) == fleet.displaced(gone)
    for name, pods in arrivals.items():
        ordered = tuple(sorted(pods, reverse=True))
        for free in landings(fleet.in_flight[name], fleet.nodes[name]):
            assert packs(ordered, free), (name, pods, free)


COUNTS: Counter[tuple[bool | None, bool]] = Counter()


@given(fleet=fleets())
@settings(max_examples=300, deadline=None)
def test_no_false_survives_and_no_false_proof(fleet: SmallFleet) -> None:
    before = msgspec.json.encode(fleet.copy)
    losses = [LoseSites(kind="site", value="*"), LoseSites(kind="province", value="*")]
    answer = ask_survival(fleet.copy, losses, max_explained=0)
    assert msgspec.json.encode(fleet.copy) == before
    assert len(answer["losses"]) == len(SITES) + 2
    for row in answer["losses"]:
        province = row["of"].partition("=")[2]
        gone = frozenset(
            name for name in SITES if (SOUTH[name] == province if province else name == row["of"])
        )
        COUNTS[row["survives"], exists(fleet, gone)] += 1
        if row["survives"] is True:
            check_plan(fleet, gone, row["plan"])
        elif row["survives"] is False:
            assert not exists(fleet, gone)
        assert row["workloads"] == len(fleet.displaced(gone))
        assert row["lostCount"] + len(row["plan"]) == row["workloads"]


@given(fleet=fleets(), place=st.integers(0, len(SITES) - 1))
@settings(max_examples=40, deadline=None)
def test_a_loss_is_judged_as_if_it_were_the_only_one(fleet: SmallFleet, place: int) -> None:
    of_all = ask_survival(fleet.copy, [LoseSites(kind="site", value="*")], max_explained=0)
    alone = ask_survival(fleet.copy, [LoseSites(kind="site", value=SITES[place])], max_explained=0)
    assert alone["losses"] == [of_all["losses"][place]]
    assert ask_survival(fleet.copy, max_explained=0)["losses"][place]["plan"] is None
