"""What makes a member's object ours: a label, an annotation, on it and on the pods it makes. Pure.

The label is what pods are counted and objects are pruned by; the annotation says which order it
stands for, so that an agent that lost its disk finds its own work again. Nothing else is set.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.member.api import Tree
from agents.orders.journal import ObjectKey
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL, OrderContent
from agents.protocol.shapes import DEFAULT_TEXT_CHARACTERS
from agents.protocol.topics import order_token

SYSTEM_NAMESPACE: Final = "kapok-system"
"""Namespace of the agent's own objects: the site's lease and the records of started jobs."""

# What only the server writes; a manifest from `kubectl get -o yaml` has it, and SSA refuses it.
_SERVER_OWNED_FIELDS: Final = (
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "generation",
)
_KINDS_WITH_POD_TEMPLATE: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"}
)


def with_ownership_labels(
    content: OrderContent, manifest: Mapping[str, Any], *, is_namespaced: bool
) -> Tree:
    """The object as it is applied."""
    tree: Tree = copy.deepcopy(dict(manifest))
    tree.pop("status", None)
    metadata = tree.setdefault("metadata", {})
    for name in _SERVER_OWNED_FIELDS:
        metadata.pop(name, None)
    if is_namespaced:
        metadata.setdefault("namespace", content.namespace)
    else:
        metadata.pop("namespace", None)
    for each in (metadata, *_template_metadata(tree)):
        _set_order_labels(each, content.id)
    if content.replicas is not None and content.scales == f"{tree.get('kind')}/{metadata['name']}":
        tree.setdefault("spec", {})["replicas"] = content.replicas
    return tree


def object_key_of(tree: Mapping[str, Any]) -> ObjectKey:
    """Which object a dressed tree or one of the member's is."""
    metadata = tree.get("metadata") or {}
    return ObjectKey(
        str(tree.get("apiVersion")),
        str(tree.get("kind")),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name")),
    )


def order_token_of(tree: Mapping[str, Any]) -> str | None:
    """The token of the order that an object says it belongs to, by label, else by annotation.

    A person may have taken the label off; the annotation alone still makes it ours.
    """
    metadata = tree.get("metadata") or {}
    token = (metadata.get("labels") or {}).get(ORDER_LABEL)
    if isinstance(token, str) and token:
        return token
    order_id = order_id_of(tree)
    return order_token(order_id) if order_id else None


def order_id_of(tree: Mapping[str, Any]) -> str | None:
    """The order id in an object's annotation; None for what cannot be one.

    Anybody in the cluster may write annotations: one that is too long would spoil the whole status.
    """
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    order_id = annotations.get(ORDER_ID_ANNOTATION)
    is_one = isinstance(order_id, str) and 0 < len(order_id) <= DEFAULT_TEXT_CHARACTERS
    return order_id if is_one else None


def is_controlled(tree: Mapping[str, Any]) -> bool:
    """Whether a controller made it: a ReplicaSet or pod, which lives and dies with its owner."""
    owners = (tree.get("metadata") or {}).get("ownerReferences") or ()
    return any(isinstance(owner, dict) and owner.get("controller") for owner in owners)


def _template_metadata(tree: Tree) -> Iterator[Tree]:
    spec = tree.get("spec")
    if not isinstance(spec, dict):
        return
    if tree.get("kind") in _KINDS_WITH_POD_TEMPLATE and isinstance(spec.get("template"), dict):
        yield _metadata_of(spec["template"])
    job = spec.get("jobTemplate")
    if tree.get("kind") == "CronJob" and isinstance(job, dict):
        job_spec = job.get("spec")
        if isinstance(job_spec, dict) and isinstance(job_spec.get("template"), dict):
            yield _metadata_of(job_spec["template"])


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
