"""What pod templates refer to goes along: real kubectl, broker and agents, two member clusters."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.member_clusters import Cluster
from tests.support.site_with_agent import sites_with_agents
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MARKER = "marker-of-a-secret-8f41c2"
NEXT_MARKER = "marker-of-its-update-77ab90"
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 2
  placement: {spread: [{by: site, minGroups: 2}]}
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: NAME}
    spec:
      selector: {matchLabels: {app: NAME}}
      template:
        metadata: {labels: {app: NAME}}
        spec:
          serviceAccountName: runner
          imagePullSecrets: [{name: registry}]
          containers:
          - name: web
            image: "web:1"
            resources: {requests: {cpu: 100m, memory: 64Mi}}
            envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: password}}]
          volumes:
          - {name: data, persistentVolumeClaim: {claimName: data}}
"""
TENANT = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: default}
spec: {namespaces: [default]}
---
"""
OTHERS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner, namespace: default}
imagePullSecrets: [{name: registry}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Secret
metadata: {name: registry, namespace: default}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '{"auths": {"registry": {"password": "MARKER"}}}'}
---
""".replace("MARKER", MARKER)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def references(up: Up, name: str) -> dict[str, str]:
    status = up.get("workloads.kapok.dev", name).get("status", {})
    found = [one for one in status.get("conditions", []) if one["type"] == "References"]
    return found[0] if found else {}


def names(member: Cluster, kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in member.get(kind)}


def data(member: Cluster, kind: str, name: str) -> dict[str, str]:
    found: dict[str, Any] = json.loads(member.kubectl("get", kind, name, "-o", "json"))
    return dict(found.get("data", {}))


def decoded(member: Cluster) -> str:
    return base64.b64decode(data(member, "secret", "password")["value"]).decode()


def patch(up: Up, kind: str, name: str, body: dict[str, Any]) -> None:
    up.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(body))


def at_both(members: list[Cluster], is_so: Callable[[Cluster], bool]) -> None:
    eventually(lambda: all(is_so(member) for member in members))


def places_of(marker: str, folder: Path, *, beside: Callable[[Path], bool]) -> list[str]:
    """The files below a folder that show a marker, as it is or in base64."""
    plain = marker.encode()
    # Base64 of a text differs with its place in the whole, by one or two bytes before it.
    forms = [plain, *(base64.b64encode(b"x" * n + plain)[4 * (n > 0) : -4] for n in range(3))]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not beside(path):
            content = path.read_bytes()
            if any(form in content for form in forms):
                found.append(str(path))
    return found


def is_own_store(path: Path) -> bool:
    """The stores of the API servers: the hub and the members hold Secrets, as etcd does."""
    return "members" in path.parts or path.name.startswith("objects.db")


@pytest.mark.soak
@pytest.mark.soak
def test_everything_goes_along_and_no_secret_is_readable(up: Up, tmp_path: Path) -> None:
    with sites_with_agents(up, tmp_path, "default", "m1", "m2") as members:
        up.apply(TENANT + WORKLOAD.replace("NAME", "web"))
        eventually(
            lambda: references(up, "web").get("reason") == "MissingReference", within_seconds=60
        )
        assert all(names(member, "deployments") == set() for member in members)
        up.kubectl("create", "configmap", "settings", "--from-literal=value=1")
        up.kubectl("create", "secret", "generic", "password", f"--from-literal=value={MARKER}")
        up.apply(OTHERS)
        eventually(lambda: phase(up, "web") == "Running", within_seconds=60)
        assert references(up, "web")["reason"] == "GoAlong"
        for member in members:
            check_all_is_there(member)
        check_updates_and_shares(up, members)
        check_a_restart_and_the_end(up, members)
    up.stop()
    check_no_marker(tmp_path)


def check_all_is_there(member: Cluster) -> None:
    assert data(member, "configmap", "settings") == {"value": "1"}
    assert decoded(member) == MARKER
    assert "runner" in names(member, "serviceaccounts")
    assert "registry" in names(member, "secrets")
    assert names(member, "persistentvolumeclaims") == {"data"}


def check_updates_and_shares(up: Up, members: list[Cluster]) -> None:
    """Updates reach the sites, a second workload shares what the first needs, drift is repaired."""
    patch(up, "configmap", "settings", {"data": {"value": "2"}})
    patch(up, "secret", "password", {"stringData": {"value": NEXT_MARKER}})
    at_both(members, lambda one: data(one, "configmap", "settings") == {"value": "2"})
    at_both(members, lambda one: decoded(one) == NEXT_MARKER)
    up.apply(WORKLOAD.replace("NAME", "other"))
    eventually(lambda: phase(up, "other") == "Running", within_seconds=60)
    up.kubectl("delete", "workloads.kapok.dev", "web", "--wait=false")
    at_both(members, lambda one: names(one, "deployments") == {"other"})
    assert decoded(members[0]) == NEXT_MARKER
    members[1].kubectl("delete", "configmap", "settings")
    at_both(members, lambda one: "settings" in names(one, "configmaps"))


def check_a_restart_and_the_end(up: Up, members: list[Cluster]) -> None:
    """A new leader withdraws nothing; the last workload takes all with it but data."""
    before = [one.kubectl("get", "secret", "password", "-o", "json") for one in members]
    up.kill()
    up.start()
    eventually(lambda: phase(up, "other") == "Running", within_seconds=60)
    after = [one.kubectl("get", "secret", "password", "-o", "json") for one in members]
    assert after == before
    up.kubectl("delete", "workloads.kapok.dev", "other", "--wait=false")
    at_both(members, lambda one: "password" not in names(one, "secrets"))
    at_both(members, lambda one: "settings" not in names(one, "configmaps"))
    assert all(names(one, "persistentvolumeclaims") == {"data"} for one in members)
    up.apply(WORKLOAD.replace("NAME", "web"))
    eventually(lambda: phase(up, "web") == "Running", within_seconds=60)


def check_no_marker(folder: Path) -> None:
    for marker in (MARKER, NEXT_MARKER):
        assert places_of(marker, folder, beside=lambda _: False) != []  # the search finds it
        assert places_of(marker, folder, beside=is_own_store) == []
    journal = sqlite3.connect(folder / "agent-m1" / "journal.sqlite")
    contents = [bytes(row[0]) for row in journal.execute("SELECT data FROM content")]
    journal.close()
    assert any(b'"sealed"' in one for one in contents)
