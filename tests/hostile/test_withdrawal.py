"""Data and withdrawals at the demo's members: real agents, real HTTP servers, real kubectl."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_demo import KAPOK, environment, eventually
from tests.support.tools import require_tool

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(300)]

TENANT = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: bugs}
spec: {namespaces: [bugs], jurisdiction: CN-GD, maxPriority: 1000}
---
apiVersion: v1
kind: Namespace
metadata: {name: bugs}
"""
WIKI = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: wiki, namespace: bugs}
spec:
  dataClass: general-1
  manifests:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      ownerReferences:
      - {apiVersion: v1, kind: ConfigMap, name: x, uid: 0-0-0-0-2, controller: true}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: wiki}
    spec:
      selector: {matchLabels: {app: wiki}}
      template:
        metadata: {labels: {app: wiki}}
        spec:
          nodeSelector: {kubernetes.io/arch: amd64}
          containers: [{name: c, image: i, resources: {requests: {cpu: 100m, memory: 64Mi}}}]
          volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]
"""


class DemoHub:
    """A running demo, and kubectl against its hub and its members."""

    def __init__(self, folder: Path) -> None:
        self.kubectl = require_tool("kubectl")
        self.data = folder / "city"
        words = [*KAPOK, "demo", "--size", "small", "--data-dir", str(self.data)]
        self.process = subprocess.Popen(
            words, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def run(self, *words: str, text: str | None = None) -> str:
        command = [self.kubectl, "--kubeconfig", str(self.data / "kubeconfig"), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return done.stdout

    def of_wiki(self, path: str) -> str:
        return self.run("get", "kw", "wiki", "-n", "bugs", "-o", f"jsonpath={path}")

    def at(self, site: str, kind: str, path: str) -> str:
        words = ("get", kind, "-n", "bugs", "-o", f"jsonpath={path}")
        return self.run("--context", site, *words)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoHub]:
    one = DemoHub(tmp_path)
    yield one
    one.stop()


def until(holds: Callable[[], object]) -> None:
    assert eventually(holds, within_seconds=60)


def test_data_survives_0_replicas_and_a_move_and_goes_with_the_workload(demo: DemoHub) -> None:
    run, of_wiki, at = demo.run, demo.of_wiki, demo.at
    uid, replicas = ("pvc/data", "{.metadata.uid}"), ("deploy/wiki", "{.spec.replicas}")
    until(lambda: run("get", "sites").count("True") == 3)
    run("apply", "-f", "-", text=TENANT)
    run("apply", "--server-side", "-f", "-", text=WIKI)
    until(lambda: of_wiki("{.status.phase}") == "Running")
    site = of_wiki("{.status.placement.groups[0].sites[0]}")
    before = at(site, *uid)
    run("scale", "kw/wiki", "-n", "bugs", "--replicas=0")
    until(lambda: at(site, *replicas) == "0")
    assert at(site, *uid) == before
    run("scale", "kw/wiki", "-n", "bugs", "--replicas=1")
    until(lambda: of_wiki("{.status.ready}") == "1")
    taint = '{"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}'
    run("patch", "site", site, "--type", "merge", "-p", taint)
    until(lambda: of_wiki("{.status.remains[0].claims[0]}") == "data")
    assert at(site, *uid) == before
    new = of_wiki("{.status.placement.groups[0].sites[0]}")
    held = ("--context", new, "patch", "deploy", "wiki", "-n", "bugs", "--type", "merge", "-p")
    run(*held, '{"metadata": {"finalizers": ["example.com/hold"]}}')
    run("delete", "kw", "wiki", "-n", "bugs", "--wait=false")
    until(lambda: "example.com/hold" in of_wiki("{.status.reason}"))
    time.sleep(2)  # noqa: TID251 - it stays so
    assert of_wiki("{.status.phase}") == "Deleting"
    run(*held, '{"metadata": {"finalizers": null}}')
    until(lambda: not of_wiki("{.metadata.name}"))
    assert (at(site, *uid), at(new, *uid)) == ("", "")
