"""`kapok simulate-cluster` as a process, against API servers as processes, seen through kubectl."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_cluster import deployment, job
from tests.support.member_clusters import (
    Cluster,
    controllers,
    member_clusters,
    wait_until,
    write_nodes,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NEVER_RESTARTED = {"kapok.dev/simulated-seconds": "1"}


@pytest.fixture(scope="module")
def kubeconfigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    with member_clusters(tmp_path_factory.mktemp("members"), "m1", "m2", "m3") as found:
        yield found


@pytest.fixture(scope="module")
def nodes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nodes(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="module")
def played(
    kubeconfigs: list[Path], nodes_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Path]]:
    log = tmp_path_factory.mktemp("log") / "controllers.log"
    with controllers(log, kubeconfigs, "--nodes", str(nodes_file)) as process:
        yield kubeconfigs
        assert process.poll() is None, log.read_text()


@pytest.fixture
def clusters(played: list[Path]) -> Iterator[list[Cluster]]:
    """Every cluster, in a namespace of this test's own."""
    namespace = f"sim-{secrets.token_hex(3)}"
    found = [Cluster(kubeconfig, namespace) for kubeconfig in played]
    for cluster in found:
        cluster.kubectl("create", "namespace", namespace)
    yield found
    for cluster in found:
        cluster.kubectl("delete", "deploy,sts,ds,job,pod", "--all", "--wait=false")


@pytest.fixture
def cluster(clusters: list[Cluster]) -> Cluster:
    return clusters[0]


def _eight(cluster: Cluster) -> list[dict[str, Any]]:
    sets = [
        *(deployment(f"web-{number}", 2, cpu="500m") for number in range(4)),
        deployment("db", 2, kind="StatefulSet", cpu="500m"),
        deployment("log", 0, kind="DaemonSet", cpu="100m"),
    ]
    del sets[-1]["spec"]["replicas"]
    jobs = [job(f"calc-{number}", annotations=NEVER_RESTARTED) for number in range(2)]
    return [cluster.in_namespace(body) for body in [*sets, *jobs]]


def test_three_members_with_eight_workloads_each_settle(clusters: list[Cluster]) -> None:
    for cluster in clusters:
        cluster.apply(*_eight(cluster))
    for cluster in clusters:
        for name in ("deploy/web-0", "deploy/web-1", "deploy/web-2", "deploy/web-3"):
            cluster.kubectl("rollout", "status", name, "--timeout=60s")
        cluster.kubectl("rollout", "status", "sts/db", "--timeout=60s")
        cluster.kubectl("rollout", "status", "ds/log", "--timeout=60s")
        cluster.kubectl("wait", "--for=condition=complete", "job", "--all", "--timeout=60s")


def test_nodes_are_as_described_and_ready_with_a_lease(cluster: Cluster) -> None:
    nodes = {node["metadata"]["name"]: node for node in cluster.get("nodes")}
    edge, gpu = nodes["sim-edge-0"], nodes["sim-gpu"]
    assert edge["metadata"]["labels"]["zone"] == "a"
    assert gpu["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert gpu["status"]["nodeInfo"]["architecture"] == "arm64"
    assert [taint["key"] for taint in gpu["spec"]["taints"]] == ["gpu"]
    ready = {c["type"]: c["status"] for c in edge["status"]["conditions"]}
    assert ready["Ready"] == "True"
    lease = ("lease", "sim-edge-0", "--namespace", "kube-node-lease", "-o", "name")
    wait_until(lambda: cluster.kubectl("get", *lease, check=False) != "")


def test_a_pod_that_fits_on_no_node_waits_with_a_condition_and_an_event(cluster: Cluster) -> None:
    cluster.apply(cluster.in_namespace(deployment("huge", 1, cpu="20")))
    wait_until(lambda: "Insufficient cpu" in json.dumps(cluster.get("pods")))
    wait_until(lambda: bool(cluster.get("events")))
    (pod,) = cluster.get("pods")
    assert pod["status"]["phase"] == "Pending"
    assert "Insufficient cpu" in pod["status"]["conditions"][0]["message"]
    (event,) = cluster.get("events")
    assert event["reason"] == "FailedScheduling"


def test_a_rollout_and_a_scale_reach_their_end(cluster: Cluster) -> None:
    body = cluster.in_namespace(deployment("web", 3, cpu="200m"))
    cluster.apply(body)
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    cluster.kubectl("set", "image", "deploy/web", "main=registry.example/app:2")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    cluster.kubectl("scale", "deploy/web", "--replicas=1")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    wait_until(lambda: len(cluster.get("pods")) == 1)
    (pod,) = cluster.get("pods")
    assert pod["spec"]["containers"][0]["image"] == "registry.example/app:2"


def test_objects_of_a_deleted_deployment_are_deleted(cluster: Cluster) -> None:
    cluster.apply(cluster.in_namespace(deployment("web", 2)))
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    cluster.kubectl("delete", "deploy/web")
    wait_until(lambda: not cluster.get("pods") and not cluster.get("rs"))


def test_a_deleted_namespace_goes_with_all_that_it_holds(cluster: Cluster) -> None:
    cluster.apply(cluster.in_namespace(deployment("web", 2)))
    cluster.kubectl("create", "configmap", "settings", "--from-literal=a=b")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    cluster.kubectl("delete", "namespace", cluster.namespace, "--timeout=60s")
    assert cluster.kubectl("get", "deploy,pods,cm", check=False) == ""


def test_an_annotated_node_becomes_silent_and_recovers(cluster: Cluster) -> None:
    fault = "kapok.dev/simulate-fault"
    cluster.kubectl("annotate", "node", "sim-edge-2", f"{fault}=not-ready")
    cluster.kubectl("wait", "node/sim-edge-2", "--for=condition=Ready=Unknown", "--timeout=60s")
    cluster.kubectl("annotate", "node", "sim-edge-2", f"{fault}-")
    cluster.kubectl("wait", "node/sim-edge-2", "--for=condition=Ready", "--timeout=60s")
