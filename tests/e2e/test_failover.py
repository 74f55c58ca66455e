"""A site is lost and comes back: `kapok up`, its hub and broker, sites at the level of the wire."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.protocol.status import NotReadyPods
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, FAST_SETTINGS, Up, becomes, eventually, kapok, running_up

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


def workload(name: str, failover: str = "{}") -> str:
    return WORKLOAD.replace("NAME", name).replace("FAILOVER", failover)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path, settings=SETTINGS) as running:
        yield running


def status(up: Up, name: str) -> dict[str, Any]:
    found: dict[str, Any] = up.get("kw", name).get("status", {})
    return found


def held(up: Up, name: str) -> tuple[str, str]:
    """Status and reason of the condition Failover; empty: it has none."""
    found = [c for c in status(up, name).get("conditions", []) if c["type"] == "Failover"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def where(up: Up, name: str) -> set[str]:
    groups = status(up, name).get("placement", {}).get("groups", [])
    return {site for one in groups if one["phase"] != "Withdrawing" for site in one["sites"]}


def all_at(up: Up, site: str, *names: str) -> bool:
    found = [status(up, name) for name in names]
    return all(
        where(up, name) == {site} and one.get("phase") == "Running"
        for name, one in zip(names, found, strict=True)
    )


def orders(site: ScriptedSite) -> set[str]:
    return {one.split("/")[2] for one in site.listed[-1]} if site.listed else set()


def failover(up: Up, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the answer of `kapok failover default/db`."""
    command = [str(BIN / "kapok"), "failover", "default/db", *words, "-o", "json"]
    done = subprocess.run(
        [*command, "--data-dir", str(up.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_ran_at_a_lost_site_runs_elsewhere_and_is_withdrawn_when_it_is_back(up: Up) -> None:
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    with running_sites(two):
        with running_sites(one):
            eventually(lambda: one.index and two.index)
            up.apply(workload("app") + workload("db", "{mode: Manual}"))
            eventually(lambda: all_at(up, "m1", "app", "db"))
        eventually(lambda: all_at(up, "m2", "app"), within_seconds=60)
        moved = status(up, "app")
        assert "moved from m1: silent since" in moved["decision"]["line"]
        assert [each["site"] for each in moved["remains"]] == ["m1"]
        assert kapok(up, "replay", moved["decision"]["id"])["same"] is True
        past = kapok(up, "history", "default/app")["entries"]
        assert [each["event"] for each in past] == ["Placed", "FailedOver"]
        assert past[-1]["from"] == [{"name": "m1", "replicas": 2}]
        assert past[-1]["to"] == [{"name": "m2", "replicas": 2}]

        becomes(lambda: held(up, "db"), ("False", "Manual"))
        expected = [{"workload": "default/db", "from": "m1", "to": "m2", "replicas": 2}]
        assert failover(up, "--dry-run") == (0, {"moves": expected, "stuck": []})
        assert where(up, "db") == {"m1"}
        assert failover(up) == (0, {"moves": expected, "stuck": []})
        eventually(lambda: all_at(up, "m2", "db"))
        assert status(up, "db")["failover"]["answers"][0]["by"]

        code, refused = failover(up)
        assert code == 1
        assert "name the one to leave" in refused["stuck"][0]["reason"]

        one.listed.clear()
        with running_sites(one):
            eventually(lambda: one.listed)
            assert orders(one) == set(), "the first index after its return withdraws"
            eventually(lambda: not status(up, "app").get("remains"))
            assert where(up, "app") == {"m2"}


def test_replicas_without_a_node_run_elsewhere_and_a_crashing_image_stays(up: Up) -> None:
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    with running_sites(one, two):
        eventually(lambda: one.index and two.index)
        up.apply(workload("app", "{unreadyAfterSeconds: 3}"))
        eventually(lambda: all_at(up, "m1", "app"))
        one.not_ready = (NotReadyPods(reason="crash-loop", pods=1, seconds=600),)
        becomes(lambda: held(up, "app"), ("False", "NoSiteRunsIt"))
        assert where(up, "app") == {"m1"}
        one.not_ready = (NotReadyPods(reason="pending-unschedulable", pods=1, seconds=600),)
        eventually(lambda: where(up, "app") == {"m1", "m2"}, within_seconds=60)
        moved = status(up, "app")
        assert "moved from m1: 1 of 2 replicas not ready for" in moved["decision"]["line"]
        assert kapok(up, "replay", moved["decision"]["id"])["same"] is True
        past = kapok(up, "history", "default/app")["entries"]
        assert [each["event"] for each in past] == ["Placed", "FailedOver"]
        # Only the replica that has no node moves: the other one is ready where it is.
        assert past[-1]["from"] == [{"name": "m1", "replicas": 1}]
        assert past[-1]["to"] == [{"name": "m2", "replicas": 1}]
        assert past[-1]["sites"] == [{"name": "m1", "replicas": 1}, {"name": "m2", "replicas": 1}]
        one.not_ready = ()
        eventually(lambda: status(up, "app").get("phase") == "Running")
        assert [each["to"] for each in status(up, "app")["failover"]["unready"]] == [["m2"]]
