"""A decision that places at one site says the cost that the sum over its sites says."""

from operator import mul
from random import Random

import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, MachineType, demands, site
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.cost.energy import carbon_intensity_of_run, replica_kwh_per_hour
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds

FORM = MachineType("amd64", "intel", 32, 131072, 0, "")
SHAPES = [
    PodShape(requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1})
    for cpu, gibibytes in ((700, 1), (3000, 9), (11300, 48))
]


@pytest.mark.parametrize("seed", seeds(6, gate=2))
def test_the_cost_at_one_site_is_the_sum_over_sites_bit_for_bit(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, [FORM], random) for number in range(60))
    single = 0
    for demand in demands(SHAPES, 150, random):
        few = replace(demand, replicas=min(demand.replicas, 9))
        decision = choose(few, fleet, now=NOW)
        if decision.phase == "Placed":
            context = decision_context(NOW, DEFAULT_TERMS)
            costs = prepare_cycle(few, fleet, context).costs
            emitted = carbon_intensity_of_run(fleet, few, context)
            slots = [fleet.slot_of[each.site] for each in decision.assignment]
            counts = [each.replicas for each in decision.assignment]
            money = sum(map(mul, costs.cny[slots].tolist(), counts), 0.0)
            grams = sum(map(mul, emitted.value[slots].tolist(), counts), 0.0)
            is_known = not costs.unknown[slots].any()
            assert decision.cost.cny_per_hour == (money if is_known else None)
            assert decision.cost.gco2_per_hour == (
                None if emitted.missing[slots].any() else grams * replica_kwh_per_hour(few, context)
            )
            single += len(slots) == 1
        fleet.assume(few, decision)
    assert single, "no decision placed at one site"
