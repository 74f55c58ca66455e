"""What pods in flight may cost: the most over every assignment of them to nodes, by brute force."""

from itertools import product
from random import Random

import numpy as np
import pytest

from benchmarks.fit import is_exact
from scheduler.placement.fit import in_flight_loss
from scheduler.placement.fit.in_flight_loss import FlightRow, NodeRow, ReplicaLoss, worst_loss


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


@pytest.mark.soak
def test_the_loss_is_the_most_of_all_assignments_in_many_cases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(20_000, 5, monkeypatch)
