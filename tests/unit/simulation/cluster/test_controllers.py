"""The controllers of simulated clusters, each run to rest without an API server."""

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
def world() -> FakeCluster:
    return FakeCluster(NodeDescription(name="node", count=3))


def _conditions(status: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status.get("conditions", [])}


def test_a_deployment_gets_its_pods_through_one_replica_set(world: FakeCluster) -> None:
    world.apply(deployment("web", 4))
    world.settle(5)
    (replica_set,) = world.mirror.names(REPLICA_SETS)
    assert all(pod.metadata.name.startswith(replica_set[1]) for pod in world.pods())
    status = world.status(DEPLOYMENTS, "web")
    assert (status["readyReplicas"], status["updatedReplicas"], status["observedGeneration"]) == (
        4,
        4,
        1,
    )
    assert _conditions(status) == {"Available": "True", "Progressing": "True"}


def test_a_pod_costs_at_most_three_writes_until_it_is_ready(world: FakeCluster) -> None:
    world.apply(deployment("web", 10))
    world.settle(5)
    about_pods = [
        write
        for write in world.writes
        if not isinstance(write, (Create, Patch)) or write.resource is PODS
    ]
    assert len(about_pods) == 3 * 10


def test_scaling_down_takes_away_pods_that_are_not_ready_first(world: FakeCluster) -> None:
    world.apply(deployment("web", 3))
    world.settle(5)
    world.patch(DEPLOYMENTS, ("city", "web"), {"spec": {"replicas": 6}})
    world.settle(0.5)
    ready = {pod.metadata.name for pod in world.pods() if is_ready(pod)}
    world.patch(DEPLOYMENTS, ("city", "web"), {"spec": {"replicas": 3}})
    world.settle(5)
    assert {pod.metadata.name for pod in world.pods()} == ready


def test_a_rollout_stays_within_its_bounds_and_ends_complete(world: FakeCluster) -> None:
    body = deployment("web", 4)
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    body["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    world.apply(body)
    world.settle(5)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    world.apply(body)
    for _ in range(100):
        world.settle(0.2)
        pods = [pod for pod in world.pods() if pod.metadata.deletion_timestamp is None]
        assert len(pods) <= 5
        assert sum(is_ready(pod) for pod in pods) >= 4
    images = {pod.spec.containers[0]["image"] for pod in world.pods()}
    assert images == {"registry.example/app:2"}
    assert world.status(DEPLOYMENTS, "web")["updatedReplicas"] == 4


def test_recreate_never_runs_two_versions_at_once(world: FakeCluster) -> None:
    body = deployment("web", 3)
    body["spec"]["strategy"] = {"type": "Recreate"}
    world.apply(body)
    world.settle(5)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    world.apply(body)
    for _ in range(50):
        world.settle(0.2)
        assert len({pod.spec.containers[0]["image"] for pod in world.pods()}) <= 1
    assert len([pod for pod in world.pods() if is_ready(pod)]) == 3


def test_a_stateful_set_starts_one_pod_after_the_other_and_ends_them_in_reverse(
    world: FakeCluster,
) -> None:
    world.apply(deployment("db", 3, kind="StatefulSet"))
    seen = []
    for _ in range(20):
        world.settle(0.5)
        seen.append([pod.metadata.name for pod in world.pods()])
    assert [
        names for number, names in enumerate(seen) if number == 0 or seen[number - 1] != names
    ] == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    world.patch(STATEFUL_SETS, ("city", "db"), {"spec": {"replicas": 1}})
    world.settle(5)
    assert [pod.metadata.name for pod in world.pods()] == ["db-0"]
    assert world.status(STATEFUL_SETS, "db")["readyReplicas"] == 1


def test_a_stateful_set_is_renewed_from_its_last_pod_down(world: FakeCluster) -> None:
    body = deployment("db", 2, kind="StatefulSet")
    world.apply(body)
    world.settle(10)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    world.apply(body)
    world.settle(10)
    assert {pod.spec.containers[0]["image"] for pod in world.pods()} == {"registry.example/app:2"}
    status = world.status(STATEFUL_SETS, "db")
    assert status["currentRevision"] == status["updateRevision"]


def test_a_daemon_set_has_one_pod_on_every_node_that_allows_it() -> None:
    gpu = NodeDescription(name="gpu", labels={"gpu": "yes"})
    world = FakeCluster(NodeDescription(name="node", count=2), gpu)
    world.apply(deployment("log", 0, kind="DaemonSet"))
    world.settle(5)
    assert sorted(pod.spec.node_name for pod in world.pods()) == ["gpu", "node-0", "node-1"]
    body = deployment("log", 0, kind="DaemonSet", nodeSelector={"gpu": "yes"})
    world.apply(body)
    world.settle(5)
    assert [pod.spec.node_name for pod in world.pods()] == ["gpu"]
    assert world.status(DAEMON_SETS, "log")["desiredNumberScheduled"] == 1


def test_a_job_completes_when_its_pods_have_run_their_seconds(world: FakeCluster) -> None:
    annotations = {"kapok.dev/simulated-seconds": "20"}
    world.apply(job("calc", completions=3, parallelism=2, annotations=annotations))
    world.settle(15)
    assert _conditions(world.status(JOBS, "calc")) == {}
    world.settle(40)
    status = world.status(JOBS, "calc")
    assert (status["succeeded"], status.get("active", 0)) == (3, 0)
    assert _conditions(status) == {"SuccessCriteriaMet": "True", "Complete": "True"}


def test_an_indexed_job_runs_every_index_once(world: FakeCluster) -> None:
    world.apply(job("calc", completions=3, parallelism=3, completionMode="Indexed"))
    world.settle(15)
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(pod.metadata.annotations[key] for pod in world.pods()) == ["0", "1", "2"]


def test_a_job_that_keeps_failing_gives_up_after_its_back_off_limit(world: FakeCluster) -> None:
    world.apply(job("calc", backoffLimit=2, annotations={FAULT: "crash-loop"}))
    world.settle(30)
    assert _conditions(world.status(JOBS, "calc"))["Failed"] == "True"
    assert Counter(pod.status.phase for pod in world.pods()) == {"Failed": 3}


def test_a_job_that_is_over_time_fails(world: FakeCluster) -> None:
    world.apply(
        job("calc", activeDeadlineSeconds=10, annotations={"kapok.dev/simulated-seconds": "99"})
    )
    world.settle(20)
    (failed,) = [c for c in world.status(JOBS, "calc")["conditions"] if c["type"] == "Failed"]
    assert failed["reason"] == "DeadlineExceeded"


def test_a_finished_job_goes_when_its_time_to_live_is_over(world: FakeCluster) -> None:
    world.apply(job("calc", ttlSecondsAfterFinished=60))
    world.settle(30)
    assert world.mirror.names(JOBS)
    world.settle(90)
    assert world.mirror.names(JOBS) == []
    assert world.pods() == []


def test_a_suspended_job_has_no_pods_until_it_is_resumed(world: FakeCluster) -> None:
    world.apply(job("calc", suspend=True))
    world.settle(5)
    assert world.pods() == []
    world.patch(JOBS, ("city", "calc"), {"spec": {"suspend": False}})
    world.settle(20)
    assert _conditions(world.status(JOBS, "calc"))["Complete"] == "True"


def test_a_cron_job_makes_a_job_in_each_due_minute(world: FakeCluster) -> None:
    template = job("unused", parallelism=1)["spec"]
    world.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "report", "namespace": "city"},
            "spec": {"schedule": "*/2 * * * *", "jobTemplate": {"spec": template}},
        }
    )
    world.settle(5 * 60)
    assert len(world.mirror.names(JOBS)) == 3
    world.patch(CRON_JOBS, ("city", "report"), {"spec": {"suspend": True}})
    world.settle(5 * 60)
    assert len(world.mirror.names(JOBS)) == 3


def test_what_a_deleted_deployment_owned_goes_too(world: FakeCluster) -> None:
    world.apply(deployment("web", 4))
    world.settle(5)
    world.delete(DEPLOYMENTS, ("city", "web"))
    world.settle(5)
    assert world.mirror.names(REPLICA_SETS) == []
    assert world.pods() == []


def test_foreground_deletion_takes_the_dependents_first(world: FakeCluster) -> None:
    world.apply(deployment("web", 2))
    world.settle(5)
    world.delete(DEPLOYMENTS, ("city", "web"), "foregroundDeletion")
    world.settle(5)
    assert world.mirror.names(DEPLOYMENTS) == []
    assert world.pods() == []


def test_orphans_stay_and_are_adopted_by_a_set_that_is_made_again(world: FakeCluster) -> None:
    world.apply(deployment("db", 2, kind="StatefulSet"))
    world.settle(10)
    before = {pod.metadata.uid for pod in world.pods()}
    world.delete(STATEFUL_SETS, ("city", "db"), "orphan")
    world.settle(5)
    assert world.mirror.names(STATEFUL_SETS) == []
    world.apply(deployment("db", 2, kind="StatefulSet"))
    world.settle(10)
    assert {pod.metadata.uid for pod in world.pods()} == before
    assert world.status(STATEFUL_SETS, "db")["readyReplicas"] == 2


def test_a_silent_node_loses_its_pods_only_when_their_toleration_ends(world: FakeCluster) -> None:
    world.apply(deployment("web", 3))
    world.settle(5)
    victim = world.pods()[0].spec.node_name
    there = {p.metadata.name for p in world.pods() if p.spec.node_name == victim}
    world.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "not-ready"}}})
    world.settle(200)
    assert there <= {pod.metadata.name for pod in world.pods()}
    assert not any(is_ready(pod) for pod in world.pods() if pod.metadata.name in there)
    assert _conditions(world.status(NODES, victim, ""))["Ready"] == "Unknown"
    world.settle(200)
    elsewhere = [p for p in world.pods() if p.spec.node_name != victim and is_ready(p)]
    assert len(elsewhere) == 3


def test_a_silent_node_that_returns_has_its_pods_ready_again(world: FakeCluster) -> None:
    world.apply(deployment("web", 3))
    world.settle(5)
    victim = world.pods()[0].spec.node_name
    world.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "not-ready"}}})
    world.settle(20)
    world.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: None}}})
    world.settle(5)
    assert all(is_ready(pod) for pod in world.pods())
    assert world.mirror.node(victim).spec.taints == []  # type: ignore[union-attr]


def test_a_drained_node_is_cordoned_and_empty_and_opens_again(world: FakeCluster) -> None:
    world.apply(deployment("web", 3))
    world.settle(5)
    victim = world.pods()[0].spec.node_name
    world.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: "drain"}}})
    world.settle(10)
    assert all(pod.spec.node_name != victim for pod in world.pods())
    assert len(world.pods()) == 3
    world.patch(NODES, ("", victim), {"metadata": {"annotations": {FAULT: None}}})
    world.settle(1)
    assert world.mirror.node(victim).spec.unschedulable is False  # type: ignore[union-attr]


def test_a_slow_start_takes_as_long_as_it_says(world: FakeCluster) -> None:
    body = deployment("web", 1)
    body["spec"]["template"]["metadata"]["annotations"] = {FAULT: "slow-start=12"}
    world.apply(body)
    world.settle(11)
    assert not any(is_ready(pod) for pod in world.pods())
    world.settle(2)
    assert all(is_ready(pod) for pod in world.pods())


def test_a_crashing_pod_is_not_ready_and_recovers_when_the_fault_ends(world: FakeCluster) -> None:
    body = deployment("web", 1)
    body["spec"]["template"]["metadata"]["annotations"] = {FAULT: "crash-loop"}
    world.apply(body)
    world.settle(5)
    (pod,) = world.pods()
    assert "CrashLoopBackOff" in str(pod.status.container_statuses)
    world.patch(PODS, ("city", pod.metadata.name), {"metadata": {"annotations": {FAULT: None}}})
    world.settle(5)
    assert is_ready(world.pods()[0])


def test_nodes_of_a_real_kubelet_are_left_alone(world: FakeCluster) -> None:
    info = {"nodeInfo": {"kubeletVersion": "v1.36.0"}, "allocatable": {"cpu": "9", "pods": "9"}}
    body = {"kind": "Node", "metadata": {"name": "real"}, "status": info}
    world.apply(body)
    before = dict(world.objects[NODES, ("", "real")]["status"])
    world.settle(5)
    assert world.objects[NODES, ("", "real")]["status"] == before


def test_a_node_that_was_made_by_hand_is_played_with_what_it_says(world: FakeCluster) -> None:
    world.apply(
        {"kind": "Node", "metadata": {"name": "hand"}, "status": {"capacity": {"cpu": "2"}}}
    )
    world.settle(1)
    status = world.status(NODES, "hand", "")
    assert status["allocatable"]["cpu"] == "2"
    assert _conditions(status)["Ready"] == "True"


def test_nothing_is_written_when_nothing_changes(world: FakeCluster) -> None:
    world.apply(deployment("web", 3))
    world.apply(deployment("db", 2, kind="StatefulSet"))
    world.apply(deployment("log", 0, kind="DaemonSet"))
    world.apply(job("calc"))
    world.settle(60)
    world.writes.clear()
    world.settle(600)
    assert world.writes == []
