"""Whatever users do, a simulated cluster reaches the requested state, without duplicates."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.objects import (
    DAEMON_SETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from scheduler.simulation.cluster.pods import is_active, is_ready
from tests.support.counts import examples
from tests.support.fake_cluster import FakeCluster, deployment

FAULT = "kapok.dev/simulate-fault"
_KINDS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS}

_steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("apply"),
            st.sampled_from(["Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"]),
            st.integers(0, 4),
            st.sampled_from(["registry.example/app:1", "registry.example/app:2"]),
        ),
        st.tuples(st.just("delete"), st.sampled_from(["Deployment", "StatefulSet"])),
        st.tuples(st.just("kill"), st.integers(0, 20)),
        st.tuples(
            st.just("fault"),
            st.integers(0, 2),
            st.sampled_from([None, "not-ready", "drain", "slow-start=3"]),
        ),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 2.0, 400.0])),
    ),
    max_size=8,
)


def _do(cluster: FakeCluster, step: tuple[Any, ...]) -> None:
    match step:
        case ("apply", kind, replicas, image):
            cluster.apply(deployment(kind.lower(), replicas, kind=kind, image=image))
        case ("delete", kind) if ("city", kind.lower()) in cluster.mirror.names(_KINDS[kind]):
            cluster.delete(_KINDS[kind], ("city", kind.lower()))
        case ("kill", number) if cluster.pods():
            pods = cluster.pods()
            cluster.delete(PODS, ("city", pods[number % len(pods)].metadata.name))
        case ("fault", number, fault):
            body = {"metadata": {"annotations": {FAULT: fault}}}
            cluster.patch(NODES, ("", f"node-{number}"), body)
        case ("wait", seconds):
            cluster.settle(seconds)
        case _:
            pass


def _no_node_is_over_committed(cluster: FakeCluster) -> None:
    for node in cluster.mirror.nodes():
        assert cluster.mirror.requested_on(node.metadata.name)["cpu"] <= 4000


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(_steps)
def test_a_simulated_cluster_settles_as_requested(steps: list[tuple[Any, ...]]) -> None:
    cluster = FakeCluster(NodeDescription(name="node", count=3, allocatable={"cpu": "4"}))
    for step in steps:
        _do(cluster, step)
        _no_node_is_over_committed(cluster)
    for number in range(3):
        _do(cluster, ("fault", number, None))
    cluster.settle(60)
    _no_node_is_over_committed(cluster)
    for resource in (REPLICA_SETS, STATEFUL_SETS):
        for name in cluster.mirror.names(resource):
            wanted = cluster.mirror.apps_object(resource, name)
            assert wanted is not None
            pods = [p for p in cluster.mirror.pods_of(wanted.metadata.uid) if is_active(p)]
            waiting = [pod for pod in pods if not pod.spec.node_name]
            if resource is REPLICA_SETS or not waiting:
                assert len(pods) == wanted.spec.replicas
            assert all(is_ready(pod) for pod in pods if pod not in waiting)
    for pod in cluster.pods():
        owner = pod.metadata.controller
        assert owner is not None
        assert cluster.mirror.find(_owner(owner.kind), ("city", owner.name)) is not None
    cluster.writes.clear()
    cluster.settle(300)
    assert cluster.writes == []


def _owner(kind: str) -> Any:  # noqa: ANN401 - a Resource
    return {**_KINDS, "ReplicaSet": REPLICA_SETS}[kind]
