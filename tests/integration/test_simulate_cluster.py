"""`kapok simulate-cluster` as a process, against API servers as processes, seen through kubectl."""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.api_client import Client
from tests.support.api_proxy import api_proxy
from tests.support.cluster_world import deployment, job
from tests.support.member_clusters import (
    KAPOK,
    REAL,
    Cluster,
    api_servers,
    controllers,
    wait_until,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

NODES = """nodes:
- {name: sim-edge, count: 3, labels: {zone: a}, allocatable: {cpu: "8", memory: 32Gi}}
- {name: sim-gpu, allocatable: {cpu: "32", memory: 128Gi, nvidia.com/gpu: 4}, architecture: arm64,
   taints: [{key: gpu, effect: NoSchedule}]}
"""
NEVER_RESTARTED = {"kapok.dev/simulated-seconds": "1"}


@pytest.fixture(scope="module")
def kubeconfigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    if REAL:
        yield REAL
        return
    with api_servers(tmp_path_factory.mktemp("members"), "m1", "m2", "m3") as found:
        yield found


@pytest.fixture(scope="module")
def nodes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nodes") / "nodes.yaml"
    path.write_text(NODES)
    return path


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


def _here(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "namespace": cluster.namespace}}


def _eight(cluster: Cluster) -> list[dict[str, Any]]:
    sets = [
        *(deployment(f"web-{number}", 2, cpu="500m") for number in range(4)),
        deployment("db", 2, kind="StatefulSet", cpu="500m"),
        deployment("log", 0, kind="DaemonSet", cpu="100m"),
    ]
    del sets[-1]["spec"]["replicas"]
    jobs = [job(f"calc-{number}", annotations=NEVER_RESTARTED) for number in range(2)]
    return [_here(cluster, body) for body in [*sets, *jobs]]


def test_three_members_with_eight_workloads_each_settle_in_seconds(
    clusters: list[Cluster],
) -> None:
    began = time.monotonic()
    for cluster in clusters:
        cluster.apply(*_eight(cluster))
    for cluster in clusters:
        for name in ("deploy/web-0", "deploy/web-1", "deploy/web-2", "deploy/web-3"):
            cluster.kubectl("rollout", "status", name, "--timeout=20s")
        cluster.kubectl("rollout", "status", "sts/db", "--timeout=20s")
        cluster.kubectl("rollout", "status", "ds/log", "--timeout=20s")
        cluster.kubectl("wait", "--for=condition=complete", "job", "--all", "--timeout=20s")
    assert time.monotonic() - began < 30


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
    cluster.apply(_here(cluster, deployment("huge", 1, cpu="20")))
    wait_until(lambda: bool(cluster.get("events")))
    (pod,) = cluster.get("pods")
    assert pod["status"]["phase"] == "Pending"
    assert "Insufficient cpu" in pod["status"]["conditions"][0]["message"]
    (event,) = cluster.get("events")
    assert event["reason"] == "FailedScheduling"


def test_a_rollout_and_a_scale_reach_their_end(cluster: Cluster) -> None:
    body = _here(cluster, deployment("web", 3, cpu="200m"))
    cluster.apply(body)
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    cluster.kubectl("set", "image", "deploy/web", "main=registry.example/app:2")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    cluster.kubectl("scale", "deploy/web", "--replicas=1")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    wait_until(lambda: len(cluster.get("pods")) == 1)
    (pod,) = cluster.get("pods")
    assert pod["spec"]["containers"][0]["image"] == "registry.example/app:2"


def test_what_a_deleted_deployment_owned_goes(cluster: Cluster) -> None:
    cluster.apply(_here(cluster, deployment("web", 2)))
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    cluster.kubectl("delete", "deploy/web")
    wait_until(lambda: not cluster.get("pods") and not cluster.get("rs"))


def test_a_deleted_namespace_goes_with_all_that_it_holds(cluster: Cluster) -> None:
    cluster.apply(_here(cluster, deployment("web", 2)))
    cluster.kubectl("create", "configmap", "settings", "--from-literal=a=b")
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
    cluster.kubectl("delete", "namespace", cluster.namespace, "--timeout=20s")
    assert cluster.kubectl("get", "deploy,pods,cm", check=False) == ""


def test_an_annotated_node_falls_silent_and_returns(cluster: Cluster) -> None:
    fault = "kapok.dev/simulate-fault"
    cluster.kubectl("annotate", "node", "sim-edge-2", f"{fault}=not-ready")
    cluster.kubectl("wait", "node/sim-edge-2", "--for=condition=Ready=Unknown", "--timeout=10s")
    cluster.kubectl("annotate", "node", "sim-edge-2", f"{fault}-")
    cluster.kubectl("wait", "node/sim-edge-2", "--for=condition=Ready", "--timeout=10s")


def test_controllers_that_are_killed_and_started_again_double_nothing(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    cluster = Cluster(kubeconfigs[0], f"sim-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    log, words = tmp_path / "log", ("--nodes", str(nodes_file), "--start-seconds", "1")
    body = _here(cluster, deployment("web", 6, cpu="100m"))
    with controllers(log, kubeconfigs[:1], *words) as process:
        cluster.apply(body, _here(cluster, job("calc", annotations=NEVER_RESTARTED)))
        time.sleep(0.7)  # noqa: TID251 - in the middle of their work
        process.send_signal(signal.SIGKILL)
        process.wait()
    with controllers(log, kubeconfigs[:1], *words):
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
        cluster.kubectl("wait", "--for=condition=complete", "job/calc", "--timeout=20s")
    pods = [pod for pod in cluster.get("pods") if pod["metadata"]["name"].startswith("web")]
    assert len(pods) == 6
    cluster.kubectl("delete", "deploy,job", "--all", "--wait=false")


def test_a_server_that_goes_and_comes_back_is_followed_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with api_servers(tmp_path, "m") as kubeconfigs:
        cluster = Cluster(kubeconfigs[0], "default")
        process = controllers(log, kubeconfigs)
        process.__enter__()
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=10s")
    try:
        with api_servers(tmp_path, "m"):
            cluster.apply(_here(cluster, deployment("web", 2)))
            wait_until(lambda: bool(cluster.get("rs")))
            cluster.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    finally:
        process.__exit__(None, None, None)


def test_it_ends_at_once_when_it_is_told_to(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    log = tmp_path / "log"
    with controllers(log, kubeconfigs, "--nodes", str(nodes_file)) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    assert "Traceback" not in log.read_text()


def test_a_server_that_refuses_us_ends_it_with_a_word(
    kubeconfigs: list[Path], tmp_path: Path
) -> None:
    config = yaml.safe_load(kubeconfigs[0].read_text())
    config["users"][0]["user"] = {"token": "not-a-token-of-this-server"}
    stranger = tmp_path / "kubeconfig"
    stranger.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [*KAPOK, "simulate-cluster", "--kubeconfig", str(stranger)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "Traceback" not in done.stderr


def test_cut_expired_refused_and_lost_connections_are_survived(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    cluster = Cluster(kubeconfigs[0], f"sim-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    log = tmp_path / "log"
    with (
        api_proxy(Client.of(kubeconfigs[0]), tmp_path) as proxy,
        controllers(log, [proxy.kubeconfig], "--nodes", str(nodes_file)),
    ):
        proxy.faults.cut_watches_after_events = 4
        proxy.faults.too_many = 20
        cluster.apply(_here(cluster, deployment("web", 6, cpu="100m")))
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
        proxy.faults.gone = True
        proxy.cut_watches()
        cluster.kubectl("scale", "deploy/web", "--replicas=3")
        time.sleep(1)  # noqa: TID251 - the server is away for a second
        proxy.faults.expired_watches = 9
        proxy.faults.gone = False
        wait_until(lambda: len(cluster.get("pods")) == 3, log.read_text, seconds=40)
    cluster.kubectl("delete", "deploy", "--all", "--wait=false")


def test_a_pod_costs_a_small_number_of_calls(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    cluster = Cluster(kubeconfigs[0], f"sim-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    with (
        api_proxy(Client.of(kubeconfigs[0]), tmp_path) as proxy,
        controllers(tmp_path / "log", [proxy.kubeconfig], "--nodes", str(nodes_file)),
    ):
        cluster.apply(_here(cluster, deployment("web", 10, cpu="100m")))
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=20s")
        about = [call for call in proxy.faults.seen if f"/namespaces/{cluster.namespace}/" in call]
    pods = [call for call in about if "/pods" in call]
    assert len(pods) == 3 * 10  # made, bound, running
    assert len(about) - len(pods) <= 25  # one set, and what is counted of it
    cluster.kubectl("delete", "deploy", "--all", "--wait=false")
