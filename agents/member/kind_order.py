"""The order in which the objects of one order are applied, by their kinds. Pure."""

from collections.abc import Iterable
from typing import Any, Final

# Kinds that others refer to come first, so that pods do not fail for lack of them; what sends
# requests to pods, or scales them, comes after the pods. All other kinds come in between.
_APPLIED_FIRST: Final = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "ServiceAccount",
    "ClusterRole",
    "Role",
    "ClusterRoleBinding",
    "RoleBinding",
    "NetworkPolicy",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
_APPLIED_LAST: Final = (
    "HorizontalPodAutoscaler",
    "Ingress",
    "HTTPRoute",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
_APPLY_RANK: Final = {
    kind: rank
    for kinds, first in ((_APPLIED_FIRST, -len(_APPLIED_FIRST)), (_APPLIED_LAST, 1))
    for rank, kind in enumerate(kinds, first)
}
"""Kinds with a rank below 0 are applied before those without one, the others after them."""


def sort_for_apply(manifests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Objects in the order in which they are applied."""
    return sorted(manifests, key=lambda tree: _APPLY_RANK.get(str(tree.get("kind")), 0))
