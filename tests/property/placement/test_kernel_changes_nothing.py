"""The compiled kernel decides what the interpreted engine decides, byte for byte."""

from random import Random

import msgspec
import numpy as np
import pytest

from benchmarks._city import NOW, MachineType, demands, next_report, site
from scheduler.model.decision import Decision, SiteAssignment, decision_bytes
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.site import SitePrices
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose, division_request, prepare_cycle
from scheduler.placement.divide.divide import iter_cheapest_sites
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds
from tests.support.sites import with_placement
from tests.support.tools import require_kernel

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "hygon", 32, 131072, 2, "T4"),
    MachineType("amd64", "intel", 96, 393216, 8, "A10"),
    MachineType("arm64", "kunpeng", 48, 131072, 0, ""),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1},
        gpu_cards=cards,
        gpu_milli=milli,
    )
    for cpu, gibibytes in ((1000, 2), (4000, 16), (11300, 48), (30000, 4))
    for cards, milli in ((0, 0), (1, 300), (1, 1000), (2, 400), (3, 1000))
]
STRATEGIES = ("CostOptimal", "CostOptimal", "Aggregated", "Balanced", "Weighted", "Duplicated")


def alike(facts: SiteFacts, random: Random) -> SiteFacts:
    """Gives every third site the prices of others, so that the tie-breaker decides, or none."""
    prices = random.choice(
        (
            SitePrices(energy_cny_per_kwh=0.5, core_cny_per_hour=0.05),
            SitePrices(energy_cny_per_kwh=None, core_cny_per_hour=0.05),
            SitePrices(),
            facts.spec.prices,
            facts.spec.prices,
        )
    )
    grant = msgspec.structs.replace(
        facts.grants[0].spec, cpu_vendors=random.choice(((), (), ("intel",), ("hygon", "kunpeng")))
    )
    grants: tuple[Grant, ...] = (msgspec.structs.replace(facts.grants[0], spec=grant),)
    if random.random() < 0.2:  # a second one, of which half is enough
        other = msgspec.structs.replace(grant, data_class="general-1", protection_level=4)
        grants = (*grants, msgspec.structs.replace(grants[0], name="h", spec=other))
    spec = msgspec.structs.replace(facts.spec, prices=prices)
    return msgspec.structs.replace(facts, spec=spec, grants=grants)


def varied(demand: Demand, random: Random) -> Demand:
    """The same with other strategies, node selectors and unusual resources."""
    shape = msgspec.structs.replace(
        demand.unit[0].shape,
        one_per_node=random.random() < 0.15,
        node_selector=random.choice(({}, {}, {"zone": "a"}, {"zone": "nowhere"})),
    )
    odd = random.randrange(12)
    if odd == 0:
        more = {f"example.org/device-{number}": 1 for number in range(random.choice((1, 20)))}
        shape = msgspec.structs.replace(shape, requests={**shape.requests, **more})
    elif odd == 1:
        shape = msgspec.structs.replace(shape, requests={})
    elif odd == 2:
        shape = msgspec.structs.replace(shape, requests={**shape.requests, "cpu": 2**52 - 1})
    return msgspec.structs.replace(
        demand,
        unit=(Pods(shape=shape, count=1),) if odd != 3 else (),
        strategy=random.choice(STRATEGIES),
        mode=random.choice(("Steady", "Steady", "Fresh")),
        replicas=demand.replicas if odd != 4 else 0,
    )


def as_placed(assignment: tuple[SiteAssignment, ...]) -> tuple[PlacedReplicas, ...]:
    """The placement of a decision, as the next decision sees it."""
    return tuple(PlacedReplicas(site=each.site, replicas=each.replicas) for each in assignment)


def decided_alike(demand: Demand, both: tuple[Fleet, Fleet]) -> Decision:
    """The decision, the same with and without the kernel."""
    one, other = (choose(demand, fleet, now=NOW) for fleet in both)
    assert decision_bytes(one) == decision_bytes(other)
    return one


@pytest.mark.parametrize("seed", seeds(4, gate=2))
def test_both_engines_decide_the_same_whatever_is_requested_and_reported(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_kernel()
    if seed % 2:  # so that the kernel caches full sites of small fleets too
        monkeypatch.setattr("scheduler.placement.divide.divide.MIN_SITES_TO_CACHE_FULL", 8)
        monkeypatch.setattr("scheduler.placement.result.MIN_SITES_TO_CACHE_FULL", 8)
    random = Random(seed)  # noqa: S311 - a test, seeded
    facts = [alike(site(number, 5, FORMS, random), random) for number in range(60 + 40 * seed)]
    both = Fleet(facts), Fleet(facts, may_compile=False)
    assert [fleet.is_compiled for fleet in both] == [True, False]
    phases = set()
    for number, plain in enumerate(demands(SHAPES, 150, random)):
        demand = varied(plain, random)
        one = decided_alike(demand, both)
        for fleet in both:
            fleet.assume(demand, one)
        phases.add(one.phase)
        if one.assignment:
            grown = with_placement(demand, as_placed(one.assignment))
            grown = msgspec.structs.replace(grown, replicas=random.randrange(2 * demand.replicas))
            decided_alike(grown, both)
        if number % 6 == 5:
            name = random.choice(sorted(both[0].slot_of))
            report = next_report(both[0].facts_of(name), random)
            for fleet in both:
                fleet.upsert(report)
        if number % 50 == 49:
            for fleet in both:
                fleet.remove(sorted(fleet.slot_of)[number % 7])
    assert phases == {"Placed", "Waiting", "Refused"}


def test_capacity_and_order_of_cost_are_the_same_at_every_site() -> None:
    require_kernel()
    random = Random(11)  # noqa: S311 - a test, seeded
    facts = [alike(site(number, 6, FORMS, random), random) for number in range(150)]
    both = Fleet(facts), Fleet(facts, may_compile=False)
    moment = decision_context(NOW, DEFAULT_TERMS)
    looked_at = 0
    for plain in demands(SHAPES, 120, random):
        demand = msgspec.structs.replace(varied(plain, random), strategy="CostOptimal")
        cases = [prepare_cycle(demand, fleet, moment) for fleet in both]
        slots = cases[0].filter_result.admitted_slots
        assert slots.tolist() == cases[1].filter_result.admitted_slots.tolist()
        assert (
            cases[0].capacity.replicas_at(slots).tolist()
            == cases[1].capacity.replicas_at(slots).tolist()
        )
        orders = [list(iter_cheapest_sites(division_request(case), missing=1)) for case in cases]
        assert orders[0][: len(orders[1])] == orders[1]
        looked_at += len(orders[1])
        for fleet in both:
            fleet.assume(demand, choose(demand, fleet, now=NOW))
    assert looked_at > 500


@pytest.mark.parametrize("slot", [-1, 16, 2**40])
def test_the_kernel_reads_nothing_outside_of_its_arrays(slot: int) -> None:
    require_kernel()
    random = Random(3)  # noqa: S311 - a test, seeded
    fleet = Fleet([site(0, 2, FORMS, random)])
    fit = SiteCapacity(fleet, next(demands(SHAPES, 1, random))).kernel_fit
    assert fit is not None
    assert fleet.slot_capacity == 16
    with pytest.raises(IndexError, match=f"slot {slot} of 16"):
        fit.replicas_at(np.array([slot]))
    with pytest.raises(IndexError, match=f"slot {slot} of 16"):
        fit.cheapest(np.array([slot]), np.zeros(16), None, fleet.name_hashes, 0, None)
    with pytest.raises(ValueError, match="an array of 3 for 16 slots"):
        fit.cheapest(np.array([0]), np.zeros(16), np.zeros(3, np.int64), fleet.name_hashes, 0, None)
