"""The label and the annotation that mark objects and pods of an order. Pure.

The label selects the pods to count and the objects to prune. The annotation holds the whole order
id, so that an agent that has lost its disk recognises its objects. Nothing else is set.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.member.api import Tree
from agents.member.trees import map_at, objects_at, text_at
from agents.orders.journal import ObjectKey
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL, OrderContent
from agents.protocol.topics import is_order_id, order_token

SYSTEM_NAMESPACE: Final = "kapok-system"
"""Namespace of the agent's own objects: the site's lease and the records of started jobs."""

# Written by the server only, or facts of the cluster that the manifest was exported from: its uids
# mean nothing here, an owner has an object deleted, and no controller here ends a finalizer.
_FIELDS_OF_ANOTHER_CLUSTER: Final = (
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
)
_KINDS_WITH_POD_TEMPLATE: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"}
)
_KINDS_WITHOUT_PODS: Final = frozenset(
    {"ControllerRevision", "CustomResourceDefinition", "PodTemplate"}
)
"""Kinds that hold pod templates, or descriptions of them, and make no pods."""


def with_ownership_labels(
    content: OrderContent,
    manifest: Mapping[str, Any],
    *,
    is_namespaced: bool,
    labels_claims: bool = True,
) -> Tree:
    """Returns a manifest as it is applied: labelled, with its namespace and replicas.

    Args:
        content: the order.
        manifest: one of its manifests.
        is_namespaced: whether its kind is.
        labels_claims: marks the claims that a StatefulSet makes too. Their templates cannot be
            changed, so an existing StatefulSet keeps those that it has.
    """
    tree: Tree = copy.deepcopy(dict(manifest))
    tree.pop("status", None)
    metadata = tree.setdefault("metadata", {})
    _strip(metadata)
    if is_namespaced:
        metadata.setdefault("namespace", content.namespace)
    else:
        metadata.pop("namespace", None)
    for each in _template_metadata(tree):
        _strip(each)
    labelled = [metadata, *_template_metadata(tree)]
    if labels_claims:
        labelled += _claim_metadata(tree)
    for each in labelled:
        _set_order_labels(each, content.id)
    if content.replicas is not None and content.scales == f"{tree.get('kind')}/{metadata['name']}":
        if not isinstance(tree.get("spec"), dict):
            tree["spec"] = {}
        tree["spec"]["replicas"] = content.replicas
    return tree


def object_key_of(tree: Mapping[str, Any]) -> ObjectKey:
    """The key of an object, from a labelled manifest or the member."""
    metadata = map_at(tree, "metadata")
    return ObjectKey(
        text_at(tree, "apiVersion"),
        text_at(tree, "kind"),
        text_at(metadata, "namespace"),
        text_at(metadata, "name"),
    )


def order_token_of(tree: Mapping[str, Any]) -> str | None:
    """The token of the order that an object belongs to, by its label, else by its annotation.

    The annotation alone suffices, because a user may have removed the label.
    """
    if token := text_at(map_at(tree, "metadata", "labels"), ORDER_LABEL):
        return token
    order_id = order_id_of(tree)
    return order_token(order_id) if order_id else None


def order_id_of(tree: Mapping[str, Any]) -> str | None:
    """The order id in an object's annotation; None if there is none or it is not a valid one.

    Every user of the cluster may write annotations, and an id that is too long would make the hub
    refuse the whole status.
    """
    order_id = text_at(map_at(tree, "metadata", "annotations"), ORDER_ID_ANNOTATION)
    return order_id if is_order_id(order_id) else None


def is_controlled(tree: Mapping[str, Any]) -> bool:
    """Whether a controller created the object, as it does ReplicaSets and pods."""
    owners = objects_at(map_at(tree, "metadata"), "ownerReferences")
    return any(bool(owner.get("controller")) for owner in owners)


def _template_metadata(tree: Tree) -> Iterator[Tree]:
    """The metadata of all pod templates in an object, whatever its kind calls them.

    Without our label on their pods, the pods of a kind could not be counted.
    """
    spec, kind = tree.get("spec"), tree.get("kind")
    if not isinstance(spec, dict) or kind in _KINDS_WITHOUT_PODS:
        return
    job = spec.get("jobTemplate")
    if kind in _KINDS_WITH_POD_TEMPLATE and isinstance(spec.get("template"), dict):
        yield _metadata_of(spec["template"])
    elif kind == "CronJob" and isinstance(job, dict):
        job_spec = job.get("spec")
        if isinstance(job_spec, dict) and isinstance(job_spec.get("template"), dict):
            yield _metadata_of(job_spec["template"])
    else:
        yield from _templates_in(list(spec.values()))


def _templates_in(value: object) -> Iterator[Tree]:
    if isinstance(value, list):
        for each in value:
            yield from _templates_in(each)
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield _metadata_of(value)
        else:
            for each in value.values():
                yield from _templates_in(each)


def claim_templates_of(tree: Mapping[str, Any]) -> list[Tree]:
    """The templates of the claims that a StatefulSet makes."""
    if tree.get("kind") != "StatefulSet" or not isinstance(tree.get("spec"), dict):
        return []
    return objects_at(tree["spec"], "volumeClaimTemplates")


def has_labelled_claims(tree: Mapping[str, Any]) -> bool:
    """Whether the claims of a StatefulSet carry our label; True for all other kinds."""
    templates = claim_templates_of(tree)
    return all(ORDER_LABEL in map_at(each, "metadata", "labels") for each in templates)


def _claim_metadata(tree: Tree) -> Iterator[Tree]:
    for template in claim_templates_of(tree):
        yield _metadata_of(template)


def _strip(metadata: Tree) -> None:
    for name in _FIELDS_OF_ANOTHER_CLUSTER:
        metadata.pop(name, None)


def _metadata_of(template: Tree) -> Tree:
    metadata = template.setdefault("metadata", {})
    if metadata is None:
        metadata = template["metadata"] = {}
    return metadata if isinstance(metadata, dict) else {}


def _set_order_labels(metadata: Tree, order_id: str) -> None:
    for field, name, value in (
        ("labels", ORDER_LABEL, order_token(order_id)),
        ("annotations", ORDER_ID_ANNOTATION, order_id),
    ):
        if not isinstance(metadata.get(field), dict):
            metadata[field] = {}
        metadata[field][name] = value
