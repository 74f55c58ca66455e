"""The subresources that only pods have: binding to a node, and eviction.

Source: the API reference of Pod (`binding`, `eviction`).
"""

from scheduler.apiserver.base.errors import GroupResource, bad_request, conflict
from scheduler.apiserver.write.deletion import DeleteOptions, parse_grace_period
from scheduler.hub.schema.json_types import Json, JsonObject

_PODS = GroupResource("", "pods", "Pod")


def bind_pod(pod: JsonObject, binding: Json, now: str) -> JsonObject:
    """The pod, assigned to the node of a Binding.

    Raises:
        ApiError: 400, the Binding is invalid; 409, the pod is bound or being deleted.
    """
    target = binding.get("target") if isinstance(binding, dict) else None
    name = target.get("name") if isinstance(target, dict) else None
    if not name or not isinstance(name, str):
        raise bad_request("Binding is invalid: target.name: Required value")
    present = pod["spec"].get("nodeName")
    pod_name = pod["metadata"]["name"]
    if present:
        why = f"pod {pod_name} is already assigned to node {present!r}"
        raise conflict(_PODS, pod_name, why.replace("'", '"'))
    if pod["metadata"].get("deletionTimestamp"):
        raise conflict(_PODS, pod_name, f"pod {pod_name} is being deleted, cannot be assigned")
    status = pod.get("status") or {}
    others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    return {
        **pod,
        "spec": {**pod["spec"], "nodeName": name},
        "status": {**status, "conditions": [*others, scheduled]},
    }


def parse_eviction_options(eviction: Json) -> DeleteOptions:
    """The delete options of an Eviction."""
    options = eviction.get("deleteOptions") if isinstance(eviction, dict) else None
    grace = options.get("gracePeriodSeconds") if isinstance(options, dict) else None
    return DeleteOptions(grace_period_seconds=parse_grace_period(grace))
