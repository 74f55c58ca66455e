"""Running replicas stay, end or move: `kapok up`, real kubectl, sites at the level of the wire."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_site import ScriptedSite, replicas_of, running_sites
from tests.support.up import Up, becomes, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: default}
spec:
  dataClass: CLASS
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 6
  placement: PLACEMENT
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
SCHEME = """
apiVersion: kapok.dev/v1alpha1
kind: DataClassScheme
metadata: {name: default}
spec:
  classes:
  - {name: general-1, onViolation: Report}
  - {name: general-2, onViolation: Move}
  - {name: general-3, onViolation: Stop}
---
"""


def workload(name: str, *, cls: str = "general-2", placement: str = "{}") -> str:
    return WORKLOAD.replace("NAME", name).replace("CLASS", cls).replace("PLACEMENT", placement)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def sites(up: Up) -> tuple[ScriptedSite, ScriptedSite]:
    """m1 is cheap, m2 is expensive."""
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest.replace("energyCnyPerKwh: 0.6", "energyCnyPerKwh: 9"))
    return one, two


def killed_and_back(up: Up, site: ScriptedSite) -> None:
    """SIGKILL, and a new process that has spoken to a site."""
    up.kill()
    site.listed.clear()
    up.start()
    eventually(lambda: site.listed)


def both_report(up: Up) -> None:
    """So that the cheap one is chosen, and not the one that speaks first."""
    eventually(lambda: up.kubectl("get", "sites").count("True") == 2)


def status(up: Up, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = up.get("workloads.kapok.dev", name).get("status") or {}
    return found


def phase(up: Up, name: str = "web") -> str:
    return str(status(up, name).get("phase", ""))


def condition(of: dict[str, Any], kind: str) -> dict[str, str]:
    return next((one for one in of.get("conditions", []) if one["type"] == kind), {})


def conditions(up: Up, name: str) -> set[str]:
    return {one["type"] for one in status(up, name)["conditions"]}


def groups(of: dict[str, Any]) -> dict[tuple[str, str], int]:
    """(site, phase) → replicas."""
    return {
        (site, one["phase"]): one["replicas"]
        for one in of.get("placement", {}).get("groups", [])
        for site in one["sites"]
    }


def ordered(site: ScriptedSite, name: str = "web") -> int:
    """Replicas of a workload that a site has orders to run."""
    return sum(replicas_of(one) for one in site.contents.values() if f"/{name}/" in one.id)


def patch(up: Up, kind: str, name: str, spec: dict[str, Any]) -> None:
    up.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def taint(key: str, effect: str, **more: str) -> dict[str, Any]:
    return {"key": key, "effect": effect, **more}


def in_seconds(seconds: float) -> str:
    now = datetime.now(UTC)  # noqa: TID251 - a real process reads the same clock
    return (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_only_noexecute_ends_running_replicas_at_once_or_after_the_tolerated_seconds(
    up: Up,
) -> None:
    one, two = sites(up)
    for_ever = "{siteTolerations: [{operator: Exists}]}"
    for_a_time = "{siteTolerations: [{key: repair, operator: Exists, tolerationSeconds: 2}]}"
    with running_sites(one, two):
        both_report(up)
        up.apply(workload("web", placement=for_a_time) + workload("tolerant", placement=for_ever))
        eventually(lambda: (phase(up), phase(up, "tolerant")) == ("Running", "Running"))
        patch(up, "site", "m1", {"taints": [taint("full", "NoSchedule")], "cordon": True})
        patch(up, "site", "m2", {"prices": {"energyCnyPerKwh": 0.01, "coreCnyPerHour": 0}})
        up.apply(workload("second"))
        eventually(lambda: ordered(two, "second") == 6)
        assert (ordered(one), ordered(one, "tolerant")) == (6, 6)

        added_at = in_seconds(0)
        repair = taint("repair", "NoExecute", timeAdded=added_at)
        patch(up, "site", "m1", {"taints": [repair], "cordon": False})
        # All of it runs again.
        becomes(
            lambda: (groups(status(up)), condition(status(up), "Evicted")),
            ({("m2", "Running"): 6}, {}),
        )
        decision = status(up)["decision"]
        assert decision["line"] == "placed on m2 (6); ended at m1 (taint)"
        tolerated = datetime.fromisoformat(decision["decidedAt"]) - datetime.fromisoformat(added_at)
        assert tolerated >= timedelta(seconds=2), "it was tolerated so long"
        eventually(lambda: (ordered(one), ordered(two)) == (0, 6))

        for name in ("m1", "m2"):
            patch(up, "site", name, {"taints": [taint("fire", "NoExecute")]})
        eventually(lambda: phase(up) == "Refused")
        found = status(up)
        assert "2 taint" in found["reason"]
        assert condition(found, "Evicted")["message"] == "ended at m2 (taint)"
        assert sum(groups(found).values()) == 0, "nothing stays, at once"
        # The order for none is Placing until the site has confirmed it, like every other order.
        becomes(
            lambda: (
                groups(found := status(up)),
                found.get("ready", 0),
                condition(found, "Available").get("status"),
            ),
            ({("m2", "Running"): 0}, 0, "False"),
        )
        eventually(lambda: ordered(two) == 0)
        assert ordered(one, "tolerant") == 6, "replicas that tolerate every taint for ever stay"


def test_a_right_that_ends_is_reported_moved_or_stopped_as_the_authority_says(up: Up) -> None:
    one, two = sites(up)
    names = {
        "reported": "general-1",
        "moved": "general-2",
        "ended": "general-3",
        "edited": "general-3",
    }
    with running_sites(one, two):
        both_report(up)
        up.apply(SCHEME + "".join(workload(name, cls=cls) for name, cls in names.items()))
        eventually(lambda: {phase(up, name) for name in names} == {"Running"})
        assert [ordered(one, name) for name in names] == [6, 6, 6, 6]
        unknown = workload("edited", cls="general-3").replace(
            "placement: {}", "policyRef: {name: missing}"
        )
        up.apply(unknown)
        eventually(lambda: condition(status(up, "edited"), "Accepted").get("status") == "False")
        assert ordered(one, "edited") == 6
        two.is_ready = False
        patch(up, "sitegrant", "m1-grant", {"validUntil": in_seconds(2)})
        eventually(lambda: ordered(two, "ended") == 6 and ordered(one, "ended") == 0)
        assert "ended at m1 (grant-expired)" in status(up, "ended")["decision"]["line"]

        # An edit that is not accepted does not keep replicas running.
        eventually(lambda: ordered(one, "edited") == 0)
        eventually(lambda: phase(up, "edited") == "Refused")

        violation = eventually(lambda: condition(status(up, "reported"), "Violation"))
        assert (violation["status"], violation["reason"]) == ("True", "GrantExpired")
        assert "m1 (grant-expired)" in violation["message"]
        assert groups(status(up, "reported")) == {("m1", "Running"): 6}

        moving = eventually(lambda: both_hold_it(up, "moved"))
        assert condition(moving, "Violation")["reason"] == "GrantExpired"
        assert condition(moving, "Moving")["message"] == (
            "waiting for m2 (6) to run before withdrawing m1 (6)"
        )
        assert (moving["replicas"], moving["ready"], moving["phase"]) == (6, 6, "Placed")
        assert condition(moving, "Available")["status"] == "True"
        becomes(lambda: violations_in_events(up), {"Report", "Move", "Stop"})

        killed_and_back(up, one)
        assert (ordered(one, "moved"), ordered(one, "reported")) == (6, 6)
        eventually(lambda: both_hold_it(up, "moved"))

        two.is_ready = True
        eventually(lambda: groups(status(up, "moved")) == {("m2", "Running"): 6})
        eventually(lambda: ordered(one, "moved") == 0)
        assert all(any("/moved/" in i for i in ids) for ids in one.listed[:1])
        # The site that was left confirms it in its next status; until then the move is not over.
        eventually(lambda: {"Violation", "Moving"}.isdisjoint(conditions(up, "moved")))

        patch(up, "sitegrant", "m1-grant", {"validUntil": None})
        eventually(lambda: "Violation" not in conditions(up, "reported"))
        assert ordered(one, "reported") == 6


def violations_in_events(up: Up) -> set[str]:
    """What was done about violations, as the events say."""
    text = up.kubectl("get", "events")
    return {one for one in ("Report", "Move", "Stop") if f"onViolation {one}" in text}


def both_hold_it(up: Up, name: str) -> dict[str, Any]:
    """The status while the old replicas run and the new ones are placed; {} at any other time."""
    found = status(up, name)
    return found if groups(found) == {("m1", "Withdrawing"): 6, ("m2", "Placing"): 6} else {}


def test_a_share_shrinks_only_after_the_rest_runs_elsewhere(up: Up) -> None:
    one, two = sites(up)
    weighted = "{strategy: Weighted, mode: Fresh, weights: [{site: m1, weight: 1}WEIGHTS]}"
    with running_sites(one, two):
        both_report(up)
        up.apply(workload("web", placement=weighted.replace("WEIGHTS", "")))
        eventually(lambda: phase(up) == "Running")
        two.is_ready = False
        half = weighted.replace("WEIGHTS", ", {site: m2, weight: 1}")
        up.apply(workload("web", placement=half))
        eventually(lambda: ordered(two) == 3)
        # The replicas that m1 keeps run already: their order, the sum with the leaving ones, has
        # the size that it had before.
        shares = {("m1", "Running"): 3, ("m1", "Withdrawing"): 3, ("m2", "Placing"): 3}
        becomes(
            lambda: (groups(found := status(up)), found["sites"], found["replicas"]),
            (shares, "m1 (3), m2 (3), m1 (3 leaving)", 6),
        )
        assert ordered(one) == 6
        killed_and_back(up, one)
        assert ordered(one) == 6
        two.is_ready = True
        eventually(lambda: ordered(one) == 3)
        becomes(
            lambda: (groups(found := status(up)), found["phase"]),
            ({("m1", "Running"): 3, ("m2", "Running"): 3}, "Running"),
        )
        # A change of a Site does not start over: nothing moves, even with Fresh.
        patch(up, "site", "m1", {"prices": {"energyCnyPerKwh": 8, "coreCnyPerHour": 1}})
        up.apply(workload("web", placement=half).replace("replicas: 6", "replicas: 5"))
        eventually(lambda: ordered(one) + ordered(two) == 5)
