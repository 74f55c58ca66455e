"""Our objects at the member: every object with our label, reduced to what a pass needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKind
from agents.member.trees import map_at, text_at
from agents.orders.journal import ObjectKey
from agents.orders.labels import is_controlled, object_key_of, order_id_of, order_token_of
from agents.orders.readiness import Readiness, readiness_of
from agents.protocol.orders import ORDER_LABEL
from agents.protocol.topics import order_token
from agents.runtime.faults import AgentFaults

ObjectIdentity = tuple[str, str, str, str]
"""(group, kind, namespace, name): identifies an object across the versions of its group."""

_OWNED_QUERY: Final = {"labelSelector": ORDER_LABEL}


@dataclass(frozen=True, slots=True)
class ObservedObject:
    """One object of the member that carries our label.

    Attributes:
        key: kind and name, in the version that was listed.
        uid: uid; an object that was deleted and created again has another.
        revision: changes with the object's spec: its generation, or its resourceVersion for kinds
            without one.
        token: token of the order that it belongs to, by its label.
        order_id: id of that order, if the annotation matches the label; else None: the agent did
            not create it.
        is_terminating: whether it is being deleted.
        readiness: its readiness.
    """

    key: ObjectKey
    uid: str
    revision: str
    token: str
    order_id: str | None
    is_terminating: bool
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class MemberInventory:
    """Our objects at the member at one time.

    Attributes:
        objects: objects that carry our label, without those that a controller created.
        listed_kinds: (group, kind) of the kinds that could be listed; about objects of other kinds
            nothing is known.
    """

    objects: Mapping[ObjectIdentity, ObservedObject]
    listed_kinds: frozenset[tuple[str, str]]


def identity_of(key: ObjectKey) -> ObjectIdentity:
    """The identity of an object across versions."""
    return (*key.group_kind, key.namespace, key.name)


def read_inventory(
    api: MemberApi, kinds: Iterable[MemberKind], faults: AgentFaults
) -> MemberInventory:
    """Lists our objects of these kinds; leaves out kinds that cannot be listed or read now.

    Raises:
        Unreachable: the member does not answer.
    """
    objects: dict[ObjectIdentity, ObservedObject] = {}
    listed_kinds: set[tuple[str, str]] = set()
    for kind in kinds:
        if faults.is_quarantined("inventory", kind.name):
            continue
        try:
            with faults.guard("inventory", kind.name, passing=(MemberApiError,)):
                found = api.list_mapped(
                    kind.collection_path(), _OWNED_QUERY, partial(observed_object_of, kind=kind)
                )
                # Only now: of a kind that was read by half, nothing is known.
                objects.update((identity_of(seen.key), seen) for seen in found)
                listed_kinds.add((kind.group, kind.kind))
        except MemberApiError as error:
            if error.code == 0:
                raise
    return MemberInventory(objects, frozenset(listed_kinds))


def observed_object_of(tree: Tree, kind: MemberKind) -> ObservedObject | None:
    """Reduces an object to what a pass needs; None if it is not ours or a controller created it.

    Items of a list have neither apiVersion nor kind, so both are filled in.
    """
    tree = {**tree, "apiVersion": kind.api_version, "kind": kind.kind}
    token = order_token_of(tree)
    if token is None or is_controlled(tree):
        return None
    metadata = map_at(tree, "metadata")
    order_id = order_id_of(tree)
    return ObservedObject(
        key=object_key_of(tree),
        uid=text_at(metadata, "uid"),
        revision=revision_of(tree),
        token=token,
        order_id=order_id if order_id and order_token(order_id) == token else None,
        is_terminating=bool(metadata.get("deletionTimestamp")),
        readiness=readiness_of(tree),
    )


def revision_of(tree: Tree) -> str:
    """The generation, or the resourceVersion for kinds without one; changes with the spec."""
    metadata = map_at(tree, "metadata")
    generation = metadata.get("generation")
    return f"g{generation}" if generation else f"v{metadata.get('resourceVersion')}"
