"""A rollout with `kapok up`: a bad site stops it, also over a kill, and undo takes it back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import ROOT, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

APP = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: portal}
spec:
  dataClass: general-1
  placement: {strategy: Duplicated}
  rollout:
    groups: [{name: canary, siteSelector: {matchLabels: {kapok.dev/site: m1}}}]
    progressDeadlineSeconds: 8
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: portal}
    spec:
      replicas: 1
      selector: {matchLabels: {app: portal}}
      template:
        metadata: {labels: {app: portal}}
        spec:
          containers:
          - name: portal
            image: registry.local/portal:VERSION
            resources: {requests: {cpu: 500m, memory: 64Mi}}
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def image_at(site: ScriptedSite) -> str:
    """The version that the newest content of a site names; "" before the first."""
    newest = max(site.contents.values(), key=lambda one: one.generation, default=None)
    if newest is None:
        return ""
    manifest: Any = newest.manifests[0]
    image: str = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def rollout(up: Up, action: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of `kapok rollout`."""
    words = [sys.executable, "-m", "scheduler.cli.entry", "rollout", action, "portal"]
    words += ["-o", "json", "--data-dir", str(up.data_dir)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def phase(up: Up) -> str:
    known: dict[str, Any] = up.get("kw", "portal").get("status", {}).get("rollout", {})
    return str(known.get("phase", ""))


def test_a_site_that_stays_unready_stops_it_over_a_kill_and_undo_takes_it_back(up: Up) -> None:
    sites = [
        ScriptedSite(name, up.ready["broker"], up.ready["hubKey"]) for name in ("m1", "m2", "m3")
    ]
    canary, *others = sites
    for one in sites:
        up.apply(one.manifest)
    with running_sites(*sites):
        eventually(lambda: all(one.index for one in sites))
        up.apply(APP.replace("VERSION", "v1"))
        eventually(lambda: up.get("kw", "portal").get("status", {}).get("phase") == "Running")
        assert {image_at(one) for one in sites} == {"v1"}
        code, answer = rollout(up, "undo")
        assert (code, answer["problem"]) == (1, "nothing is rolled out")

        canary.is_ready = False
        up.apply(APP.replace("VERSION", "v2"))
        eventually(lambda: image_at(canary) == "v2")
        up.kill()
        up.start()
        eventually(lambda: phase(up) == "Paused", within_seconds=120)
        assert {image_at(one) for one in others} == {"v1"}
        code, answer = rollout(up, "status")
        assert (code, answer["phase"], answer["former"]) == (1, "Paused", ["m2", "m3"])
        assert answer["because"] == "canary was not ready after 8 s: not ready at m1"
        groups = [(one["name"], one["sites"], one["updated"]) for one in answer["groups"]]
        assert groups == [("canary", ["m1"], 1), ("the rest", ["m2", "m3"], 0)]
        explained = kapok(up, "explain", "default/portal")
        assert explained["rollout"]["group"] == "canary"
        assert "rollout paused at canary (1 of 2)" in explained["line"]

        code, answer = rollout(up, "undo")
        assert (code, answer["phase"], answer["updatedSites"]) == (0, "RolledBack", 0)
        eventually(lambda: {image_at(one) for one in sites} == {"v1"})

        canary.is_ready = True
        code, answer = rollout(up, "resume")
        assert code == 0
        eventually(lambda: phase(up) == "Complete", within_seconds=120)
        eventually(lambda: {image_at(one) for one in sites} == {"v2"})
        records = kapok(up, "ledger", "list", "--workload", "default/portal")["records"]
        for word in ("rollout paused", "rolled back"):  # others differ in their group alone
            each = next(one for one in records if word in one["line"])
            assert kapok(up, "replay", each["id"])["same"] is True, each
