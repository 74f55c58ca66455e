"""What the member holds of ours: every object with our label, reduced to what decisions need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKind
from agents.orders.journal import ObjectKey
from agents.orders.labels import is_controlled, object_key_of, order_id_of, order_token_of
from agents.orders.readiness import Readiness, readiness_of
from agents.protocol.orders import ORDER_LABEL
from agents.protocol.topics import order_token

ObjectIdentity = tuple[str, str, str, str]
"""(group, kind, namespace, name): one object, whatever version it is read in."""

_OWNED_QUERY: Final = {"labelSelector": ORDER_LABEL}


@dataclass(frozen=True, slots=True)
class ObservedObject:
    """One object of the member that carries our label.

    Attributes:
        key: of the object, in the version that it was listed in.
        uid: a vanished and remade object has another.
        revision: changes when what was asked for changes: its generation, or for kinds that keep none
            its resourceVersion.
        token: of the order that it says it belongs to.
        order_id: of that order, if its annotation fits the label; else we did not make it.
        is_terminating: being deleted already.
        readiness: how it stands.
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
    """One look.

    Attributes:
        objects: that carry our label, without those that a controller made.
        listed_kinds: (group, kind) that could be listed; of others nothing is concluded.
    """

    objects: Mapping[ObjectIdentity, ObservedObject]
    listed_kinds: frozenset[tuple[str, str]]


def identity_of(key: ObjectKey) -> ObjectIdentity:
    """What an object is known by across versions."""
    return (*key.group_kind, key.namespace, key.name)


def read_inventory(api: MemberApi, kinds: Iterable[MemberKind]) -> MemberInventory:
    """Lists our objects of these kinds; a kind that cannot be listed now is not visible.

    Raises:
        Unreachable: the member does not answer at all.
    """
    objects: dict[ObjectIdentity, ObservedObject] = {}
    listed_kinds: set[tuple[str, str]] = set()
    for kind in kinds:
        try:
            found = api.list_mapped(
                kind.collection_path(), _OWNED_QUERY, partial(observed_object_of, kind=kind)
            )
        except MemberApiError as error:
            if error.code == 0:
                raise
            continue
        listed_kinds.add((kind.group, kind.kind))
        objects.update((identity_of(seen.key), seen) for seen in found)
    return MemberInventory(objects, frozenset(listed_kinds))


def observed_object_of(tree: Tree, kind: MemberKind) -> ObservedObject | None:
    """Reduces an object; None for one that a controller made or that is not ours.

    Items of a list carry neither apiVersion nor kind, so both are filled in.
    """
    tree = {**tree, "apiVersion": kind.api_version, "kind": kind.kind}
    token = order_token_of(tree)
    if token is None or is_controlled(tree):
        return None
    metadata: Mapping[str, Any] = tree.get("metadata") or {}
    order_id = order_id_of(tree)
    return ObservedObject(
        key=object_key_of(tree),
        uid=str(metadata.get("uid") or ""),
        revision=revision_of(tree),
        token=token,
        order_id=order_id if order_id and order_token(order_id) == token else None,
        is_terminating=bool(metadata.get("deletionTimestamp")),
        readiness=readiness_of(tree),
    )


def revision_of(tree: Tree) -> str:
    """What changes when somebody asks for something else."""
    metadata = tree.get("metadata") or {}
    generation = metadata.get("generation")
    return f"g{generation}" if generation else f"v{metadata.get('resourceVersion')}"
