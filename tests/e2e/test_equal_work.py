"""`kapok up` decides equal Deployments that wait together in few records, each to be explained."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import EQUAL_KIND
from scheduler.ledger.replay import replay
from scheduler.ledger.verify import verify
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.tools import require_kernel
from tests.support.up import Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: NAME}
    spec:
      replicas: 1
      selector: {matchLabels: {app: job}}
      template:
        metadata: {labels: {app: job}}
        spec:
          containers:
          - {name: main, image: "job:1", resources: {requests: {cpu: 10m, memory: 16Mi}}}
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    require_kernel()
    with running_up(tmp_path) as running:
        yield running


def manifests(count: int) -> str:
    return "".join(WORKLOAD.replace("NAME", f"job-{number}") for number in range(count))


def site(up: Up) -> ScriptedSite:
    return ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])


def statuses(up: Up) -> dict[str, dict[str, Any]]:
    """The status of each Workload, by name."""
    items = json.loads(up.kubectl("get", "workloads.kapok.dev", "-o", "json"))["items"]
    return {one["metadata"]["name"]: one.get("status", {}) for one in items}


def all_in_phase(up: Up, count: int, *phases: str) -> dict[str, dict[str, Any]] | None:
    found = statuses(up)
    is_so = len(found) == count and all(one.get("phase") in phases for one in found.values())
    return found if is_so else None


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.soak)])
def test_equal_deployments_are_few_records_and_each_is_explained(up: Up, count: int) -> None:
    up.kubectl("create", "-f", "-", text=manifests(count))
    eventually(lambda: all_in_phase(up, count, "Refused", "Waiting"), within_seconds=60)
    before = kapok(up, "ledger", "verify")["records"]
    one = site(up)
    up.apply(one.manifest)
    with running_sites(one):
        found = eventually(lambda: all_in_phase(up, count, "Placed", "Running"), within_seconds=60)
    after = kapok(up, "ledger", "verify")["records"]
    assert after - before < count / 2
    name, index = "job-0", found["job-0"]["decision"].get("index")
    explained = kapok(up, "explain", f"default/{name}")
    assert explained["sites"][0]["replicas"] == 1
    assert explained["workload"] == f"default/{name}"
    record_id = found[name]["decision"]["id"]
    assert kapok(up, "replay", record_id, "--subject", f"default/{name}")["same"] is True
    assert kapok(up, "replay", f"{record_id}#{index or 0}")["same"] is True
    assert kapok(up, "replay", record_id)["same"] is True
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        for workload, status in found.items():
            share = ledger.last_about(f"default/{workload}")
            assert share is not None
            assert share.hash == status["decision"]["hash"]
            assert share.content["decision"]["line"] == status["decision"]["line"]
            assert replay(ledger, share).is_same
        assert any(record.kind == EQUAL_KIND for record in ledger.records(0, 10_000))
        assert verify(ledger).is_ok


def test_a_kill_between_the_record_and_the_statuses_places_each_once(tmp_path: Path) -> None:
    require_kernel()
    count = 20
    up = Up(tmp_path).start("tests.support.crashing_up", "after-equal-ledger")
    one = site(up)
    try:
        up.kubectl("create", "-f", "-", text=manifests(count))
        eventually(lambda: all_in_phase(up, count, "Refused", "Waiting"), within_seconds=60)
        with running_sites(one):
            up.apply(one.manifest)
            assert up.wait_until_dead() == -signal.SIGKILL
            up.start()
            found = eventually(lambda: all_in_phase(up, count, "Running"), within_seconds=60)
            assert len(one.contents) == count
    finally:
        up.kill()
    assert all(status["sites"] == "m1 (1)" for status in found.values())
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        assert verify(ledger).is_ok
        for workload, status in found.items():
            share = ledger.last_about(f"default/{workload}")
            assert share is not None
            assert share.hash == status["decision"]["hash"]
