"""The controllers of simulated clusters, each run until nothing changes, without an API server."""

from collections import Counter

import pytest

from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.objects import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from scheduler.simulation.cluster.plan import Create, Patch
from scheduler.simulation.cluster.pods import is_ready
from tests.support.fake_cluster import FakeCluster, deployment, job

FAULT = "kapok.dev/simulate-fault"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(NodeDescription(name="node", count=3))


def _conditions(status: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status.get("conditions", [])}


def test_a_deployment_gets_its_pods_through_one_replica_set(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 4))
    cluster.settle(5)
    (replica_set,) = cluster.mirror.names(REPLICA_SETS)
    assert all(pod.metadata.name.startswith(replica_set[1]) for pod in cluster.pods())
    status = cluster.status(DEPLOYMENTS, "web")
    assert (status["readyReplicas"], status["updatedReplicas"], status["observedGeneration"]) == (
        4,
        4,
        1,
    )
    assert _conditions(status) == {"Available": "True", "Progressing": "True"}


def test_a_pod_costs_at_most_three_writes_until_it_is_ready(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 10))
    cluster.settle(5)
    about_pods = [
        write
        for write in cluster.writes
        if not isinstance(write, (Create, Patch)) or write.resource is PODS
    ]
    assert len(about_pods) == 3 * 10


def test_scaling_down_removes_pods_that_are_not_ready_first(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 3))
    cluster.settle(5)
    cluster.patch(DEPLOYMENTS, ("city", "web"), {"spec": {"replicas": 6}})
    cluster.settle(0.5)
    ready = {pod.metadata.name for pod in cluster.pods() if is_ready(pod)}
    cluster.patch(DEPLOYMENTS, ("city", "web"), {"spec": {"replicas": 3}})
    cluster.settle(5)
    assert {pod.metadata.name for pod in cluster.pods()} == ready


def test_a_rollout_stays_within_its_bounds_and_ends_complete(cluster: FakeCluster) -> None:
    body = deployment("web", 4)
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    body["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    cluster.apply(body)
    cluster.settle(5)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    cluster.apply(body)
    for _ in range(100):
        cluster.settle(0.2)
        pods = [pod for pod in cluster.pods() if pod.metadata.deletion_timestamp is None]
        assert len(pods) <= 5
        assert sum(is_ready(pod) for pod in pods) >= 4
    images = {pod.spec.containers[0]["image"] for pod in cluster.pods()}
    assert images == {"registry.example/app:2"}
    assert cluster.status(DEPLOYMENTS, "web")["updatedReplicas"] == 4


def test_recreate_never_runs_two_versions_at_once(cluster: FakeCluster) -> None:
    body = deployment("web", 3)
    body["spec"]["strategy"] = {"type": "Recreate"}
    cluster.apply(body)
    cluster.settle(5)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    cluster.apply(body)
    for _ in range(50):
        cluster.settle(0.2)
        assert len({pod.spec.containers[0]["image"] for pod in cluster.pods()}) <= 1
    assert len([pod for pod in cluster.pods() if is_ready(pod)]) == 3


def test_a_stateful_set_starts_one_pod_after_the_other_and_ends_them_in_reverse(
    cluster: FakeCluster,
) -> None:
    cluster.apply(deployment("db", 3, kind="StatefulSet"))
    seen = []
    for _ in range(20):
        cluster.settle(0.5)
        seen.append([pod.metadata.name for pod in cluster.pods()])
    assert [
        names for number, names in enumerate(seen) if number == 0 or seen[number - 1] != names
    ] == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    cluster.patch(STATEFUL_SETS, ("city", "db"), {"spec": {"replicas": 1}})
    cluster.settle(5)
    assert [pod.metadata.name for pod in cluster.pods()] == ["db-0"]
    assert cluster.status(STATEFUL_SETS, "db")["readyReplicas"] == 1


def test_a_stateful_set_is_renewed_from_its_last_pod_down(cluster: FakeCluster) -> None:
    body = deployment("db", 2, kind="StatefulSet")
    cluster.apply(body)
    cluster.settle(10)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    cluster.apply(body)
    cluster.settle(10)
    assert {pod.spec.containers[0]["image"] for pod in cluster.pods()} == {"registry.example/app:2"}
    status = cluster.status(STATEFUL_SETS, "db")
    assert status["currentRevision"] == status["updateRevision"]


def test_a_daemon_set_has_one_pod_on_every_node_that_allows_it() -> None:
    gpu = NodeDescription(name="gpu", labels={"gpu": "yes"})
    cluster = FakeCluster(NodeDescription(name="node", count=2), gpu)
    cluster.apply(deployment("log", 0, kind="DaemonSet"))
    cluster.settle(5)
    assert sorted(pod.spec.node_name for pod in cluster.pods()) == ["gpu", "node-0", "node-1"]
    body = deployment("log", 0, kind="DaemonSet", nodeSelector={"gpu": "yes"})
    cluster.apply(body)
    cluster.settle(5)
    assert [pod.spec.node_name for pod in cluster.pods()] == ["gpu"]
    assert cluster.status(DAEMON_SETS, "log")["desiredNumberScheduled"] == 1


def test_a_job_completes_when_its_pods_have_run_their_seconds(cluster: FakeCluster) -> None:
    annotations = {"kapok.dev/simulated-seconds": "20"}
    cluster.apply(job("calc", completions=3, parallelism=2, annotations=annotations))
    cluster.settle(15)
    assert _conditions(cluster.status(JOBS, "calc")) == {}
    cluster.settle(40)
    status = cluster.status(JOBS, "calc")
    assert (status["succeeded"], status.get("active", 0)) == (3, 0)
    assert _conditions(status) == {"SuccessCriteriaMet": "True", "Complete": "True"}


def test_an_indexed_job_runs_every_index_once(cluster: FakeCluster) -> None:
    cluster.apply(job("calc", completions=3, parallelism=3, completionMode="Indexed"))
    cluster.settle(15)
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(pod.metadata.annotations[key] for pod in cluster.pods()) == ["0", "1", "2"]


def test_a_failing_job_ends_after_its_back_off_limit(cluster: FakeCluster) -> None:
    cluster.apply(job("calc", backoffLimit=2, annotations={FAULT: "crash-loop"}))
    cluster.settle(30)
    assert _conditions(cluster.status(JOBS, "calc"))["Failed"] == "True"
    assert Counter(pod.status.phase for pod in cluster.pods()) == {"Failed": 3}


def test_a_job_that_is_over_time_fails(cluster: FakeCluster) -> None:
    cluster.apply(
        job("calc", activeDeadlineSeconds=10, annotations={"kapok.dev/simulated-seconds": "99"})
    )
    cluster.settle(20)
    (failed,) = [c for c in cluster.status(JOBS, "calc")["conditions"] if c["type"] == "Failed"]
    assert failed["reason"] == "DeadlineExceeded"


def test_a_finished_job_is_deleted_after_its_time_to_live(cluster: FakeCluster) -> None:
    cluster.apply(job("calc", ttlSecondsAfterFinished=60))
    cluster.settle(30)
    assert cluster.mirror.names(JOBS)
    cluster.settle(90)
    assert cluster.mirror.names(JOBS) == []
    assert cluster.pods() == []


def test_a_suspended_job_has_no_pods_until_it_is_resumed(cluster: FakeCluster) -> None:
    cluster.apply(job("calc", suspend=True))
    cluster.settle(5)
    assert cluster.pods() == []
    cluster.patch(JOBS, ("city", "calc"), {"spec": {"suspend": False}})
    cluster.settle(20)
    assert _conditions(cluster.status(JOBS, "calc"))["Complete"] == "True"


def test_a_cron_job_makes_a_job_in_each_due_minute(cluster: FakeCluster) -> None:
    template = job("unused", parallelism=1)["spec"]
    cluster.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "report", "namespace": "city"},
            "spec": {"schedule": "*/2 * * * *", "jobTemplate": {"spec": template}},
        }
    )
    cluster.settle(5 * 60)
    assert len(cluster.mirror.names(JOBS)) == 3
    cluster.patch(CRON_JOBS, ("city", "report"), {"spec": {"suspend": True}})
    cluster.settle(5 * 60)
    assert len(cluster.mirror.names(JOBS)) == 3


def test_objects_of_a_deleted_deployment_are_deleted_too(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 4))
    cluster.settle(5)
    cluster.delete(DEPLOYMENTS, ("city", "web"))
    cluster.settle(5)
    assert cluster.mirror.names(REPLICA_SETS) == []
    assert cluster.pods() == []


def test_foreground_deletion_takes_the_dependents_first(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 2))
    cluster.settle(5)
    cluster.delete(DEPLOYMENTS, ("city", "web"), "foregroundDeletion")
    cluster.settle(5)
    assert cluster.mirror.names(DEPLOYMENTS) == []
    assert cluster.pods() == []


def test_orphans_stay_and_are_adopted_by_a_set_that_is_made_again(cluster: FakeCluster) -> None:
    cluster.apply(deployment("db", 2, kind="StatefulSet"))
    cluster.settle(10)
    before = {pod.metadata.uid for pod in cluster.pods()}
    cluster.delete(STATEFUL_SETS, ("city", "db"), "orphan")
    cluster.settle(5)
    assert cluster.mirror.names(STATEFUL_SETS) == []
    cluster.apply(deployment("db", 2, kind="StatefulSet"))
    cluster.settle(10)
    assert {pod.metadata.uid for pod in cluster.pods()} == before
    assert cluster.status(STATEFUL_SETS, "db")["readyReplicas"] == 2


def test_a_silent_node_loses_its_pods_only_when_their_toleration_ends(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 3))
    cluster.settle(5)
    victim = cluster.pods()[0].spec.node_name
    there = {p.metadata.name for p in cluster.pods() if p.spec.node_name == victim}
    cluster.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "not-ready"}}})
    cluster.settle(200)
    assert there <= {pod.metadata.name for pod in cluster.pods()}
    assert not any(is_ready(pod) for pod in cluster.pods() if pod.metadata.name in there)
    assert _conditions(cluster.status(NODES, victim, ""))["Ready"] == "Unknown"
    cluster.settle(200)
    elsewhere = [p for p in cluster.pods() if p.spec.node_name != victim and is_ready(p)]
    assert len(elsewhere) == 3


def test_a_silent_node_that_returns_has_its_pods_ready_again(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 3))
    cluster.settle(5)
    victim = cluster.pods()[0].spec.node_name
    cluster.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "not-ready"}}})
    cluster.settle(20)
    cluster.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: None}}})
    cluster.settle(5)
    assert all(is_ready(pod) for pod in cluster.pods())
    assert cluster.mirror.node(victim).spec.taints == []  # type: ignore[union-attr]


def test_a_drained_node_is_cordoned_and_emptied_and_can_be_used_again(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 3))
    cluster.settle(5)
    victim = cluster.pods()[0].spec.node_name
    cluster.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "drain"}}})
    cluster.settle(10)
    assert all(pod.spec.node_name != victim for pod in cluster.pods())
    assert len(cluster.pods()) == 3
    cluster.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: None}}})
    cluster.settle(1)
    assert cluster.mirror.node(victim).spec.unschedulable is False  # type: ignore[union-attr]


def test_a_slow_start_takes_as_long_as_it_says(cluster: FakeCluster) -> None:
    body = deployment("web", 1)
    body["spec"]["template"]["metadata"]["annotations"] = {FAULT: "slow-start=12"}
    cluster.apply(body)
    cluster.settle(11)
    assert not any(is_ready(pod) for pod in cluster.pods())
    cluster.settle(2)
    assert all(is_ready(pod) for pod in cluster.pods())


def test_a_crashing_pod_is_not_ready_and_recovers_when_the_fault_ends(cluster: FakeCluster) -> None:
    body = deployment("web", 1)
    body["spec"]["template"]["metadata"]["annotations"] = {FAULT: "crash-loop"}
    cluster.apply(body)
    cluster.settle(5)
    (pod,) = cluster.pods()
    assert "CrashLoopBackOff" in str(pod.status.container_statuses)
    cluster.patch(PODS, ("city", pod.metadata.name), {"metadata": {"annotations": {FAULT: None}}})
    cluster.settle(5)
    assert is_ready(cluster.pods()[0])


def test_nodes_of_a_real_kubelet_are_not_changed(cluster: FakeCluster) -> None:
    info = {"nodeInfo": {"kubeletVersion": "v1.36.0"}, "allocatable": {"cpu": "9", "pods": "9"}}
    body = {"kind": "Node", "metadata": {"name": "real"}, "status": info}
    cluster.apply(body)
    before = dict(cluster.objects[NODES, ("", "real")]["status"])
    cluster.settle(5)
    assert cluster.objects[NODES, ("", "real")]["status"] == before


def test_a_manually_created_node_is_simulated_as_it_is_described(cluster: FakeCluster) -> None:
    cluster.apply(
        {"kind": "Node", "metadata": {"name": "hand"}, "status": {"capacity": {"cpu": "2"}}}
    )
    cluster.settle(1)
    status = cluster.status(NODES, "hand", "")
    assert status["allocatable"]["cpu"] == "2"
    assert _conditions(status)["Ready"] == "True"


def test_nothing_is_written_when_nothing_changes(cluster: FakeCluster) -> None:
    cluster.apply(deployment("web", 3))
    cluster.apply(deployment("db", 2, kind="StatefulSet"))
    cluster.apply(deployment("log", 0, kind="DaemonSet"))
    cluster.apply(job("calc"))
    cluster.settle(60)
    cluster.writes.clear()
    cluster.settle(600)
    assert cluster.writes == []
