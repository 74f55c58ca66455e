"""A real `kapok up` with more work than capacity: decisions follow prices and sites of batches."""

import urllib.request
from pathlib import Path

import pytest

from agents.protocol.report import ReportedIntensity
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.ledger.replay import replay
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import FAST_SETTINGS, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

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
    with urllib.request.urlopen(up.ready["metrics"], timeout=60) as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


@pytest.mark.soak
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
            up.kubectl("delete", "workloads.kapok.dev", placed, "--timeout=60s")
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
            up.kubectl("delete", "workloads.kapok.dev", "--all", "--timeout=60s")
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


WORKLOADS, SITES, LEAST_FOLLOWED = 300, 12, 10
ONE_BY_ONE = (
    FAST_SETTINGS + "batch: {at_workloads: 20, interval_seconds: 0.5}\nhub: {concurrency: 1}\n"
)
"""The backlog lasts for some seconds, so that batches are solved while much of it waits."""


@pytest.mark.soak
def test_the_assignment_of_a_batch_is_followed_named_and_replayed(tmp_path: Path) -> None:
    with running_up(tmp_path, settings=ONE_BY_ONE) as up:
        sites = [
            ScriptedSite(
                f"m{number}",
                up.ready["broker"],
                up.ready["hubKey"],
                nodes=5 + number % 3,
                cpu="16",
                cores_per_replica=2,
                intensity=ReportedIntensity(gco2_per_kwh=100.0 + 50 * number, origin="measured"),
            )
            for number in range(SITES)
        ]
        up.apply("".join(one.manifest for one in sites))
        names = [f"w{number}" for number in range(WORKLOADS)]
        up.apply("".join(work(name) for name in names))
        with running_sites(*sites):
            eventually(lambda: len(followed_in(up)) >= LEAST_FOLLOWED, within_seconds=120)
            record = followed_in(up)[0]
    # From here on nothing runs beside the commands.
    explanation = kapok(up, "explain", record.subject, "--decision", record.id)
    version = record.content["assignment"]
    assert any(f"assigned by batch {version[:19]} to " in one for one in explanation["notes"])
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        records = ledger.records(0, 100_000)
        decided = [one for one in records if "assignment" in one.content and one.kind != "batch"]
        assert {replay(ledger, one).is_same for one in decided[:20]} == {True}
    placed, followed = share_followed(records)
    assert followed >= placed / 10, f"{followed} of {placed} went where a batch assigned them"
    batch = next(one for one in records if one.kind == "batch" and "assignment" in one.content)
    assert batch.content["hottestSite"]["site"].startswith("m")
    assert 0 < batch.content["ratio"] <= 1


def followed_in(up: Up) -> list[Record]:
    """The decisions that follow a batch."""
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        records = ledger.records(0, 100_000)
    return [one for one in records if one.kind == "decision" and "assignment" in one.content]


def share_followed(records: list[Record]) -> tuple[int, int]:
    """How many workloads were placed after a batch that assigned them, and how many as it said."""
    is_after, placed, followed = False, 0, 0
    for one in records:
        is_after = is_after or (one.kind == "batch" and "assignment" in one.content)
        if is_after and one.kind == "decision" and one.content["decision"]["phase"] == "Placed":
            placed += 1
            followed += "assignment" in one.content
    return placed, followed
