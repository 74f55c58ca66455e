"""Sets of different pods at one site, against a search that shares no code with the engine."""

from random import Random
from typing import Any

import numpy as np
import pytest

from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import FreeRow, NodeClass, SiteStatus
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.fit import pod_sets as sets
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fit.pod_sets import PodSetCapacity, pod_sets_at
from scheduler.placement.fleet.fleet import Fleet


def shape(cpu: int, **more: Any) -> PodShape:  # noqa: ANN401 - fields
    return PodShape(requests={"cpu": cpu, "pods": 1}, **more)


def fleet(*rows: FreeRow, in_flight: tuple[InFlight, ...] = (), zone: str = "") -> Fleet:
    labels = {"zone": zone} if zone else {}
    classes = (NodeClass(architecture="amd64", labels=labels, free=tuple(rows)),)
    status = SiteStatus(node_classes=classes)
    return Fleet([SiteFacts(name="m1", status=status, in_flight=in_flight)])


def row(cpu: int, count: int = 1, **more: float | str) -> FreeRow:
    return {"count": count, "cpu": f"{cpu}m", "pods": 110, **more}


def sets_of(there: Fleet, *unit: PodShape, replicas: int = 9, placed: int = 0) -> PodSetCapacity:
    demand = Demand(
        key="a/b",
        replicas=replicas,
        unit=tuple(Pods(shape=each, count=1) for each in unit),
        placed=(PlacedReplicas(site="m1", replicas=placed),) if placed else (),
    )
    permitted = np.ones(len(there.nodes.profiles), np.bool_)
    return pod_sets_at(there, 0, demand, permitted=permitted, is_new=not placed)


def possible(free: list[int], pods: list[int]) -> bool:
    """Whether some assignment fits pods of these sizes."""
    if not pods:
        return True
    return any(
        size >= pods[0] and possible([*free[:at], size - pods[0], *free[at + 1 :]], pods[1:])
        for at, size in enumerate(free)
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_set_never_gets_more_than_fits_and_what_is_called_exact_is(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    free = [random.randrange(1, 12) for _ in range(random.randrange(1, 5))]
    asked = [random.randrange(1, 7) for _ in range(random.randrange(2, 4))]
    found = sets_of(fleet(*(row(cpu) for cpu in free)), *(shape(cpu) for cpu in asked), replicas=4)
    right = max(count for count in range(5) if possible(free, asked * count))
    assert found.sets <= right
    if found.is_exact:
        assert found.sets == right


def test_few_pods_are_searched_where_first_fit_fails() -> None:
    there = fleet(row(6, 2))
    assert sets_of(there, *(shape(cpu) for cpu in (3, 3, 2, 2, 2)), replicas=1) == PodSetCapacity(
        1, is_exact=True
    )
    assert sets_of(there, *(shape(cpu) for cpu in (4, 4, 3)), replicas=1) == PodSetCapacity(
        0, is_exact=True
    )


def test_pods_of_a_set_that_take_the_same_host_port_do_not_share_a_node() -> None:
    one = shape(1, host_ports=("TCP/0.0.0.0/80",), one_per_node=True)
    other = shape(2, host_ports=("TCP/10.0.0.1/80",), one_per_node=True)
    apart = shape(2, host_ports=("UDP/0.0.0.0/80", "TCP/0.0.0.0/81"), one_per_node=True)
    there = fleet(row(9, 3))
    assert sets_of(there, one, other).sets == 1
    assert sets_of(there, one, apart).sets == 3


def test_a_set_obeys_the_topology_limits_of_its_pods() -> None:
    single_zone = fleet(row(9, 3), zone="a")
    assert sets_of(single_zone, shape(1, one_per=("zone",)), shape(2)).sets == 1
    tight = shape(3, skews=(TopologySpreadConstraint(topology_key=HOSTNAME_LABEL, max_skew=1),))
    uneven = fleet(row(9), row(2))
    assert sets_of(uneven, tight, shape(1)) == PodSetCapacity(1, is_exact=False)


def test_pods_of_a_set_take_whole_cards_and_shares_of_them() -> None:
    there = fleet(row(9, 2, **{"kapok.dev/gpu-milli.0": 1000, "kapok.dev/gpu-milli.1": 500}))
    whole, half = shape(1, gpu_cards=1, gpu_milli=1000), shape(2, gpu_cards=1, gpu_milli=500)
    assert sets_of(there, whole, half).sets == 2
    assert sets_of(there, whole, whole, half) == PodSetCapacity(1, is_exact=True)


def test_replicas_in_flight_and_pods_that_run_apart_count_against_a_set() -> None:
    in_flight = (InFlight(workload="a/c", replicas=1, requests={"cpu": 4, "pods": 1}),)
    # Both nodes of 9 are equal: 5 and 9 are left, for the pods 4 + 1 and 4 + 1.
    assert sets_of(fleet(row(9, 2), in_flight=in_flight), shape(4), shape(1)).sets == 2
    assert sets_of(fleet(row(9), row(4), in_flight=in_flight), shape(4), shape(1)).sets == 1
    assert sets_of(fleet(row(5), row(3), in_flight=in_flight), shape(4), shape(1)).sets == 0
    alone = shape(1, one_per_node=True)
    assert sets_of(fleet(row(9, 4)), alone, shape(1)).sets == 4
    assert sets_of(fleet(row(9, 4)), alone, shape(1), placed=3).sets == 1


def test_large_sets_are_counted_in_a_bounded_number_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bounded search never counts more than fits: nodes that are left out count as absent."""
    there = fleet(row(100, 10**9))
    assert sets_of(there, shape(60), shape(40), replicas=10**6) == PodSetCapacity(
        256, is_exact=False
    )
    alone = shape(60, skews=(TopologySpreadConstraint(topology_key=HOSTNAME_LABEL, max_skew=1),))
    monkeypatch.setattr(sets, "MAX_SINGLE_STEPS", 5)
    few = sets_of(fleet(row(100, 50)), alone, shape(40), replicas=50)
    assert few.sets <= 5
    assert not few.is_exact


def test_the_decision_says_whether_capacity_was_searched_or_bounded() -> None:
    for count, searched in ((3, True), (9, False)):
        there = fleet(row(7, count))
        unit = (Pods(shape=shape(4), count=1), Pods(shape=shape(5), count=1))
        room = SiteCapacity(there, Demand(key="a/b", replicas=9, unit=unit))
        room.replicas_at(np.array([0]))
        assert room.is_exhaustive == searched
