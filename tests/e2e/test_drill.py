"""`kapok drill` as operators type it: `kapok up`, its hub and broker, sites of the wire."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import FAST_SETTINGS, ROOT, Up, becomes, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SETTINGS = FAST_SETTINGS + "failover: {after_seconds: 5.0}\n"
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 2
  failover: FAILOVER
  recovery: {rtoSeconds: RTO, rpoSeconds: 0}
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


def workload(name: str, failover: str = "{}", rto: int = 600) -> str:
    text = WORKLOAD.replace("NAME", name).replace("FAILOVER", failover)
    return text.replace("RTO", str(rto))


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def sites(up: Up) -> Iterator[tuple[ScriptedSite, ScriptedSite]]:
    """The site m1, where work goes at first, and the dearer m2."""
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    with running_sites(one, two):
        eventually(lambda: one.index and two.index)
        yield one, two


def where(up: Up, name: str) -> set[str]:
    groups = up.get("kw", name).get("status", {}).get("placement", {}).get("groups", [])
    return {site for one in groups if one["phase"] != "Withdrawing" for site in one["sites"]}


def runs(up: Up, name: str, site: str) -> bool:
    phase = up.get("kw", name).get("status", {}).get("phase")
    return where(up, name) == {site} and phase == "Running"


def condition(up: Up, site: str) -> str:
    """The message of the condition Drill of a Site; empty: it has none."""
    found = up.get("site", site).get("status", {}).get("conditions", [])
    return next((one["message"] for one in found if one["type"] == "Drill"), "")


def orders(site: ScriptedSite) -> set[str]:
    return {one.split("/")[2] for one in site.listed[-1]} if site.listed else set()


def command(up: Up, *words: str) -> list[str]:
    start = [sys.executable, "-m", "scheduler.cli.entry", "drill", *words]
    return [*start, "--data-dir", str(up.data_dir), "-o", "json"]


def drill(up: Up, *words: str) -> tuple[int, str]:
    """The exit code of a drill command, and what it says on stderr."""
    done = subprocess.run(
        command(up, *words), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stderr


def begin(up: Up, *words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        command(up, "lose", *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: condition(up, words[0]))
    return process


def ready_in(up: Up) -> dict[str, Any]:
    """The drill that runs, once some work of it is ready elsewhere; empty before."""
    running = kapok(up, "drill", "show", code=None)
    is_ready = any(one.get("readySeconds") is not None for one in running.get("work", ()))
    return running if is_ready else {}


def over(report: dict[str, Any]) -> dict[str, Any]:
    """A report, once its drill is over; empty before."""
    return report if report.get("endedAt") else {}


def report_of(process: "subprocess.Popen[str]", code: int) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    found: dict[str, Any] = json.loads(out)
    return found


def what_is_expected_of_m1(up: Up) -> None:
    expected = kapok(up, "drill", "lose", "m1", "--for", "20s", "--dry-run", code=None)
    assert [each["workload"] for each in expected["moves"]] == ["default/app"]
    assert expected["moves"][0]["to"] == ["m2"]
    assert [each["workload"] for each in expected["stuck"]] == ["default/db"]
    assert expected["moves"][0]["orderSeconds"] == 5.0
    assert condition(up, "m1") == ""


def test_a_drill_from_the_question_to_the_record_and_one_that_ctrl_c_ends(
    up: Up, sites: tuple[ScriptedSite, ScriptedSite]
) -> None:
    one, _ = sites
    up.apply(workload("app") + workload("db", "{mode: Manual}"))
    eventually(lambda: runs(up, "app", "m1") and runs(up, "db", "m1"))

    code, said = drill(up, "lose", "m11")
    assert (code, "UnknownSite: there is no Site 'm11'; did you mean m1" in said) == (2, True), said
    what_is_expected_of_m1(up)
    process = begin(up, "m1", "--for", "5m", "--why", "the yearly one")
    assert "the yearly one; until" in condition(up, "m1")
    code, said = drill(up, "lose", "m2", "--for", "20s")
    assert (code, "DrillRuns: a drill of m1" in said) == (1, True), said
    eventually(lambda: runs(up, "app", "m2"))
    assert orders(one) == {"app", "db"}, "the site that is treated as lost runs on"
    measured = eventually(lambda: ready_in(up))
    assert measured["site"] == "m1"
    assert drill(up, "end")[0] == 1, "one workload stays"
    report = report_of(process, 1)
    assert report["endedBy"] == "operator"
    (move,) = report["moves"]
    assert (move["workload"], move["to"], move["rto"]) == ("default/app", ["m2"], "met")
    assert report["detectionSeconds"] <= move["orderSeconds"] <= move["readySeconds"]
    assert move["readySeconds"] <= report["seconds"]
    (stuck,) = report["stuck"]
    assert (stuck["workload"], stuck["rto"]) == ("default/db", "unknown")
    assert stuck["reason"].startswith("spec.failover.mode is Manual")

    assert kapok(up, "drill", "show", code=None) == report
    assert kapok(up, "drill", "show", report["id"], code=None)["line"] == report["line"]
    listed = kapok(up, "ledger", "list", "--subject", "drills")["records"]
    assert [each["kind"] for each in listed] == ["drill", "drill"]
    assert listed[-1]["line"] == report["line"]
    assert kapok(up, "ledger", "verify")["ok"] is True
    becomes(lambda: orders(one), {"db"})
    assert condition(up, "m1") == ""

    process = begin(up, "m2", "--for", "5m")
    process.send_signal(signal.SIGINT)
    report = report_of(process, 130)
    assert (report["site"], report["endedBy"]) == ("m2", "operator")
    becomes(lambda: condition(up, "m2"), "")


@pytest.mark.soak
def test_a_drill_ends_by_itself_after_a_kill_of_command_and_scheduler(
    up: Up, sites: tuple[ScriptedSite, ScriptedSite]
) -> None:
    del sites
    up.apply(workload("app"))
    eventually(lambda: runs(up, "app", "m1"))
    process = begin(up, "m1", "--for", "30s")
    process.kill()
    process.communicate()
    eventually(lambda: runs(up, "app", "m2"))
    up.kill()
    up.start()
    report = eventually(lambda: over(kapok(up, "drill", "show", code=None)))
    assert (report["endedBy"], report["site"]) == ("time", "m1")
    becomes(lambda: condition(up, "m1"), "")
    assert [each["workload"] for each in report["moves"]] == ["default/app"]
    phases = kapok(up, "ledger", "list", "--subject", "drills")["records"]
    assert len(phases) == 2, "neither beginning nor report is recorded twice"
    eventually(lambda: runs(up, "app", "m2"))
