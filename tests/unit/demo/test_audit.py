"""The demo's own check finds each kind of broken rule."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.demo.audit import AuditEvidence, find_violations

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Objects = dict[str, Any]


def sound_objects() -> Objects:
    """The objects of a site that runs one workload, with every rule kept."""
    return {
        "site": {
            "kind": "Site",
            "metadata": {"name": "gz-core"},
            "spec": {"location": {"province": "CN-GD"}},
        },
        "grant": {
            "kind": "SiteGrant",
            "metadata": {"name": "core"},
            "spec": {
                "sites": ["gz-core"],
                "dataClass": "important",
                "protectionLevel": 4,
                "networkZones": ["public-network"],
                "jurisdiction": "CN-GD",
                "dedicatedPool": True,
                "allowList": ["health/a"],
                "validFrom": "2026-01-01T00:00:00Z",
                "validUntil": "2027-01-01T00:00:00Z",
            },
        },
        "scheme": {
            "kind": "DataClassScheme",
            "metadata": {"name": "default"},
            "spec": {
                "classes": [
                    {
                        "name": "important",
                        "allowListOnly": True,
                        "sameProvince": True,
                        "jurisdictions": ["CN"],
                        "protectionLevel": 3,
                    }
                ]
            },
        },
        "tenant": {
            "kind": "Tenant",
            "metadata": {"name": "health"},
            "spec": {"namespaces": ["health"], "jurisdiction": "CN-GD"},
        },
        "workload": {
            "kind": "Workload",
            "metadata": {"name": "a", "namespace": "health"},
            "spec": {
                "dataClass": "important",
                "protectionLevel": 4,
                "networkZones": ["public-network"],
                "jurisdictions": ["CN"],
                "manifests": [{"kind": "Deployment", "metadata": {"name": "a"}}],
            },
            "status": {
                "phase": "Running",
                "placement": {"groups": [{"sites": ["gz-core"], "replicas": 2}]},
            },
        },
        "node": {
            "kind": "Node",
            "metadata": {"name": "n"},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}},
        },
        "pod": {
            "kind": "Pod",
            "metadata": {"name": "a-1", "namespace": "health"},
            "spec": {
                "nodeName": "n",
                "containers": [{"resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}],
            },
            "status": {"phase": "Running"},
        },
        "deployment": {
            "kind": "Deployment",
            "metadata": {
                "name": "a",
                "namespace": "health",
                "annotations": {"kapok.dev/order-id": "kapok/health/a/1"},
            },
            "spec": {"replicas": 2},
        },
    }


def found(changed: Objects) -> list[str]:
    hub = [changed[name] for name in ("site", "grant", "scheme", "tenant", "workload")]
    member = [changed[name] for name in ("node", "pod", "deployment") if name in changed]
    return find_violations(AuditEvidence(hub=hub, members={"gz-core": member}, now=NOW))


def setting(path: str, value: object) -> Callable[[Objects], None]:
    def change(changed: Objects) -> None:
        *way, last = path.split(".")
        place = changed
        for step in way:
            place = place[step]
        place[last] = value

    return change


BREAKS: dict[str, tuple[Callable[[Objects], None], str]] = {
    "the class is above the grant": (
        setting("grant.spec.dataClass", "general-3"),
        "class is lower",
    ),
    "no class at all": (setting("workload.spec.dataClass", None), "class is lower"),
    "the level is above the grant": (setting("grant.spec.protectionLevel", 3), "level is lower"),
    "no pool": (setting("grant.spec.dedicatedPool", value=False), "dedicated pool"),
    "a zone is missing": (setting("grant.spec.networkZones", []), "network zone"),
    "another law": (setting("grant.spec.jurisdiction", "HK"), "jurisdictions"),
    "not on the list": (setting("grant.spec.allowList", []), "not on the grant's allow list"),
    "out of the province": (setting("site.spec.location", {"province": "CN-SC"}), "province"),
    "the grant has ended": (setting("grant.spec.validUntil", "2026-02-01T00:00:00Z"), "not valid"),
    "no grant": (setting("grant.spec.sites", ["other"]), "no grant for this site"),
    "no site": (setting("site.metadata.name", "other"), "no such site exists"),
    "an overfull node": (setting("node.status.allocatable", {"cpu": "2", "memory": "8Gi"}), "cpu"),
    "too many replicas": (setting("deployment.spec.replicas", 5), "has 5 replicas instead of 2"),
    "not applied": (lambda w: w.pop("deployment"), "was not applied"),
    "not ordered": (setting("workload.status.placement", {"groups": []}), "not placed there"),
}


def test_a_sound_demo_has_no_violation() -> None:
    assert found(sound_objects()) == []


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_rule_is_found(name: str) -> None:
    change, phrase = BREAKS[name]
    changed = copy.deepcopy(sound_objects())
    change(changed)
    assert any(phrase in sentence for sentence in found(changed)), found(changed)


def test_pods_that_have_ended_use_no_capacity() -> None:
    changed = sound_objects()
    changed["node"]["status"]["allocatable"]["cpu"] = "2"
    changed["pod"]["status"]["phase"] = "Succeeded"
    assert found(changed) == []
