"""`PlacementDecision`: where a workload is placed, as other tools read it (KEP-5313).

The references are sorted and stand in slices of at most 100, so that an unchanged set of sites is
an unchanged object. A reader may end at a cluster what is not listed any more. Therefore a site
whose replicas are being replaced stays listed until they are gone: what runs ends only after its
replacement runs, at whatever tool.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from scheduler.control.ports.hub import NAMESPACE, WORKLOADS, Object
from scheduler.control.standards.names import (
    DECISION_INDEX_LABEL,
    DECISION_KEY_LABEL,
    PLACEMENT_DECISIONS,
    PLACEMENT_KEY_LABEL,
    as_label_value,
    labels_of,
    short_digest,
)
from scheduler.model.kinds.workload import Workload

MAX_DECISIONS: Final = 100
"""The references that one slice may have."""
_MAX_NAME_LENGTH = 253
_ROOM_FOR_INDEX = len("kapok-") + len("-") + 10 + len("-00000")


def chosen_sites(workload: Workload) -> tuple[str, ...]:
    """The sites of a workload in the order of their names; none of one that is being deleted.

    A share that only ends, with nothing that replaces it, is not chosen any more.
    """
    if workload.metadata.deletion_timestamp is not None:
        return ()
    chosen = {
        site
        for group in workload.status.placement.groups
        if group.replicas > 0 and (group.phase != "Withdrawing" or group.replaced_by)
        for site in group.sites
    }
    return tuple(sorted(chosen))


def placement_decisions(
    workload: Workload, sites: Sequence[str], *, scheduler_name: str
) -> list[Object]:
    """The slices of a workload's decision; none if it has no sites.

    Args:
        workload: it owns the slices, which the hub's garbage collector removes with it.
        sites: the sites to list, sorted; each has a ClusterProfile of its name.
        scheduler_name: names this scheduler.
    """
    return [
        _slice(workload, sites[start : start + MAX_DECISIONS], index, scheduler_name)
        for index, start in enumerate(range(0, len(sites), MAX_DECISIONS))
    ]


def slice_name(workload_name: str, index: int) -> str:
    """The name of a slice: `kapok-NAME-INDEX`; a long NAME is cut off and gets a digest."""
    base, longest = workload_name, _MAX_NAME_LENGTH - _ROOM_FOR_INDEX
    if len(base) > longest:
        base = f"{base[:longest].rstrip('-.')}-{short_digest(base)}"
    return f"kapok-{base}-{index}"


def decision_content(body: Object) -> Object:
    """What of a slice is compared: ours, or one that the hub has."""
    owners = body["metadata"].get("ownerReferences") or []
    return {
        "labels": labels_of(body),
        "owners": sorted(str(one.get("uid", "")) for one in owners),
        "decisions": body.get("decisions") or [],
        "schedulerName": body.get("schedulerName", ""),
    }


def owner_of(body: Object) -> tuple[str, str] | None:
    """The namespace and name of the workload that owns a slice; None: no workload does."""
    namespace = str(body["metadata"].get("namespace", ""))
    for one in body["metadata"].get("ownerReferences") or []:
        group = str(one.get("apiVersion", "")).partition("/")[0]
        if one.get("kind") == WORKLOADS.kind and group == WORKLOADS.group:
            return namespace, str(one.get("name", ""))
    return None


def _slice(workload: Workload, sites: Iterable[str], index: int, scheduler_name: str) -> Object:
    meta = workload.metadata
    key = as_label_value(meta.name)
    return {
        "apiVersion": PLACEMENT_DECISIONS.api_version,
        "kind": PLACEMENT_DECISIONS.kind,
        "metadata": {
            "name": slice_name(meta.name, index),
            "namespace": meta.namespace,
            "labels": {
                DECISION_KEY_LABEL: key,
                DECISION_INDEX_LABEL: str(index),
                PLACEMENT_KEY_LABEL: meta.labels.get(PLACEMENT_KEY_LABEL) or key,
            },
            "ownerReferences": [
                {
                    "apiVersion": WORKLOADS.api_version,
                    "kind": WORKLOADS.kind,
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "schedulerName": scheduler_name,
        "decisions": [
            {"clusterProfileRef": {"name": site, "namespace": NAMESPACE}} for site in sites
        ],
    }
