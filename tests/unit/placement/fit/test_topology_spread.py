"""Topology limits inside a site, against a search over everything that a scheduler could do."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from random import Random

import pytest

from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import NodeClass, SiteStatus
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape, TopologySpreadConstraint
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet

Node = tuple[int, str]
"""Room for pods, and zone; "" is none."""
Counts = tuple[int, ...]


def room(
    nodes: list[Node],
    shape: PodShape,
    *,
    flying: int = 0,
    own: int = 0,
    own_flying: int = 0,
    tainted: tuple[int, ...] = (),
) -> int:
    """The answer of `SiteCapacity`."""
    classes = tuple(
        NodeClass(
            architecture="amd64",
            labels={"zone": zone} if zone else {},
            taints=(Taint(key="k", effect="NoSchedule"),) if place in tainted else (),
            free=({"count": 1, "cpu": str(cap), "pods": 110},),
        )
        for place, (cap, zone) in enumerate(nodes)
    )
    flights = [
        InFlight(workload=workload, replicas=count, requests=shape.requests)
        for workload, count in (("a/c", flying), ("a/b", own_flying))
        if count
    ]
    facts = SiteFacts(name="m1", status=SiteStatus(node_classes=classes), in_flight=tuple(flights))
    fleet = Fleet([facts])
    placed = (PlacedReplicas(site="m1", replicas=own + own_flying),) if own + own_flying else ()
    demand = Demand(key="a/b", unit=(Pods(shape=shape, count=1),), placed=placed)
    return SiteCapacity(fleet, demand).replicas_at_slot(0)


def most(
    nodes: list[Node], skews: tuple[TopologySpreadConstraint, ...], begun: Counts | None = None
) -> int:
    """The most pods that can be added one by one: every order and every node is tried."""
    seen = {begun or (0,) * len(nodes)}
    wave = set(seen)
    added = 0
    while True:
        wave = {after for before in wave for after in _steps(nodes, skews, before)} - seen
        if not wave:
            return added
        seen |= wave
        added += 1


def _steps(
    nodes: list[Node], skews: tuple[TopologySpreadConstraint, ...], counts: Counts
) -> Iterator[Counts]:
    for at, (cap, _) in enumerate(nodes):
        after = (*counts[:at], counts[at] + 1, *counts[at + 1 :])
        if after[at] <= cap and all(_holds(each, nodes, after, at) for each in skews):
            yield after


def _holds(skew: TopologySpreadConstraint, nodes: list[Node], counts: Counts, at: int) -> bool:
    """The filter of kube-scheduler's PodTopologySpread, after the pod is put down."""
    keys = [
        str(place) if skew.topology_key == HOSTNAME_LABEL else nodes[place][1]
        for place in range(len(nodes))
    ]
    held: dict[str, int] = {}
    for key, (_, zone), count in zip(keys, nodes, counts, strict=True):
        if zone:
            held[key] = held.get(key, 0) + count
    if not nodes[at][1]:
        return False
    before = {**held, keys[at]: held[keys[at]] - 1}
    least = min(before.values()) if len(held) >= skew.min_domains else 0
    return held[keys[at]] - least <= skew.max_skew


def some(random: Random) -> list[Node]:
    return [(random.randrange(4), random.choice("aab")) for _ in range(random.randrange(1, 5))]


def shape_of(*skews: TopologySpreadConstraint) -> PodShape:
    return PodShape(requests={"cpu": 1000, "pods": 1}, skews=skews)


def zone_skew(random: Random) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        topology_key="zone",
        max_skew=random.randrange(1, 4),
        min_domains=random.choice((1, 1, 1, 2, 3)),
    )


def host_skew(random: Random) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        topology_key=HOSTNAME_LABEL,
        max_skew=random.randrange(1, 3),
        min_domains=random.choice((1, 1, 1, 2, 3)),
    )


@pytest.mark.parametrize("seed", range(40))
def test_one_spread_constraint_leaves_exactly_what_a_search_finds(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = some(random)
    skew = random.choice((zone_skew, host_skew))(random)
    assert room(nodes, shape_of(skew)) == most(nodes, (skew,))


@pytest.mark.parametrize("seed", range(60))
def test_zone_and_hostname_together_leave_exactly_what_a_search_finds(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = some(random)
    skews = (zone_skew(random), host_skew(random))
    assert room(nodes, shape_of(*skews)) == most(nodes, skews)


@pytest.mark.parametrize(
    ("honoring", "most_apart", "expected"),
    [
        (("zone", HOSTNAME_LABEL), 1, 5),  # as if the tainted nodes were not there
        (("zone",), 1, 3),  # no node holds more than one more than the tainted ones
        ((HOSTNAME_LABEL,), 3, 5),  # no zone holds more than three more than the tainted one
        ((), 3, 3),
    ],
)
def test_each_constraint_has_domains_of_its_own(
    honoring: tuple[str, ...], most_apart: int, expected: int
) -> None:
    """The last two nodes are tainted; `nodeTaintsPolicy` says for which constraints they count."""
    nodes = [(3, "b"), (3, "b"), (3, "c"), (9, "b"), (9, "a")]
    skews = tuple(
        TopologySpreadConstraint(topology_key=key, max_skew=most, honors_taints=key in honoring)
        for key, most in (("zone", most_apart), (HOSTNAME_LABEL, 1))
    )
    assert room(nodes, shape_of(*skews), tainted=(3, 4)) == expected


@pytest.mark.parametrize("seed", range(40))
def test_replicas_in_flight_count_where_they_harm_a_spread_most(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = some(random)
    skew = random.choice((zone_skew, host_skew))(random)
    flying = random.randrange(1, 4)
    total = sum(cap for cap, _ in nodes)
    worst = 0
    if flying <= total:
        places = [at for at, (cap, _) in enumerate(nodes) for _ in range(cap)]
        worst = min(
            most([(cap - taken.count(at), zone) for at, (cap, zone) in enumerate(nodes)], (skew,))
            for taken in combinations_with_replacement(sorted(set(places)), flying)
            if all(taken.count(at) <= nodes[at][0] for at in set(taken))
        )
    assert room(nodes, shape_of(skew), flying=flying) == worst


@pytest.mark.parametrize("seed", range(60))
def test_running_replicas_leave_no_more_capacity_than_at_their_worst_places(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = some(random)
    skews = random.choice(((zone_skew,), (host_skew,), (zone_skew, host_skew)))
    made = tuple(each(random) for each in skews)
    own = random.randrange(1, 4)
    roomy = [(cap + own, zone) for cap, zone in nodes]
    reached = {(0,) * len(nodes)}
    for _ in range(own):
        reached = {after for before in reached for after in _steps(roomy, made, before)}
    if not reached:
        return
    worst = min(
        most(
            [(cap + held, zone) for (cap, zone), held in zip(nodes, begun, strict=True)],
            made,
            begun,
        )
        for begun in reached
    )
    assert room(nodes, shape_of(*made), own=own) <= worst


@pytest.mark.parametrize("keys", [("zone", "zone"), (HOSTNAME_LABEL, HOSTNAME_LABEL)])
@pytest.mark.parametrize("seed", range(10))
def test_two_constraints_over_one_key_are_a_lower_bound(seed: int, keys: tuple[str, ...]) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = some(random)
    skews = tuple(
        TopologySpreadConstraint(topology_key=key, max_skew=random.randrange(1, 4)) for key in keys
    )
    assert room(nodes, shape_of(*skews)) <= most(nodes, skews)


def test_own_replicas_in_flight_use_capacity_and_count_in_the_spread() -> None:
    skew = TopologySpreadConstraint(topology_key="zone", max_skew=1)
    assert room([(4, "a"), (4, "b")], shape_of(skew), own_flying=4) == 4


def test_nodes_without_the_label_take_no_pod_of_a_spread() -> None:
    assert (
        room(
            [(4, ""), (1, "a")], shape_of(TopologySpreadConstraint(topology_key="zone", max_skew=9))
        )
        == 1
    )


def test_anti_affinity_by_a_label_does_not_limit_nodes_without_it() -> None:
    apart = PodShape(requests={"cpu": 1000, "pods": 1}, one_per=("zone",))
    assert room([(4, ""), (3, "a"), (3, "a")], apart) == 5
