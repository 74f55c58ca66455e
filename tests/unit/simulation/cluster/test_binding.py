"""Where a simulated cluster puts a pod, and what it says when it cannot."""

from typing import Any

import pytest

from scheduler.model.kinds.fields import Taint
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.objects import NODES, PODS
from tests.support.fake_cluster import FakeCluster, deployment

ANTI_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def _cluster(*nodes: NodeDescription) -> FakeCluster:
    return FakeCluster(*nodes)


def _node(name: str, cpu: str = "8", **fields: Any) -> NodeDescription:  # noqa: ANN401 - any field
    return NodeDescription(name=name, allocatable={"cpu": cpu, "memory": "32Gi"}, **fields)


def _where(cluster: FakeCluster, prefix: str = "") -> list[str]:
    return [pod.spec.node_name for pod in cluster.pods(prefix)]


def test_the_node_that_is_fullest_afterwards_is_taken() -> None:
    cluster = _cluster(_node("large", "64"), _node("small", "4"))
    cluster.apply(deployment("web", 1, cpu="3"))
    cluster.settle(5)
    assert _where(cluster) == ["small"]


def test_four_nodes_with_four_free_cores_take_no_pod_of_six() -> None:
    cluster = _cluster(*(_node(f"node-{number}", "4") for number in range(4)))
    cluster.apply(deployment("web", 1, cpu="6"))
    cluster.settle(5)
    (pod,) = cluster.pods()
    (condition,) = pod.status.conditions
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == "0/4 nodes are available: 4 Insufficient cpu."
    assert [event.reason for event in cluster.events] == ["FailedScheduling"]


def test_a_waiting_pod_is_bound_when_capacity_is_freed() -> None:
    cluster = _cluster(_node("node", "4"))
    cluster.apply(deployment("first", 1, cpu="3"))
    cluster.settle(5)
    cluster.apply(deployment("second", 1, cpu="3"))
    cluster.settle(5)
    assert _where(cluster, "second") == [""]
    cluster.delete(PODS, ("city", cluster.pods("first")[0].metadata.name))
    cluster.settle(5)
    assert sorted(_where(cluster)) == ["", "node"]


def test_no_node_ever_holds_more_than_it_has() -> None:
    cluster = _cluster(_node("a", "5"), _node("b", "3"))
    for number in range(12):
        cluster.apply(deployment(f"w{number}", 1, cpu=str(1 + number % 3)))
    cluster.settle(10)
    for name, cores in (("a", 5000), ("b", 3000)):
        assert cluster.mirror.requested_on(name)["cpu"] <= cores
    assert "" in _where(cluster)


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
def test_selectors_and_taints_exclude_nodes(pod: dict[str, Any], expected: str) -> None:
    cluster = _cluster(
        _node("a", labels={"zone": "a"}),
        _node("b", labels={"zone": "b"}),
        _node("g", labels={"zone": "g"}, taints=[Taint(key="gpu")]),
    )
    for node in cluster.mirror.nodes():  # taints come with the description only at creation
        assert (node.spec.taints != []) == (node.metadata.name == "g")
    cluster.apply(deployment("web", 1, **pod))
    cluster.settle(5)
    assert _where(cluster) == [expected]


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
    cluster = _cluster(
        _node("a", labels={"zone": "a", "cores": "4"}),
        _node("b", labels={"zone": "b", "cores": "64"}),
    )
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    cluster.apply(deployment("web", 1, affinity={"nodeAffinity": {ANTI_AFFINITY: required}}))
    cluster.settle(5)
    assert _where(cluster) == [expected]


def test_pods_with_anti_affinity_never_share_a_node() -> None:
    cluster = _cluster(NodeDescription(name="node", count=3))
    selector = {"matchLabels": {"app": "web"}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    cluster.apply(deployment("web", 4, affinity={"podAntiAffinity": {ANTI_AFFINITY: [term]}}))
    cluster.settle(5)
    assert sorted(_where(cluster)) == ["", "node-0", "node-1", "node-2"]


def test_anti_affinity_of_running_pods_keeps_a_new_pod_away() -> None:
    cluster = _cluster(NodeDescription(name="node", count=2))
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "noisy"}},
    }
    cluster.apply(deployment("quiet", 1, affinity={"podAntiAffinity": {ANTI_AFFINITY: [term]}}))
    cluster.settle(5)
    cluster.apply(deployment("noisy", 4))
    cluster.settle(5)
    assert set(_where(cluster, "noisy")).isdisjoint(_where(cluster, "quiet"))


def test_a_pod_follows_the_pods_that_it_must_be_near() -> None:
    cluster = _cluster(NodeDescription(name="node", count=3))
    cluster.apply(deployment("cache", 1))
    cluster.settle(5)
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "cache"}},
    }
    cluster.apply(deployment("web", 3, affinity={"podAffinity": {ANTI_AFFINITY: [term]}}))
    cluster.settle(5)
    assert set(_where(cluster, "web")) == set(_where(cluster, "cache"))


def test_spread_over_zones_differs_by_at_most_its_skew() -> None:
    cluster = _cluster(_node("a", labels={"zone": "a"}), _node("b", "4", labels={"zone": "b"}))
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    cluster.apply(deployment("web", 6, cpu="500m", topologySpreadConstraints=[constraint]))
    cluster.settle(5)
    assert sorted(_where(cluster)) == ["a"] * 3 + ["b"] * 3


def test_a_host_port_is_used_once_per_node() -> None:
    cluster = _cluster(NodeDescription(name="node", count=2))
    body = deployment("web", 3)
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"hostPort": 80}]
    cluster.apply(body)
    cluster.settle(5)
    assert sorted(_where(cluster)) == ["", "node-0", "node-1"]


def test_a_cordoned_node_takes_nothing_new() -> None:
    cluster = _cluster(NodeDescription(name="node", count=2))
    cluster.patch(NODES, ("", "node-0"), {"spec": {"unschedulable": True}})
    cluster.apply(deployment("web", 2))
    cluster.settle(5)
    assert _where(cluster) == ["node-1", "node-1"]


def test_pods_of_other_schedulers_and_gated_pods_wait() -> None:
    cluster = _cluster(_node("node"))
    cluster.apply(deployment("other", 1, schedulerName="mine"))
    cluster.apply(deployment("gated", 1, schedulingGates=[{"name": "wait"}]))
    cluster.settle(5)
    assert _where(cluster) == ["", ""]
