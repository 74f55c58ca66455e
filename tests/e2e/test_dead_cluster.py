"""The API server of a site's cluster dies, and its agent lives and says so."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.site_with_agent import SITE, SiteWithAgent, site_with_agent
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {{name: tests}}
spec: {{namespaces: [default]}}
---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: default}}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      replicas: 1
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          containers:
          - {{name: web, image: "a:1", resources: {{requests: {{cpu: 100m, memory: 64Mi}}}}}}
"""


def ready_condition(running: SiteWithAgent) -> tuple[str, str]:
    status = running.up.get("site", SITE).get("status", {})
    found = [one for one in status.get("conditions", []) if one["type"] == "Ready"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def status_of(running: SiteWithAgent, name: str) -> dict[str, Any]:
    found: dict[str, Any] = running.up.get("kw", name).get("status", {})
    return found


@pytest.mark.soak
def test_work_of_a_site_whose_cluster_is_dead_is_degraded_and_new_work_waits_for_it(
    tmp_path: Path,
) -> None:
    with site_with_agent(tmp_path, "default") as running:
        running.up.apply(WORKLOAD.format(name="runs"))
        eventually(lambda: status_of(running, "runs").get("phase") == "Running", within_seconds=60)
        running.stop_member()
        eventually(
            lambda: ready_condition(running) == ("False", "ClusterUnreachable"), within_seconds=60
        )
        eventually(lambda: status_of(running, "runs").get("phase") == "Degraded")
        runs = status_of(running, "runs")
        assert runs["reason"].startswith(f"ClusterUnreachable: unknown at {SITE}")
        available = next(one for one in runs["conditions"] if one["type"] == "Available")
        assert (available["status"], available["reason"]) == ("Unknown", "ClusterUnreachable")
        running.up.apply(WORKLOAD.format(name="new"))
        eventually(lambda: status_of(running, "new").get("phase"))
        new = status_of(running, "new")
        assert new["phase"] == "Waiting"
        assert new["decision"]["line"] == (
            f"0/1 sites are feasible: 1 silent; ClusterUnreachable at {SITE}"
        )
        running.start_member()
        eventually(lambda: status_of(running, "new").get("phase") == "Running", within_seconds=60)
        eventually(lambda: status_of(running, "runs").get("phase") == "Running", within_seconds=60)
