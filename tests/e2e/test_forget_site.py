"""A site that is gone for good is forgotten, and comes back as a foreign one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import FORGOTTEN_SUBJECT
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 2
  failover: {mode: Manual}
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: NAME}
    spec:
      replicas: 1
      selector: {matchLabels: {app: NAME}}
      template:
        metadata: {labels: {app: NAME}}
        spec:
          containers:
          - {name: web, image: "web:1", resources: {requests: {cpu: "1", memory: 1Gi}}}
---
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def forget(up: Up, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [
            *(str(BIN / "kapok"), "site", "forget", *words),
            *("-o", "json", "--data-dir", str(up.data_dir)),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout or done.returncode == 2, done.stderr
    return done.returncode, json.loads(done.stdout or "{}")


def where(up: Up, name: str) -> set[str]:
    groups = up.get("kw", name).get("status", {}).get("placement", {}).get("groups", [])
    return {at for one in groups for at in one["sites"]}


def left_of(workload: str) -> dict[str, Any]:
    """What is left of a Deployment: replicas without names or claims."""
    nothing: dict[str, Any] = {"claims": [], "pods": [], "moreClaims": 0, "morePods": 0}
    return {"workload": workload, "replicas": 2, **nothing}


def is_silent(up: Up, name: str) -> bool:
    conditions = up.get("sites", name).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "False" for one in conditions)


def pending(up: Up) -> dict[str, str]:
    found: dict[str, str] = up.get("cm", "kapok-pending-sites", "kapok-system").get("data") or {}
    return found


def test_a_site_that_is_gone_for_good_is_forgotten_and_returns_as_a_foreign_one(up: Up) -> None:
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    with running_sites(two):
        with running_sites(one):
            eventually(lambda: one.index and two.index)
            up.apply(WORKLOAD.replace("NAME", "kept") + WORKLOAD.replace("NAME", "ends"))
            eventually(lambda: all(where(up, name) == {"m1"} for name in ("kept", "ends")))
            eventually(lambda: len(one.contents) == 2)
            code, answer = forget(up, "m1")
            assert (code, answer["done"]) == (1, False)
            assert "kapok site drain m1" in answer["stuck"][0]["reason"]
        eventually(lambda: is_silent(up, "m1"), within_seconds=60)
        up.kubectl("delete", "kw", "ends", "--wait=false")
        eventually(lambda: up.get("kw", "ends")["status"].get("phase") == "Deleting")
        left = [
            left_of("default/ends"),
            left_of("default/kept"),
        ]
        move = {"workload": "default/kept", "from": "m1", "to": "m2", "replicas": 2}
        code, answer = forget(up, "m1", "--dry-run")
        wanted = {"site": "m1", "done": True, "moves": [move], "stuck": [], "left": left}
        assert (code, answer) == (0, {**wanted, "grants": ["m1-grant"]})
        assert up.get("sites", "m1")
        assert forget(up, "m1") == (0, {**wanted, "grants": ["m1-grant"]})
        assert not up.get("sites", "m1")
        eventually(lambda: where(up, "kept") == {"m2"} and not up.get("kw", "ends"))
        with LedgerReader(up.data_dir / "ledger.db") as ledger:
            [record] = list(ledger.newest_first(FORGOTTEN_SUBJECT))
        assert record.content["site"] == "m1"
        assert record.content["left"] == left
        assert forget(up, "m1")[0] == 2
        with running_sites(one):
            eventually(lambda: "m1" in pending(up))
            assert any("default/kept" in order for order in one.contents)  # nothing is withdrawn
            words = ("admit", "m1", "--key", str(one.key.public), "--data-dir", str(up.data_dir))
            subprocess.run([str(BIN / "kapok"), *words], check=True, capture_output=True)
            eventually(lambda: one.contents == {}, within_seconds=60)
            assert where(up, "kept") == {"m2"}
