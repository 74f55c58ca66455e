"""Work that can wait, in a running hub: its start is planned, reported, and kept."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.protocol.report import ReportedIntensity
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: census, namespace: default}
spec:
  dataClass: general-2
  networkZones: [public-network]
  schedule: {deadline: "DEADLINE", durationSeconds: 60}
  placement: {preset: green-batch}
  manifests:
  - apiVersion: batch/v1
    kind: Job
    metadata: {name: census}
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: census, image: "census:1", resources: {requests: {cpu: "1", memory: 1Gi}}}
"""


def instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def patch_forecast(up: Up, cleaner_at: datetime) -> None:
    steps = [
        {"at": instant(cleaner_at + timedelta(seconds=60 * step)), "gco2PerKwh": grams}
        for step, grams in ((-1, 600), (0, 100), (1, 100))
    ]
    issued = {"observedAt": instant(cleaner_at), "origin": "modelled", "stepSeconds": 60}
    spec = {"energy": {"forecast": issued | {"steps": steps}}}
    up.kubectl("patch", "site", "m1", "--type=merge", "-p", json.dumps({"spec": spec}))


def test_a_workload_waits_for_the_cleaner_minute_and_is_placed_then(tmp_path: Path) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = up.get("workloads.kapok.dev", "census").get("status") or {}
        return found

    with running_up(tmp_path) as up:
        intensity = ReportedIntensity(gco2_per_kwh=600.0, origin="measured")
        m1 = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], intensity=intensity)
        up.apply(m1.manifest)
        with running_sites(m1):
            eventually(lambda: up.kubectl("get", "sites").count("True") == 1)
            # On a busy machine the cleaner minute begins before the workload is decided; then it is
            # placed at once, and asked for again, with more time.
            planned, cleaner_at = dict[str, Any](), datetime.min.replace(tzinfo=UTC)
            for seconds in (5, 20, 60):
                now = datetime.now(UTC)  # noqa: TID251 - a real process reads the same clock
                cleaner_at = now.replace(microsecond=0) + timedelta(seconds=seconds)
                patch_forecast(up, cleaner_at)
                deadline = instant(cleaner_at + timedelta(seconds=600))
                up.apply(WORKLOAD.replace("DEADLINE", deadline))
                planned = eventually(lambda: one if (one := status()).get("phase") else {})
                if planned["phase"] == "Waiting":
                    break
                up.kubectl("delete", "workloads.kapok.dev", "census", "--timeout=60s")
            line = planned["decision"]["line"]
            assert planned["phase"] == "Waiting", line
            assert line.startswith(f"start planned at {instant(cleaner_at)} on m1 (1): saves ")
            eventually(lambda: status().get("phase") in ("Placed", "Running"), within_seconds=120)
            assert datetime.fromisoformat(status()["decision"]["decidedAt"]) >= cleaner_at
