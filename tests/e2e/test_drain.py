"""Sites are drained and opened again: `kapok up`, its hub and broker, sites on the wire."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DEPLOYMENT = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 3
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
BUDGET
---
"""
BUDGET = """
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: NAME}
    spec: {maxUnavailable: LIMIT, selector: {matchLabels: {app: NAME}}}
"""


def workload(name: str, limit: int | None = None) -> str:
    budget = "" if limit is None else BUDGET.replace("LIMIT", str(limit)).strip("\n")
    return DEPLOYMENT.replace("BUDGET", budget).replace("NAME", name)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def command(up: Up, *words: str) -> list[str]:
    return [str(BIN / "kapok"), "site", *words, "-o", "json", "--data-dir", str(up.data_dir)]


def site(up: Up, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer and stderr of `kapok site`."""
    done = subprocess.run(
        command(up, *words), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout or done.returncode == 2, done.stderr
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def where(up: Up, name: str) -> set[str]:
    groups = up.get("kw", name).get("status", {}).get("placement", {}).get("groups", [])
    return {at for one in groups if one["phase"] != "Withdrawing" for at in one["sites"]}


def all_run_at(up: Up, place: str, *names: str) -> bool:
    return all(
        where(up, name) == {place} and up.get("kw", name)["status"].get("phase") == "Running"
        for name in names
    )


def schedulable(up: Up, name: str) -> str:
    conditions = up.get("sites", name)["status"]["conditions"]
    return next((one["reason"] for one in conditions if one["type"] == "Schedulable"), "")


def leave_a_drain(up: Up) -> None:
    """A second operator drains the same site, and leaves with Ctrl-C."""
    words = command(up, "drain", "m1")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waits:
        assert waits.stderr is not None
        assert "already" in waits.stderr.readline()
        waits.send_signal(signal.SIGINT)
        assert waits.wait(60) == 130
        assert "goes on" in waits.stderr.read()
    assert up.get("sites", "m1")["spec"]["drain"]["requestedBy"]


def test_a_site_is_drained_step_by_step_and_opened_again(up: Up) -> None:
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    with running_sites(one, two):
        eventually(lambda: one.index and two.index)
        up.apply(workload("app") + workload("slow", 1) + workload("fixed", 0))
        eventually(lambda: all_run_at(up, "m1", "app", "slow", "fixed"))

        moves = [
            {"workload": f"default/{name}", "from": "m1", "to": "m2", "replicas": 3}
            for name in ("app", "slow")
        ]
        why = "PodDisruptionBudget fixed (maxUnavailable: 0) lets no replica be away"
        stuck = [{"workload": "default/fixed", "reason": why}]
        wanted = {"site": "m1", "done": False, "moves": moves, "stuck": stuck}
        assert site(up, "drain", "m1", "--dry-run")[:2] == (1, wanted)
        assert all_run_at(up, "m1", "app", "slow", "fixed")

        code, answer, progress = site(up, "drain", "m1")
        assert (code, answer) == (1, wanted), progress
        assert "1 workload is left there, 1 stuck" in progress
        assert all_run_at(up, "m2", "app", "slow")
        assert all_run_at(up, "m1", "fixed")
        assert schedulable(up, "m1") == "DrainStuck"
        status = up.get("kw", "app")["status"]
        assert "moved from m1: being drained" in status["decision"]["line"]
        assert kapok(up, "replay", status["decision"]["id"])["same"] is True
        slow = up.get("kw", "slow")["status"]["decision"]
        assert kapok(up, "replay", slow["id"])["same"] is True

        leave_a_drain(up)
        up.apply(workload("fixed", 3))
        code, answer, progress = site(up, "drain", "m1")
        assert (code, answer["done"], answer["stuck"]) == (0, True, []), progress
        assert all_run_at(up, "m2", "app", "slow", "fixed")

        assert site(up, "uncordon", "m1")[:2] == (
            0,
            {"site": "m1", "done": True, "moves": [], "stuck": []},
        )
        eventually(lambda: schedulable(up, "m1") == "")
        assert "drain" not in up.get("sites", "m1")["spec"]
        assert site(up, "cordon", "m2")[0] == 0
        eventually(lambda: schedulable(up, "m2") == "Cordoned")
        up.apply(workload("late"))
        eventually(lambda: all_run_at(up, "m1", "late"))
        assert site(up, "drain", "nowhere")[0] == 2
        before = up.get("sites", "m2")["spec"]
        for name in ("m2?x=1", "m2#", "m2%2Fstatus", "m2/status", ".."):
            assert site(up, "drain", name)[0] == 2, "of another name is another site"
        assert up.get("sites", "m2")["spec"] == before
