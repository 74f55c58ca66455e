"""What the page shows of one workload: where it runs, what it asks, its state and its manifests."""

from collections.abc import Mapping
from typing import Any, Final

from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.model.manifests.recorded import recorded_manifests
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import workload_row

MAX_SITES: Final = 1000
MAX_MANIFEST_BYTES: Final = 512 * 1024
"""Manifests beyond it are named by kind and name only."""

_SPEC_FIELDS: Final = (
    "dataClass",
    "protectionLevel",
    "networkZones",
    "jurisdictions",
    "imagePlatforms",
    "priority",
    "replicas",
    "demand",
    "policyRef",
    "placement",
    "schedule",
    "failover",
    "onWithdraw",
    "updateStrategy",
    "onDrift",
    "paused",
)


def workload_detail(
    snapshot: StateSnapshot, workload: Workload, tenant: str, reasons: Mapping[str, int]
) -> dict[str, Any]:
    """One workload; its Secrets never have data here.

    Args:
        snapshot: the state, for what its sites are like now.
        workload: the workload.
        tenant: the tenant of its namespace; "": none.
        reasons: of an unplaced one, the number of sites by first reason.
    """
    status, meta = workload.status, workload.metadata
    row = workload_row(workload, reasons)
    sites = row.pop("sites")
    places = _places_of(snapshot)
    return row | {
        "uid": meta.uid,
        "tenant": tenant,
        "generation": meta.generation,
        "observedGeneration": status.observed_generation,
        "labels": dict(meta.labels),
        "sites": [one | places.get(one["name"], {}) for one in sites[:MAX_SITES]],
        "sitesLeftOut": max(0, len(sites) - MAX_SITES),
        "leaving": _leaving(workload),
        "remains": to_plain_json(status.remains),
        "endpoints": to_plain_json(status.endpoints),
        "endpointsLeftOut": status.endpoints_left_out,
        "plan": to_plain_json(status.plan) if status.plan else None,
        "conditions": to_plain_json(status.conditions),
        "spec": _asked(workload.spec),
        **_manifests(workload.spec),
        "now": snapshot.at,
    }


def _places_of(snapshot: StateSnapshot) -> dict[str, dict[str, Any]]:
    """Health, province and city of each site."""
    return {
        facts.name: {
            "health": health,
            "province": facts.spec.location.province,
            "city": facts.spec.location.city,
        }
        for facts, health in zip(snapshot.facts, snapshot.healths, strict=True)
    }


def _leaving(workload: Workload) -> list[dict[str, Any]]:
    """The sites that it is about to leave, and what replaces them."""
    return [
        {"name": site, "replicas": group.replicas, "replacedBy": list(group.replaced_by)}
        for group in workload.status.placement.groups
        if group.phase == "Withdrawing"
        for site in group.sites
    ][:MAX_SITES]


def _asked(spec: WorkloadSpec) -> dict[str, Any]:
    """What the spec asks, without the manifests and what only sites apply."""
    plain: dict[str, Any] = to_plain_json(spec)
    return {name: plain[name] for name in _SPEC_FIELDS if name in plain}


def _manifests(spec: WorkloadSpec) -> dict[str, Any]:
    """The manifests as they are recorded; the last ones of many bytes by kind and name."""
    shown, room = list[Any](), MAX_MANIFEST_BYTES
    recorded = recorded_manifests(spec.manifests)
    for manifest in recorded:
        size = len(str(manifest))
        if size > room:
            break
        shown.append(manifest)
        room -= size
    return {
        "manifests": shown,
        "manifestsLeftOut": [_named(one) for one in recorded[len(shown) :]],
    }


def _named(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{manifest.get('kind')} {name}"
