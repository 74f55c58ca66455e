"""The kernel's limits on the spread inside a site are those of `topology_spread.py`."""

from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, MachineType, demands, next_report, site
from benchmarks._mixes import with_real_nodes
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.fields import Toleration
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds
from tests.support.tools import require_kernel

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "hygon", 32, 131072, 2, "T4"),
    MachineType("amd64", "intel", 96, 393216, 8, "A10"),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1},
        gpu_cards=cards,
        gpu_milli=milli,
    )
    for cpu, gibibytes in ((1000, 2), (4000, 16), (11300, 48))
    for cards, milli in ((0, 0), (0, 0), (1, 300), (2, 400))
]
KEYS = ("zone", "topology.kubernetes.io/zone", "example.com/pool", "nobody-has-it")


def varied_site(facts: SiteFacts, random: Random) -> SiteFacts:
    """A site with more node classes, some of which stand for several nodes or lack a label."""
    classes = []
    for each in with_real_nodes(facts, random).status.node_classes:
        half = len(each.free) // 2
        for rows in (each.free[:half], each.free[half:]):
            labels = {key: value for key, value in each.labels.items() if random.random() < 0.9}
            labels |= {"cores": each.labels["cores"], "zone": random.choice("abc")}
            counted = tuple({**row, "count": random.choice((0, 1, 1, 3))} for row in rows)
            classes.append(replace(each, labels=labels, free=counted))
    status = replace(facts.status, node_classes=tuple(classes))
    return replace(facts, status=status)


def skew(key: str, random: Random) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        topology_key=key,
        max_skew=random.randrange(1, 5),
        min_domains=random.choice((1, 1, 2, 4)),
        honors_affinity=random.random() < 0.7,
        honors_taints=random.random() < 0.5,
    )


def varied(demand: Demand, random: Random) -> Demand:
    zone, host = skew(random.choice(KEYS), random), skew(HOSTNAME_LABEL, random)
    skews = random.choice(((zone,), (host,), (zone, host), (host, zone), ()))
    shape = replace(
        demand.unit[0].shape,
        skews=skews,
        one_per=(random.choice(KEYS),) if not skews else (),
        one_per_node=random.random() < 0.1,
        node_selector=random.choice(({}, {}, {"zone": "a"}, {"example.com/pool": "db"})),
        tolerations=random.choice(((), (Toleration(operator="Exists"),))),
    )
    return replace(
        demand,
        unit=(Pods(shape=shape, count=1),),
        strategy=random.choice(("CostOptimal", "CostOptimal", "Balanced", "Aggregated")),
    )


def compare(seed: int, count: int) -> set[str]:
    random = Random(seed)  # noqa: S311 - a test, seeded
    facts = [varied_site(site(number, 8, FORMS, random), random) for number in range(40)]
    both = Fleet(facts), Fleet(facts, may_compile=False)
    moment = decision_context(NOW, DEFAULT_TERMS)
    phases: set[str] = set()
    for number, plain in enumerate(demands(SHAPES, count, random)):
        demand = varied(plain, random)
        cases = [prepare_cycle(demand, fleet, moment) for fleet in both]
        assert cases[0].capacity.kernel_fit is not None
        every = np.flatnonzero(both[0].has_site)
        found, expected = [case.capacity.replicas_at(every).tolist() for case in cases]
        assert found == expected, demand.unit[0].shape
        one, other = (choose(demand, fleet, now=NOW) for fleet in both)
        assert decision_bytes(one) == decision_bytes(other)
        for fleet in both:
            fleet.assume(demand, one)
        phases.add(one.phase)
        if number % 10 == 9:
            name = random.choice(sorted(both[0].slot_of))
            report = next_report(both[0].facts_of(name), random)
            for fleet in both:
                fleet.upsert(report)
    return phases


@pytest.mark.parametrize("seed", seeds(3, gate=1))
def test_sites_take_the_same_with_and_without_the_kernel(seed: int) -> None:
    require_kernel()
    assert compare(seed, 40) == {"Placed", "Waiting", "Refused"}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 20))
def test_sites_take_the_same_with_and_without_the_kernel_many_times(seed: int) -> None:
    require_kernel()
    compare(seed, 400)
