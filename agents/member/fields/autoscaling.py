"""Which objects autoscalers scale: those of an order, and those of the cluster."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree, quote_path_segment
from agents.member.trees import map_at, text_at
from agents.protocol.orders import api_group_of

_CONTROLLER_MANAGER: Final = "kube-controller-manager"
"""The manager as which Kubernetes' own autoscaler sets replicas, if it is a program of its own."""

_APPS_PATH: Final = "/apis/apps/"
_AUTOSCALERS: Final = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
_SCALING_KINDS: Final = {
    ("autoscaling", "HorizontalPodAutoscaler"): "",
    ("keda.sh", "ScaledObject"): "Deployment",
}
"""The kinds that scale others, and the kind that they scale where they name none."""


def autoscaled_objects(
    manifests: Iterable[Mapping[str, Any]], namespace: str
) -> frozenset[tuple[str, str, str]]:
    """The objects that autoscalers of these manifests scale, as (kind, namespace, name).

    Args:
        manifests: the manifests of an order.
        namespace: of those that name none.
    """
    found: set[tuple[str, str, str]] = set()
    for each in manifests:
        default = _SCALING_KINDS.get(
            (api_group_of(text_at(each, "apiVersion")), text_at(each, "kind"))
        )
        if default is None:
            continue
        target = map_at(each, "spec", "scaleTargetRef")
        where = text_at(map_at(each, "metadata"), "namespace") or namespace
        found.add((text_at(target, "kind") or default, where, text_at(target, "name")))
    return frozenset(found)


def is_controller_manager(api: MemberApi, path: str, manager: str) -> bool:
    """Whether a field manager is the cluster's controller manager, with its autoscaler.

    A server names managers by their programs, and some distributions, such as k3s, are one program.
    So what writes the status of an object of group apps is the controller manager too.

    Args:
        api: API of the member.
        path: path of the object that it has changed.
        manager: name of the field manager.

    Raises:
        MemberApiError: the object cannot be read.
    """
    if manager == _CONTROLLER_MANAGER:
        return True
    if not path.startswith(_APPS_PATH):
        return False
    fields = map_at(api.find(path) or {}, "metadata").get("managedFields")
    return any(
        (text_at(each, "manager"), text_at(each, "subresource")) == (manager, "status")
        for each in (fields if isinstance(fields, list) else ())
        if isinstance(each, dict)
    )


def has_autoscaler(api: MemberApi, tree: Tree) -> bool:
    """Whether a HorizontalPodAutoscaler names the object; the owner of a field may long be gone.

    What cannot be read counts as one, because two that scale one object never agree.
    """
    metadata = map_at(tree, "metadata")
    wanted = (text_at(tree, "kind"), text_at(metadata, "name"))
    path = _AUTOSCALERS.format(quote_path_segment(text_at(metadata, "namespace")))
    try:
        targets = api.list_mapped(path, None, lambda each: map_at(each, "spec", "scaleTargetRef"))
    except MemberApiError:
        return True
    return any((text_at(each, "kind"), text_at(each, "name")) == wanted for each in targets)
