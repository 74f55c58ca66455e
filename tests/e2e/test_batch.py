"""A real `kapok up` with more work than capacity: prices of a batch enter decisions."""

import urllib.request
from pathlib import Path

import pytest

from scheduler.ledger.reader import LedgerReader
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import FAST_SETTINGS, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

SETTINGS = FAST_SETTINGS + "batch: {at_workloads: 4, interval_seconds: 0.5}\n"
WORKLOAD = """
---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: default}}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  priority: {priority}
  replicas: 2
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          containers:
          - {{name: web, image: "web:1", resources: {{requests: {{cpu: "2", memory: 1Gi}}}}}}
"""


def work(name: str, priority: int = 0) -> str:
    return WORKLOAD.format(name=name, priority=priority)


def metric(up: Up, name: str) -> float:
    with urllib.request.urlopen(up.ready["metrics"], timeout=10) as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def test_scarcity_prices_enter_decisions_are_replayed_and_end_with_the_backlog(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        sites = [
            ScriptedSite(
                name,
                up.ready["broker"],
                up.ready["hubKey"],
                nodes=1,
                cpu="8",
                cores_per_replica=2,
            )
            for name in ("m1", "m2")
        ]
        names = [f"w{number}" for number in range(9)]
        up.apply("".join(one.manifest for one in sites) + "".join(map(work, names)))
        with running_sites(*sites):
            eventually(lambda: metric(up, "kapok_scarcity_prices") > 0)
            assert 0 < metric(up, "kapok_batch_achieved_ratio") <= 1
            assert metric(up, "kapok_batch_number") >= 1
            placed = next(name for name in names if phase(up, name) != "Waiting")
            up.apply(work("urgent", 100))
            eventually(lambda: phase(up, "urgent") == "Waiting")
            up.kubectl("delete", "workloads.kapok.dev", placed, "--timeout=20s")
            eventually(lambda: phase(up, "urgent") in ("Placed", "Running"))
            explanation = kapok(up, "explain", "default/urgent")
            terms = {
                cost["term"]: cost["cnyPerReplicaHour"]
                for one in explanation["sites"]
                for cost in one["costs"]
            }
            assert 0 < terms["scarcity"] < 200
            decision = up.get("workloads.kapok.dev", "urgent")["status"]["decision"]["id"]
            assert kapok(up, "replay", decision)["same"] is True
            up.kubectl("delete", "workloads.kapok.dev", "--all", "--timeout=30s")
            eventually(lambda: metric(up, "kapok_scarcity_prices") == 0)
            up.apply(work("alone"))
            eventually(lambda: phase(up, "alone") in ("Placed", "Running"))
            explanation = kapok(up, "explain", "default/alone")
            assert "scarcity" not in {
                c["term"] for one in explanation["sites"] for c in one["costs"]
            }
        assert kapok(up, "ledger", "verify")["ok"]
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        batches = ledger.records(0, 100, subject="batches")
        assert {(one.content["solver"], one.content["seed"]) for one in batches} == {("highs", 0)}
        found = next(one for one in batches if one.content["scarcityVersion"])
        assert ledger.blob(found.content["scarcityVersion"])[0]["site"] in ("m1", "m2")
        assert 0 <= found.content["achieved"] <= found.content["bound"]
