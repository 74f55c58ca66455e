"""The names that the kinds of SIG Multicluster prescribe, and how ours fit into them.

They are those of kubernetes-sigs/cluster-inventory-api v1alpha1 (KEP-4322, KEP-5313).
"""

import re
from typing import Final

from scheduler.control.ports.hub import ApiResource, Object
from scheduler.model.canonical import canonical_json, digest_of_bytes

_GROUP, _VERSION = "multicluster.x-k8s.io", "v1alpha1"
CLUSTER_PROFILES: Final = ApiResource(
    _GROUP, _VERSION, "clusterprofiles", "ClusterProfile", namespaced=True
)
PLACEMENT_DECISIONS: Final = ApiResource(
    _GROUP, _VERSION, "placementdecisions", "PlacementDecision", namespaced=True
)
STANDARD_RESOURCES: Final = (CLUSTER_PROFILES, PLACEMENT_DECISIONS)

CLUSTER_MANAGER_LABEL: Final = "x-k8s.io/cluster-manager"
"""On a ClusterProfile: its value must be the name of its cluster manager (KEP-4322)."""
DECISION_KEY_LABEL: Final = "multicluster.x-k8s.io/decision-key"
"""On a PlacementDecision: equal on all slices of one decision (KEP-5313)."""
DECISION_INDEX_LABEL: Final = "multicluster.x-k8s.io/decision-index"
"""On a PlacementDecision: the position of the slice, from 0."""
PLACEMENT_KEY_LABEL: Final = "multicluster.x-k8s.io/placement-key"
"""On a workload and on its decisions: how a reader finds one from the other."""

FIELD_MANAGER: Final = "kapok-standards"

_MAX_LABEL_LENGTH, _DIGEST_LENGTH = 63, 10
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def as_label_value(text: str) -> str:
    """The text as the value of a label; what is too long or has other characters gets a digest."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    kept = _MAX_LABEL_LENGTH - _DIGEST_LENGTH - 1
    start = re.sub(r"[^A-Za-z0-9._-]", "-", text)[:kept].strip("._-")
    return f"{start}-{short_digest(text)}" if start else f"kapok-{short_digest(text)}"


def short_digest(text: str) -> str:
    """Ten hex digits by which long names that are cut off stay different."""
    return digest_of_bytes(text.encode()).removeprefix("sha256:")[:_DIGEST_LENGTH]


def fingerprint(content: object) -> int:
    """64 bits that differ when the content does: what stands is compared by them, and not kept."""
    digest = digest_of_bytes(canonical_json(content)).removeprefix("sha256:")
    return int(digest[:16], 16)


def labels_of(body: Object) -> dict[str, str]:
    """The labels of an object of the hub."""
    return body["metadata"].get("labels") or {}
