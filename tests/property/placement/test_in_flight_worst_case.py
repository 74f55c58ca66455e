"""What pods in flight may cost: the most over every assignment of them to nodes, by brute force."""

from itertools import product
from random import Random

import numpy as np
import pytest

from benchmarks.fit import is_exact
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight, SiteFacts
from scheduler.model.kinds.site import Headroom, NodeClass, SiteSpec, SiteStatus
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit import in_flight_loss
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fit.in_flight_loss import FlightRow, NodeRow, ReplicaLoss, worst_loss
from scheduler.placement.fleet.fleet import Fleet
from tests.support.tools import require_kernel


def some_case(random: Random) -> tuple[list[NodeRow], list[FlightRow], list[int]]:
    """Few nodes and pods, with amounts so small that ties and exact fits are frequent."""
    shape = [random.randrange(1, 6), random.randrange(6), 1, 0]
    nodes = []
    for _ in range(random.randrange(1, 4)):
        free = [random.randrange(20), random.randrange(20), random.randrange(1, 9), 5]
        fits = min(much // asked for much, asked in zip(free, shape, strict=True) if asked)
        cap = min(fits, random.choice((1, 99, 99)))
        amounts = np.array(free, float)
        nodes.append(NodeRow(random.choice((1, 1, 2)), cap, amounts, amounts))
    flight = [
        FlightRow(
            random.choice((1, 1, 2)),
            np.array(
                [random.randrange(12), random.randrange(12), 1, random.choice((0, 0, 3))], float
            ),
            random.randrange(6) == 0,
        )
        for _ in range(random.randrange(1, 3))
    ]
    return nodes, flight, shape


def brute_force(nodes: list[NodeRow], flight: list[FlightRow], shape: list[int]) -> int:
    each_node = [row for row in nodes for _ in range(row.count)]
    each_pod = [row for row in flight for _ in range(row.count)]
    most = 0
    for places in product(range(-1, len(each_node)), repeat=len(each_pod)):
        lost = 0
        for number, row in enumerate(each_node):
            here = [pod for pod, place in zip(each_pod, places, strict=True) if place == number]
            fixed = sum((pod.asked for pod in here if not pod.fits_anywhere), np.zeros(4))
            if (fixed > row.bindable).any():
                break
            left = row.free - sum((pod.asked for pod in here), np.zeros(4))
            fits = min(int(left[i] // shape[i]) for i in range(4) if shape[i])
            lost += row.cap - max(0, min(row.cap, fits))
        else:
            most = max(most, lost)
    return most


def check(cases: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    some_bound_is_not_exact = False
    for _ in range(cases):
        nodes, flight, shape = some_case(random)
        true = brute_force(nodes, flight, shape)
        asked = np.array(shape, float)
        assert worst_loss(nodes, flight, asked) == ReplicaLoss(true, is_exact=True)
        with monkeypatch.context() as patch:
            patch.setattr(in_flight_loss, "MAX_STATES", 0)
            bound = worst_loss(nodes, flight, asked)
        assert bound.replicas >= true
        assert not bound.is_exact or bound.replicas == true
        some_bound_is_not_exact |= bound.replicas > true
    assert some_bound_is_not_exact


def test_the_loss_is_the_most_of_all_assignments_and_its_bound_never_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(300, 3, monkeypatch)


def test_random_sites_take_what_every_assignment_leaves() -> None:
    random = Random(11)  # noqa: S311 - a test, seeded
    assert all(is_exact(random) for _ in range(2000))


def some_fleet_facts(random: Random, number: int) -> SiteFacts:
    """A site with headroom, devices, GPU cards, reserved room, and pods that fit nowhere."""
    free: list[dict[str, int | float | str]] = [
        {
            "count": random.choice((1, 1, 2, 3)),
            "cpu": random.randrange(1, 12),
            "memory": random.randrange(64),
            "pods": random.randrange(1, 12),
            **random.choice(({}, {"example.org/a": 3}, {"example.org/b": 2, "example.org/a": 1})),
            **random.choice(({}, {}, {f"kapok.dev/gpu-milli.{card}": 1000 for card in range(2)})),
        }
        for _ in range(random.randrange(1, 7))
    ]
    in_flight = tuple(
        InFlight(
            workload=random.choice(("a/b", "a/c", "a/d", f"{RESERVED_FOR_PREFIX}a/e")),
            replicas=random.choice((1, 1, 1, 2, 4)),
            requests={
                "cpu": random.randrange(5000),
                "memory": random.randrange(30),
                "pods": 1,
                **random.choice(({}, {}, {"example.org/b": 1}, {"example.org/c": 1})),
            },
            gpu_cards=random.choice((0, 0, 0, 1, 2)),
            gpu_milli=500,
        )
        for _ in range(random.randrange(6))
    )
    return SiteFacts(
        name=f"s{number}",
        in_flight=in_flight,
        spec=SiteSpec(headroom=Headroom(ratio=random.choice((0, 0, 0.1, 0.5)))),
        status=SiteStatus(node_classes=(NodeClass(architecture="amd64", free=tuple(free)),)),
    )


def check_kernel(fleets: int, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test, seeded
    said = []
    for _ in range(fleets):
        facts = [some_fleet_facts(random, number) for number in range(12)]
        both = Fleet(facts), Fleet(facts, may_compile=False)
        for _ in range(4):
            shape = PodShape(
                requests={
                    "cpu": random.randrange(1, 3000),
                    "memory": random.randrange(1, 16),
                    "pods": 1,
                    **random.choice(({}, {}, {"example.org/a": 1})),
                },
                gpu_cards=random.choice((0, 0, 0, 1, 2)),
                gpu_milli=300,
                one_per_node=random.random() < 0.2,
            )
            demand = Demand(
                key="a/b",
                replicas=random.choice((1, 10, 10**6)),
                unit=(Pods(shape=shape, count=1),),
            )
            compiled, plain = (SiteCapacity(fleet, demand) for fleet in both)
            slots = np.arange(12)
            assert compiled.replicas_at(slots).tolist() == plain.replicas_at(slots).tolist()
            bounds = [plain.is_lower_bound_at_any(slots[at : at + 1]) for at in range(12)]
            assert bounds == [
                compiled.is_lower_bound_at_any(slots[at : at + 1]) for at in range(12)
            ]
            said += bounds
    assert set(said) == {False, True}


def test_the_kernel_searches_as_the_interpreted_engine_does() -> None:
    require_kernel()
    check_kernel(25, 17)


@pytest.mark.soak
def test_the_kernel_searches_as_the_interpreted_engine_does_in_many_fleets() -> None:
    require_kernel()
    check_kernel(500, 19)


@pytest.mark.soak
def test_the_loss_is_the_most_of_all_assignments_in_many_cases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(20_000, 5, monkeypatch)
