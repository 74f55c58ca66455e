"""`kapok simulate-cluster` with faults: killed, terminated, refused, on a failing connection.

No other controllers run here: what happens is done by the process under test alone.
"""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.api_client import Client
from tests.support.api_proxy import api_proxy
from tests.support.fake_cluster import deployment, job
from tests.support.member_clusters import (
    KAPOK,
    Cluster,
    api_servers,
    controllers,
    member_clusters,
    wait_until,
    write_nodes,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ONE_SECOND = {"kapok.dev/simulated-seconds": "1"}


@pytest.fixture(scope="module")
def kubeconfigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    with member_clusters(tmp_path_factory.mktemp("members"), "m1") as found:
        yield found


@pytest.fixture(scope="module")
def nodes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nodes(tmp_path_factory.mktemp("nodes"))


def test_controllers_that_are_killed_and_restarted_duplicate_nothing(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    cluster = Cluster(kubeconfigs[0], f"sim-{secrets.token_hex(3)}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    log, words = tmp_path / "log", ("--nodes", str(nodes_file), "--start-seconds", "1")
    body = cluster.in_namespace(deployment("web", 6, cpu="100m"))
    with controllers(log, kubeconfigs[:1], *words) as process:
        cluster.apply(body, cluster.in_namespace(job("calc", annotations=ONE_SECOND)))
        time.sleep(0.7)  # noqa: TID251 - in the middle of their work
        process.send_signal(signal.SIGKILL)
        process.wait()
    with controllers(log, kubeconfigs[:1], *words):
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        cluster.kubectl("wait", "--for=condition=complete", "job/calc", "--timeout=60s")
    pods = [pod for pod in cluster.get("pods") if pod["metadata"]["name"].startswith("web")]
    assert len(pods) == 6
    cluster.kubectl("delete", "deploy,job", "--all", "--wait=false")


def test_a_server_that_restarts_is_watched_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with api_servers(tmp_path, "m") as kubeconfigs:
        cluster = Cluster(kubeconfigs[0], "default")
        process = controllers(log, kubeconfigs)
        process.__enter__()
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
    try:
        with api_servers(tmp_path, "m"):
            cluster.apply(cluster.in_namespace(deployment("web", 2)))
            wait_until(lambda: bool(cluster.get("rs")))
            cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    finally:
        process.__exit__(None, None, None)


def test_it_ends_at_once_on_a_signal(
    kubeconfigs: list[Path], tmp_path: Path, nodes_file: Path
) -> None:
    log = tmp_path / "log"
    with controllers(log, kubeconfigs, "--nodes", str(nodes_file)) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()


def test_a_server_that_refuses_the_credentials_ends_it_with_a_message(
    kubeconfigs: list[Path], tmp_path: Path
) -> None:
    config = yaml.safe_load(kubeconfigs[0].read_text())
    config["users"][0]["user"] = {"token": "not-a-token-of-this-server"}
    refused_kubeconfig = tmp_path / "kubeconfig"
    refused_kubeconfig.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [*KAPOK, "simulate-cluster", "--kubeconfig", str(refused_kubeconfig)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(180)
@pytest.mark.soak
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
        cluster.apply(cluster.in_namespace(deployment("web", 6, cpu="100m")))
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        proxy.faults.gone = True
        proxy.cut_watches()
        cluster.kubectl("scale", "deploy/web", "--replicas=3")
        time.sleep(1)  # noqa: TID251 - the server is away for a second
        proxy.faults.expired_watches = 9
        proxy.faults.gone = False
        wait_until(lambda: len(cluster.get("pods")) == 3, log.read_text, seconds=60)
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
        cluster.apply(cluster.in_namespace(deployment("web", 10, cpu="100m")))
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        about = [call for call in proxy.faults.seen if f"/namespaces/{cluster.namespace}/" in call]
    pods = [call for call in about if "/pods" in call]
    assert 3 * 10 <= len(pods) <= 3 * 10 + 3  # made, bound, running; a lost answer costs one more
    assert len(about) - len(pods) <= 25  # one set, and what is counted of it
    cluster.kubectl("delete", "deploy", "--all", "--wait=false")
