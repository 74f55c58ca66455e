"""`kapok status` and `kapok logs`: real processes, broker and agent, a member cluster with pods."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.member_clusters import Cluster
from tests.support.site_with_agent import SiteWithAgent, site_with_agent
from tests.support.up import ROOT, Up, eventually, kapok

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: default}
spec: {namespaces: [default]}
---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 2
  manifests:
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata:
          labels: {app: web}
          annotations: {kapok.dev/simulated-log: "one\\ntwo\\nthree"}
        spec:
          containers:
          - {name: app, image: "web:1", resources: {requests: {cpu: 100m}}}
          - {name: side, image: "side:1", resources: {requests: {cpu: 100m}}}
"""
FOREIGN = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "foreign",
        "annotations": {"kapok.dev/simulated-log": "a secret of others"},
    },
    "spec": {"containers": [{"name": "app", "image": "x:1"}]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteWithAgent]:
    with site_with_agent(tmp_path_factory.mktemp("look"), "default") as one:
        one.up.apply(WORKLOAD)
        eventually(lambda: phase(one.up) == "Running", within_seconds=60)
        yield one


def phase(up: Up) -> str:
    return str(up.get("workloads.kapok.dev", "web").get("status", {}).get("phase", ""))


def run_kapok(up: Up, *words: str, user: str = "") -> subprocess.CompletedProcess[str]:
    place = ["--kubeconfig", str(up.data_dir / "hub" / f"kubeconfig-{user}")] if user else []
    return subprocess.run(
        [
            *(sys.executable, "-m", "scheduler.cli.entry", *words),
            *(place or ["--data-dir", str(up.data_dir)]),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pods(member: Cluster) -> list[str]:
    found = [one["metadata"]["name"] for one in member.get("pods", "-l", "app=web")]
    return sorted(found)


def test_status_shows_the_pods_of_the_workload_and_what_happened_to_them(
    site: SiteWithAgent,
) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "pulled"},
        "involvedObject": {"kind": "Pod", "name": pods(site.member)[0], "namespace": "default"},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed",
        "count": 3,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    uid = site.member.get("pods", "-l", "app=web")
    names = {one["metadata"]["name"]: one["metadata"]["uid"] for one in uid}
    event["involvedObject"]["uid"] = names[pods(site.member)[0]]  # type: ignore[index]
    site.member.apply(site.member.in_namespace(event))
    answer = kapok(site.up, "status", "default/web")
    (one,) = answer["sites"]
    assert answer["workload"] == "default/web"
    assert (one["name"], one["pods"], one["ready"], one["reasons"]) == ("m1", 2, 2, {})
    assert {pod["name"] for pod in one["podDetails"]} == set(pods(site.member))
    seen = [each for each in one["events"] if each["reason"] == "Unhealthy"]
    assert [(each["message"], each["count"]) for each in seen] == [("Readiness probe failed", 3)]
    text = run_kapok(site.up, "status", "default/web").stdout
    assert "m1: 2/2 ready" in text


def test_logs_are_the_last_lines_of_the_workloads_containers_and_of_no_other_pod(
    site: SiteWithAgent,
) -> None:
    site.member.apply(site.member.in_namespace(FOREIGN))
    answer = kapok(site.up, "logs", "default/web", "--tail", "2")
    logs = answer["sites"][0]["logs"]
    assert sorted((one["pod"], one["container"]) for one in logs) == [
        (name, container) for name in pods(site.member) for container in ("app", "side")
    ]
    assert {one["text"] for one in logs} == {"two\nthree\n"}
    done = run_kapok(site.up, "logs", "default/web", "--pod", "foreign")
    assert done.returncode == 1
    assert "it has no pod foreign here" in done.stderr
    assert "secret of others" not in done.stdout + done.stderr


@pytest.mark.soak
def test_follow_prints_each_new_line_once(site: SiteWithAgent) -> None:
    name = pods(site.member)[0]
    words = [sys.executable, "-m", "scheduler.cli.entry", "logs", "default/web", "-f", "--tail=1"]
    words += ["--pod", name, "-c", "app", "--no-prefix", "--data-dir", str(site.up.data_dir)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "three\n"
        for number in (4, 5):
            lines = ["one", "two", "three", *(f"line {n}" for n in range(4, number + 1))]
            note = f"kapok.dev/simulated-log={chr(10).join(lines)}"
            site.member.kubectl("annotate", "--overwrite", "pod", name, note)
            assert reader.stdout.readline() == f"line {number}\n"
        reader.terminate()
        assert reader.wait(60) == 0
        assert reader.stdout.read() == ""


@pytest.mark.soak
def test_a_tenant_of_another_namespace_reads_nothing(site: SiteWithAgent) -> None:
    for name, space in (("own", "default"), ("stranger", "other")):
        role = ("--role", "tenant", "--namespace", space)
        kapok(site.up, "hub", "token", "--name", name, *role)
    assert run_kapok(site.up, "logs", "default/web", user="own").returncode == 0
    for words in (("logs", "default/web"), ("status", "default/web"), ("logs", "default/none")):
        done = run_kapok(site.up, *words, user="stranger")
        assert (done.returncode, done.stdout) == (1, "")
        assert "may not get workloads.kapok.dev/log in namespace default" in done.stderr


@pytest.mark.soak
def test_endpoints_follow_what_the_sites_load_balancer_gives(site: SiteWithAgent) -> None:
    assert kapok(site.up, "get", "endpoints", "default/web") == {
        "workload": "default/web",
        "endpoints": [],
    }
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}}
    patch = ("patch", "service", "web", "--subresource=status", "--type=merge", "-p")
    site.member.kubectl(*patch, json.dumps(address))
    expected = [{"site": "m1", "address": "198.51.100.7", "port": 80, "ready": True}]
    eventually(
        lambda: kapok(site.up, "get", "endpoints", "default/web")["endpoints"] == expected,
        within_seconds=60,
    )
    assert "198.51.100.7" in run_kapok(site.up, "get", "endpoints").stdout


@pytest.mark.soak
def test_nothing_of_a_log_stays_in_the_hub_or_at_the_agent(site: SiteWithAgent) -> None:
    marker = "marker-of-a-log-5c1f"
    name = pods(site.member)[0]
    site.member.kubectl("annotate", "--overwrite", "pod", name, f"kapok.dev/simulated-log={marker}")
    assert marker in run_kapok(site.up, "logs", "default/web").stdout
    time.sleep(1)  # noqa: TID251 - what would be written is written by then
    kept = [
        str(path)
        for path in site.up.folder.rglob("*")
        if path.is_file() and "members" not in path.parts and marker.encode() in path.read_bytes()
    ]
    assert kept == []


@pytest.mark.soak
def test_a_site_that_does_not_answer_is_named_and_the_command_ends(site: SiteWithAgent) -> None:
    site.stop_member()
    done = run_kapok(site.up, "status", "default/web", "-o", "json")
    (one,) = json.loads(done.stdout)["sites"]
    assert done.returncode == 1
    assert one["pods"] is None
    assert one["problem"]
    site.start_member()
