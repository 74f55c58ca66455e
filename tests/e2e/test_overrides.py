"""Sites differ: an override for one, an isolated network with registries of its own for another."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.member_clusters import Cluster
from tests.support.site_with_agent import sites_with_agents
from tests.support.up import Up, eventually, kapok, running_up

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
  placement: {spread: [{by: site, minGroups: 2}]}
  overrides:
  - siteSelector: {matchLabels: {kapok.dev/site: m1}}
    patch:
    - {op: add, path: /spec/template/spec/containers/0/env, value: [{name: SITE, value: m1}]}
    args: [{container: web, args: [--verbose]}]
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - name: web
            image: "web:1"
            resources: {requests: {cpu: 100m, memory: 64Mi}}
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def container(member: Cluster) -> dict[str, Any]:
    found = member.get("deployments")
    if not found:
        return {}
    one: dict[str, Any] = found[0]["spec"]["template"]["spec"]["containers"][0]
    return {name: one.get(name) for name in ("image", "args", "env")}


def conditions(up: Up) -> dict[str, str]:
    status = up.get("workloads.kapok.dev", "web").get("status", {})
    return {one["type"]: one["status"] for one in status.get("conditions", [])}


def patch_site(up: Up, name: str, registries: list[dict[str, str]]) -> None:
    body = json.dumps({"spec": {"imageRegistries": registries}})
    up.kubectl("patch", "sites.kapok.dev", name, "--type=merge", "-p", body)


@pytest.mark.soak
def test_each_site_runs_what_its_overrides_and_registries_say(up: Up, tmp_path: Path) -> None:
    with sites_with_agents(up, tmp_path, "default", "m1", "m2") as (one, isolated):
        patch_site(up, "m2", [{"from": "docker.io", "to": "mirror.local:5000/hub"}])
        up.apply(WORKLOAD)
        changed = {
            "image": "web:1",
            "args": ["--verbose"],
            "env": [{"name": "SITE", "value": "m1"}],
        }
        mirrored = {"image": "mirror.local:5000/hub/library/web:1", "args": None, "env": None}
        eventually(
            lambda: (container(one), container(isolated)) == (changed, mirrored), within_seconds=60
        )
        eventually(lambda: conditions(up).get("Ready") == "True", within_seconds=60)
        explained = {each["name"]: each for each in kapok(up, "explain", "default/web")["sites"]}
        sources = [each["source"] for each in explained["m1"]["applied"]]
        assert sources == ["spec.manifests", "decision", "spec.overrides[0]"]
        last = explained["m2"]["applied"][-1]
        assert last["source"] == "imageRegistries of the site"
        assert last["changes"] == ["web:1 -> mirror.local:5000/hub/library/web:1"]
        # The network moves to another mirror: that site alone gets another order.
        before = up.get("workloads.kapok.dev", "web")["status"]["placement"]["orders"]
        patch_site(up, "m2", [{"from": "docker.io", "to": "other.local"}])
        eventually(
            lambda: container(isolated).get("image") == "other.local/library/web:1",
            within_seconds=60,
        )
        after = up.get("workloads.kapok.dev", "web")["status"]["placement"]["orders"]
        assert after["m1"] == before["m1"]
        assert after["m2"] != before["m2"]
        # An edit that would change what was decided is refused, and what runs stays.
        path = "/spec/template/spec/containers/0/resources/requests/cpu"
        bad = [{"patch": [{"op": "replace", "path": path, "value": "1m"}]}]
        body = json.dumps({"spec": {"overrides": bad}})
        up.kubectl("patch", "kw", "web", "--type=merge", "-p", body)
        eventually(lambda: conditions(up).get("Accepted") == "False", within_seconds=60)
        assert container(one) == changed
