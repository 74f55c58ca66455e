"""Autoscalers in a workload: what changes the number of its pods at a site, and up to which number.

Such a number is the site's own: the order leaves it alone, and it counts against the quota as far
as the autoscaler may raise it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scheduler.model.manifests.checks import title_of
from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.manifests import scalable_index
from scheduler.model.manifests.templates import group_kind

_MAX_FIELDS = {
    ("autoscaling", "HorizontalPodAutoscaler"): ("maxReplicas", 1),
    ("keda.sh", "ScaledObject"): ("maxReplicaCount", 100),
}
"""The field of the greatest number, and what it is when it is left out."""
_DEFAULT_TARGET_KIND = {"keda.sh": ("Deployment", "apps/v1")}
"""What an autoscaler refers to when it names no kind."""


class OwnAutoscaler(NamedTuple):
    """What scales the pods of a workload at its site.

    Attributes:
        title: the manifest, as `KIND NAME`.
        max_replicas: the greatest number; None: it is not known.
    """

    title: str
    max_replicas: int | None


def autoscaler_of(manifests: Sequence[Mapping[str, Any]]) -> OwnAutoscaler | None:
    """What scales the manifest that `replicas` scales, by its `scaleTargetRef`; None: nothing."""
    index = scalable_index(manifests)
    if index is None:
        return None
    for each in manifests:
        spec = mapping_or_empty(each.get("spec"))
        group, kind = group_kind(each)
        reference = spec.get("scaleTargetRef")
        if not isinstance(reference, Mapping) or not _refers(reference, group, manifests[index]):
            continue
        field, default = _MAX_FIELDS.get((group, kind), ("", None))
        most = spec.get(field, default)
        is_number = isinstance(most, int) and not isinstance(most, bool)
        return OwnAutoscaler(title_of(each), most if is_number else None)
    return None


def _refers(reference: Mapping[str, Any], group: str, target: Mapping[str, Any]) -> bool:
    kind, version = _DEFAULT_TARGET_KIND.get(group, ("", None))
    name = mapping_or_empty(target.get("metadata")).get("name")
    target_group, target_kind = group_kind(target)
    if (reference.get("kind") or kind, reference.get("name")) != (target_kind, name):
        return False
    written = reference.get("apiVersion") or version
    return written is None or str(written).rpartition("/")[0] == target_group
