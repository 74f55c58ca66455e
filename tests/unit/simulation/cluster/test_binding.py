"""Where a simulated cluster puts a pod, and what it says when it cannot."""

from typing import Any

import pytest

from scheduler.model.kinds.fields import Taint
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.objects import NODES, PODS
from tests.support.fake_cluster import FakeCluster, deployment

ANTI_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def _world(*nodes: NodeDescription) -> FakeCluster:
    return FakeCluster(*nodes)


def _node(name: str, cpu: str = "8", **fields: Any) -> NodeDescription:  # noqa: ANN401 - any field
    return NodeDescription(name=name, allocatable={"cpu": cpu, "memory": "32Gi"}, **fields)


def _where(world: FakeCluster, prefix: str = "") -> list[str]:
    return [pod.spec.node_name for pod in world.pods(prefix)]


def test_the_node_that_is_fullest_afterwards_is_taken() -> None:
    world = _world(_node("large", "64"), _node("small", "4"))
    world.apply(deployment("web", 1, cpu="3"))
    world.settle(5)
    assert _where(world) == ["small"]


def test_four_nodes_with_four_free_cores_take_no_pod_of_six() -> None:
    world = _world(*(_node(f"node-{number}", "4") for number in range(4)))
    world.apply(deployment("web", 1, cpu="6"))
    world.settle(5)
    (pod,) = world.pods()
    (condition,) = pod.status.conditions
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == "0/4 nodes are available: 4 Insufficient cpu."
    assert [event.reason for event in world.events] == ["FailedScheduling"]


def test_a_waiting_pod_is_bound_when_room_is_made() -> None:
    world = _world(_node("node", "4"))
    world.apply(deployment("first", 1, cpu="3"))
    world.settle(5)
    world.apply(deployment("second", 1, cpu="3"))
    world.settle(5)
    assert _where(world, "second") == [""]
    world.delete(PODS, ("city", world.pods("first")[0].metadata.name))
    world.settle(5)
    assert sorted(_where(world)) == ["", "node"]


def test_no_node_ever_holds_more_than_it_has() -> None:
    world = _world(_node("a", "5"), _node("b", "3"))
    for number in range(12):
        world.apply(deployment(f"w{number}", 1, cpu=str(1 + number % 3)))
    world.settle(10)
    for name, cores in (("a", 5000), ("b", 3000)):
        assert world.mirror.requested_on(name)["cpu"] <= cores
    assert "" in _where(world)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ({"nodeSelector": {"zone": "b"}}, "b"),
        ({"nodeSelector": {"zone": "z"}}, ""),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists"}], "nodeSelector": {"zone": "g"}},
            "g",
        ),
        ({"nodeSelector": {"zone": "g"}}, ""),
    ],
)
def test_selectors_and_taints_decide(pod: dict[str, Any], expected: str) -> None:
    world = _world(
        _node("a", labels={"zone": "a"}),
        _node("b", labels={"zone": "b"}),
        _node("g", labels={"zone": "g"}, taints=[Taint(key="gpu")]),
    )
    for node in world.mirror.nodes():  # taints come with the description only at creation
        assert (node.spec.taints != []) == (node.metadata.name == "g")
    world.apply(deployment("web", 1, **pod))
    world.settle(5)
    assert _where(world) == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "zone", "operator": "In", "values": ["b"]}, "b"),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, "b"),
        ({"key": "cores", "operator": "Gt", "values": ["10"]}, "b"),
        ({"key": "cores", "operator": "Lt", "values": ["10"]}, "a"),
        ({"key": "zone", "operator": "Sometimes", "values": ["a"]}, ""),
    ],
)
def test_node_affinity_knows_every_operator(expression: dict[str, Any], expected: str) -> None:
    world = _world(
        _node("a", labels={"zone": "a", "cores": "4"}),
        _node("b", labels={"zone": "b", "cores": "64"}),
    )
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    world.apply(deployment("web", 1, affinity={"nodeAffinity": {ANTI_AFFINITY: required}}))
    world.settle(5)
    assert _where(world) == [expected]


def test_pods_that_shun_each_other_never_share_a_node() -> None:
    world = _world(NodeDescription(name="node", count=3))
    selector = {"matchLabels": {"app": "web"}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    world.apply(deployment("web", 4, affinity={"podAntiAffinity": {ANTI_AFFINITY: [term]}}))
    world.settle(5)
    assert sorted(_where(world)) == ["", "node-0", "node-1", "node-2"]


def test_a_pod_that_is_shunned_by_those_that_run_stays_away_too() -> None:
    world = _world(NodeDescription(name="node", count=2))
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "noisy"}},
    }
    world.apply(deployment("quiet", 1, affinity={"podAntiAffinity": {ANTI_AFFINITY: [term]}}))
    world.settle(5)
    world.apply(deployment("noisy", 4))
    world.settle(5)
    assert set(_where(world, "noisy")).isdisjoint(_where(world, "quiet"))


def test_a_pod_follows_the_pods_that_it_must_be_near() -> None:
    world = _world(NodeDescription(name="node", count=3))
    world.apply(deployment("cache", 1))
    world.settle(5)
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "cache"}},
    }
    world.apply(deployment("web", 3, affinity={"podAffinity": {ANTI_AFFINITY: [term]}}))
    world.settle(5)
    assert set(_where(world, "web")) == set(_where(world, "cache"))


def test_spread_over_zones_differs_by_at_most_its_skew() -> None:
    world = _world(_node("a", labels={"zone": "a"}), _node("b", "4", labels={"zone": "b"}))
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    world.apply(deployment("web", 6, cpu="500m", topologySpreadConstraints=[constraint]))
    world.settle(5)
    assert sorted(_where(world)) == ["a"] * 3 + ["b"] * 3


def test_a_host_port_is_given_once_per_node() -> None:
    world = _world(NodeDescription(name="node", count=2))
    body = deployment("web", 3)
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"hostPort": 80}]
    world.apply(body)
    world.settle(5)
    assert sorted(_where(world)) == ["", "node-0", "node-1"]


def test_a_cordoned_node_takes_nothing_new() -> None:
    world = _world(NodeDescription(name="node", count=2))
    world.patch(NODES, ("", "node-0"), {"spec": {"unschedulable": True}})
    world.apply(deployment("web", 2))
    world.settle(5)
    assert _where(world) == ["node-1", "node-1"]


def test_pods_of_other_schedulers_and_gated_pods_wait() -> None:
    world = _world(_node("node"))
    world.apply(deployment("other", 1, schedulerName="mine"))
    world.apply(deployment("gated", 1, schedulingGates=[{"name": "wait"}]))
    world.settle(5)
    assert _where(world) == ["", ""]
