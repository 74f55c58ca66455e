"""No report of a site grows what the fleet shares, and what a site tells counts when it is named.

One site tells new resources and new kinds of nodes in every report. What the fleet interns is
counted, and so is the work that decisions about other sites do.
"""

import gc
import tracemalloc
from dataclasses import dataclass
from random import Random

import msgspec
import pytest

from benchmarks._check import room_of
from benchmarks._city import NOW, MachineType, demands, next_report, site
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import FreeRow, NodeClass
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes import columns as resource_columns
from scheduler.placement.fleet.nodes.columns import ABSENT_COLUMN
from scheduler.placement.fleet.nodes.taint_index import TaintIndex

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "hygon", 64, 262144, 8, "A10"),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": 2**30, "pods": 1}, gpu_cards=cards, gpu_milli=300 * cards
    )
    for cpu in (500, 4000, 20000)
    for cards in (0, 1, 2)
]
RESOURCES_PER_REPORT = 512
RESOURCES_PER_ROW = 50
REPORTS = 40
WARM_UP = 4


def row_with(names: list[str]) -> FreeRow:
    return {"count": 1, "cpu": 4, **dict.fromkeys(names, 3)}


def flood(facts: SiteFacts, number: int) -> SiteFacts:
    """A report whose resources, labels, taints and models are all new."""
    names = [f"example.com/r{number}-{index}" for index in range(RESOURCES_PER_REPORT)]
    classes = tuple(
        NodeClass(
            labels={"pool": f"p{number}-{begin}"},
            taints=(Taint(key=f"k{number}", value="", effect="PreferNoSchedule"),),
            architecture="amd64",
            cpu_vendor="intel",
            gpu_model=f"m{number}",
            free=(row_with(names[begin : begin + RESOURCES_PER_ROW]),),
        )
        for begin in range(0, RESOURCES_PER_REPORT, RESOURCES_PER_ROW)
    )
    status = msgspec.structs.replace(facts.status, node_classes=classes)
    return msgspec.structs.replace(facts, status=status)


@dataclass(frozen=True)
class Interned:
    """How much the fleet shares between sites."""

    columns: int
    cells: int
    profiles: int
    schemas: int
    resources: int


def interned(fleet: Fleet) -> Interned:
    nodes = fleet.nodes
    return Interned(
        columns=nodes.rows.column_count,
        cells=nodes.rows.matrix.size,
        profiles=len(nodes.profiles),
        schemas=len(nodes._schemas),  # noqa: SLF001 - nothing else counts them
        resources=len(nodes.columns._slots_of),  # noqa: SLF001
    )


def flooded_fleet() -> tuple[Fleet, SiteFacts]:
    random = Random(1)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, FORMS, random) for number in range(30))
    for demand in demands(SHAPES, 40, random):
        fleet.assume(demand, choose(demand, fleet, now=NOW))
    return fleet, fleet.facts_of(sorted(fleet.slot_of)[7])


def test_a_site_that_tells_new_names_in_every_report_leaves_the_fleet_as_large_as_it_was() -> None:
    fleet, hostile = flooded_fleet()
    before = interned(fleet)
    sizes = []
    for number in range(REPORTS):
        fleet.upsert(flood(hostile, number))
        sizes.append(interned(fleet))
    assert set(sizes[WARM_UP:]) <= set(sizes[:WARM_UP])
    assert sizes[-1].columns == before.columns
    fleet.upsert(hostile)
    after = interned(fleet)
    assert (after.columns, after.profiles) == (before.columns, before.profiles)
    assert (after.schemas, after.resources) == (before.schemas, before.resources)


def test_a_flood_of_one_site_costs_other_decisions_only_what_it_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, hostile = flooded_fleet()
    profiles: list[int] = []
    summed: list[int] = []

    def is_counted(index: TaintIndex, number: int, taints: tuple[Taint, ...]) -> None:
        profiles.append(number)
        write(index, number, taints)

    write = TaintIndex.write
    update = "scheduler.placement.fit.summed_capacity.SummedCapacity._update_sums"
    monkeypatch.setattr("scheduler.placement.divide.divide.MIN_SITES_TO_CACHE_FULL", 8)
    monkeypatch.setattr("scheduler.placement.result.MIN_SITES_TO_CACHE_FULL", 8)
    asked = Demand(
        key="a/b",
        data_class="general-1",
        unit=(Pods(shape=PodShape(requests={"cpu": 10**7, "pods": 1}), count=1),),
    )
    choose(asked, fleet, now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr(TaintIndex, "write", is_counted)
        patched.setattr(update, lambda *arguments: summed.extend(arguments[-1].tolist()))
        for number in range(3):
            fleet.upsert(flood(hostile, number))
            choose(asked, fleet, now=NOW)
    kinds = -(-RESOURCES_PER_REPORT // RESOURCES_PER_ROW)
    assert kinds <= len(profiles) <= 6 * kinds  # those that come, and those that go
    assert set(summed) == {fleet.slot_of[hostile.name]}


def exotic(facts: SiteFacts, resources: dict[str, int], pool: str) -> SiteFacts:
    """The site with nodes of a pool that offer more resources."""
    classes = tuple(
        msgspec.structs.replace(
            each,
            labels={**each.labels, "pool": pool},
            free=tuple({**row, **resources} for row in each.free),
        )
        for each in facts.status.node_classes
    )
    status = msgspec.structs.replace(facts.status, node_classes=classes)
    return msgspec.structs.replace(facts, status=status)


def asking(key: str, resource: str, amount: int) -> Demand:
    shape = PodShape(requests={"cpu": 100, "pods": 1, resource: amount})
    return Demand(key=key, data_class="general-1", replicas=3, unit=(Pods(shape=shape, count=1),))


def in_pool(demand: Demand, pool: str) -> Demand:
    if not pool:
        return demand
    shape = msgspec.structs.replace(demand.unit[0].shape, node_selector={"pool": pool})
    return msgspec.structs.replace(demand, unit=(Pods(shape=shape, count=1),))


def capacity(demand: Demand, fleet: Fleet) -> dict[str, tuple[int, int]]:
    """What each site takes, by its nodes and by the sums of what they have free."""
    cycle = prepare_cycle(demand, fleet, decision_context(NOW, DEFAULT_TERMS))
    slots = cycle.filter_result.admitted_slots
    found = zip(
        map(fleet.name_at, slots.tolist()),
        cycle.capacity.replicas_at(slots).tolist(),
        cycle.capacity.replicas_by_sums(slots).tolist(),
        strict=True,
    )
    return {name: (by_nodes, by_sums) for name, by_nodes, by_sums in found}


@pytest.mark.parametrize("may_compile", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_a_resource_that_is_named_late_counts_as_if_it_had_always_been_named(
    seed: int, *, may_compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sites come to offer resources, and cease to, while demands name some of them."""
    monkeypatch.setattr(resource_columns, "_MAX_NAMED", 6)
    random = Random(seed)  # noqa: S311 - a test, seeded
    names = [f"example.com/{letter}" for letter in "abcdef"]
    fleet = Fleet((site(number, 2, FORMS, random) for number in range(12)), may_compile=may_compile)
    phases = set()
    for step in range(60):
        place = fleet.facts_of(random.choice(sorted(fleet.slot_of)))
        offered = {name: random.randrange(9) for name in random.sample(names, 2)}
        fleet.upsert(exotic(next_report(place, random), offered, random.choice(("", "a", "b"))))
        if random.randrange(12) == 0:
            fleet.remove(place.name)
            fleet.upsert(place)
        if random.randrange(3) == 0:
            pod = {"cpu": 100, "pods": 1, random.choice(names): 1}
            flight = (InFlight(workload="x/y", replicas=2, requests=pod, gpu_cards=1, gpu_milli=9),)
            fleet.upsert(msgspec.structs.replace(fleet.facts_of(place.name), in_flight=flight))
        demand = asking(f"a/w{step}", random.choice(names), random.randrange(1, 5))
        if random.randrange(4) == 0:
            demand = next(iter(demands(SHAPES, 1, random)))
        demand = in_pool(demand, random.choice(("", "", "a", "b")))
        decision = choose(demand, fleet, now=NOW)
        fresh = Fleet(fleet.all_facts(), may_compile=False)
        assert decision_bytes(decision) == decision_bytes(choose(demand, fresh, now=NOW))
        assert capacity(demand, fleet) == capacity(demand, fresh)
        if not demand.unit[0].shape.node_selector:
            for name, (by_nodes, _) in capacity(demand, fleet).items():
                room = room_of(fleet.facts_of(name), demand)
                # Where a quick bound of what is in flight leaves enough, it is the answer.
                assert by_nodes == room or demand.replicas <= by_nodes < room
        fleet.assume(demand, decision)
        phases.add(decision.phase)
    assert "Placed" in phases
    assert len(fleet.nodes.columns._numbers) <= 6 + 1  # noqa: SLF001


def test_a_resource_that_nobody_offers_has_no_column_of_its_own() -> None:
    fleet, _ = flooded_fleet()
    before = fleet.nodes.rows.column_count
    assert fleet.nodes.column_number("example.com/nowhere") == ABSENT_COLUMN
    assert choose(asking("a/b", "example.com/nowhere", 1), fleet, now=NOW).phase == "Waiting"
    assert fleet.nodes.rows.column_count == before
    assert not fleet.nodes.rows.matrix[ABSENT_COLUMN].any()


@pytest.mark.soak
def test_ten_thousand_floods_of_one_site_take_no_more_memory() -> None:
    fleet, hostile = flooded_fleet()
    asked = asking("a/b", "cpu", 100)
    tracemalloc.start()
    try:
        sizes = []
        for number in range(10_000):
            fleet.upsert(flood(hostile, number))
            choose(asked, fleet, now=NOW)
            if number % 1000 == 999:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[1:]) - sizes[0] < 2**20
