"""Standard objects at a hub that has their kinds, as kubectl shows them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hub.test_writes import WORKLOAD, writes
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.standard_kinds import cluster_profile_crd, placement_decision_crd
from tests.support.up import FAST_SETTINGS, Up, eventually, running_up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def items(up: Up, kind: str, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(up.kubectl("get", kind, *words, "-o", "json"))["items"]
    return found


def install(up: Up) -> None:
    up.apply(json.dumps(cluster_profile_crd()))
    up.apply(json.dumps(placement_decision_crd()))
    for crd in ("clusterprofiles", "placementdecisions"):
        name = f"crd/{crd}.multicluster.x-k8s.io"
        up.kubectl("wait", "--for=condition=Established", name, "--timeout=20s")


def test_kubectl_shows_profiles_and_decisions_that_follow_their_workload(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        install(up)
        up.stop()
        up.start()  # it finds the kinds at its start
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(site.manifest)
        with running_sites(site):
            up.apply(WORKLOAD)
            (decision,) = eventually(lambda: items(up, "placementdecisions", "-n", "default"))
            reference = decision["decisions"][0]["clusterProfileRef"]
            assert reference == {"name": "m1", "namespace": "kapok-system"}
            assert decision["schedulerName"] == "kapok"
            by_key = "multicluster.x-k8s.io/decision-key=portal"
            assert len(items(up, "placementdecisions", "-n", "default", "-l", by_key)) == 1
            # The reference resolves, and readers select by the manager.
            manager = "x-k8s.io/cluster-manager=kapok"
            (profile,) = items(up, "clusterprofiles", "-n", "kapok-system", "-l", manager)
            assert profile["metadata"]["name"] == reference["name"]
            healthy = 'jsonpath={.status.conditions[?(@.type=="ControlPlaneHealthy")].status}'
            words = ("get", "clusterprofiles", "m1", "-n", "kapok-system", "-o", healthy)
            eventually(lambda: up.kubectl(*words) == "True")
            # At most one write of a decision for a placed workload.
            assert writes(up)["placementdecisions"] == 1
            up.kubectl("delete", "workloads.kapok.dev", "portal", "-n", "default", "--wait=false")
            eventually(lambda: not items(up, "placementdecisions", "-n", "default"))
            up.kubectl("delete", "site", "m1")
            eventually(lambda: not items(up, "clusterprofiles", "-n", "kapok-system"))
        assert "standard" not in up.log
        assert "PlacementDecision" not in up.log


@pytest.mark.parametrize(
    ("switch", "profiles"), [("cluster_profiles", 0), ("placement_decisions", 1)]
)
def test_each_kind_can_be_switched_off(tmp_path: Path, switch: str, profiles: int) -> None:
    settings = f"{FAST_SETTINGS}standards: {{{switch}: false}}\n"
    with running_up(tmp_path, settings=settings) as up:
        install(up)
        up.stop()
        up.start()
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(site.manifest)
        with running_sites(site):
            up.apply(WORKLOAD)
            eventually(lambda: is_placed(up))
            eventually(lambda: len(items(up, "clusterprofiles", "-A")) == profiles)
            assert writes(up)["placementdecisions"] == 0


def is_placed(up: Up) -> bool:
    return bool(up.get("workloads.kapok.dev", "portal").get("status", {}).get("sites"))


def test_a_hub_without_the_kinds_is_not_written_to(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(site.manifest)
        with running_sites(site):
            up.apply(WORKLOAD)
            eventually(
                lambda: up.get("workloads.kapok.dev", "portal").get("status", {}).get("sites")
            )
        assert "multicluster" not in up.log
