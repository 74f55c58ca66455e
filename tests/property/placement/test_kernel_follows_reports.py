"""What the kernel keeps of the nodes of a site never outlives a report.

It keeps the most that one node has free of a few resources, so that a site which is too small is
found without its rows. The interpreted fit keeps nothing of the kind.
"""

from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks._city import MachineType, next_report, site
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import Headroom
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet
from tests.support.counts import seeds
from tests.support.tools import require_kernel

_FORMS = (
    MachineType("amd64", "intel", 4, 16384, 0, ""),
    MachineType("amd64", "intel", 8, 32768, 2, "T4"),
    MachineType("amd64", "intel", 8, 32768, 8, "V100"),
    MachineType("amd64", "intel", 8, 32768, 11, "many"),
)


@pytest.mark.parametrize("seed", seeds(6, gate=2))
def test_a_site_takes_the_same_after_any_reports_and_orders(seed: int) -> None:
    require_kernel()
    random = Random(seed)  # noqa: S311 - a test, seeded
    places = [site(number, random.randrange(2, 7), _FORMS, random) for number in range(6)]
    fleet, other = Fleet(places), Fleet(places, may_compile=False)
    is_any = False
    for step in range(60):
        changed = _changed(fleet.facts_of(random.choice(list(fleet.slot_of))), step, random)
        fleet.upsert(changed)
        other.upsert(changed)
        if step % 20 == 19:
            place = site(100 + step, 3, _FORMS, random)
            for each in (fleet, other):
                each.remove(changed.name)
                each.upsert(place)
        for shape in [_shape(step, random) for _ in range(4)]:
            asked = Demand(key="a/b", unit=(Pods(shape=shape, count=1),), replicas=9)
            slots = np.array(sorted(fleet.slot_of.values()))
            assert fleet.slot_of == other.slot_of
            found = SiteCapacity(fleet, asked).replicas_at(slots).tolist()
            assert found == SiteCapacity(other, asked).replicas_at(slots).tolist(), shape
            is_any = is_any or any(found)
    assert is_any


def _shape(step: int, random: Random) -> PodShape:
    cards = random.choice((0, 0, 1, 2, 5, 8, 9))
    requests = {
        "cpu": random.choice((1, 500, 2000, 5000)),
        "memory": random.choice((1, 2**30, 2**33)),
        "pods": random.choice((1, 1, 60)),
    }
    if step > 30:  # a column that appears late
        requests["example.org/a"] = 1
    milli = random.choice((100, 400, 500, 1000))
    return PodShape(requests=requests, gpu_cards=cards, gpu_milli=milli if cards else 0)


def _changed(facts: SiteFacts, step: int, random: Random) -> SiteFacts:
    kind = random.randrange(5)
    if kind == 0:
        order = InFlight(
            workload=f"a/{step}",
            replicas=random.randrange(1, 4),
            requests={"cpu": random.randrange(4000), "memory": random.randrange(2**32), "pods": 1},
            gpu_cards=random.choice((0, 1, 2)),
            gpu_milli=500,
        )
        return replace(facts, in_flight=(*facts.in_flight, order))
    if kind == 1 and facts.status.node_classes:
        fewer = facts.status.node_classes[: random.randrange(2)]
        return replace(facts, status=replace(facts.status, node_classes=fewer))
    if kind == 2:
        ratio = random.choice((0.0, 0.1, 0.5))
        return replace(facts, spec=replace(facts.spec, headroom=Headroom(ratio=ratio)))
    return next_report(facts, random)
