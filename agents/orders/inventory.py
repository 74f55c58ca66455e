"""Our objects at the member: every object with our label, reduced to what a pass needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKind
from agents.member.fields.owned_fields import is_applied_by_us, revision_of
from agents.member.trees import map_at, text_at
from agents.orders.journal import ObjectKey
from agents.orders.labels import (
    has_labelled_claims,
    is_controlled,
    object_key_of,
    order_id_of,
    order_token_of,
)
from agents.orders.readiness import Readiness, readiness_of
from agents.protocol.orders import ORDER_LABEL
from agents.protocol.topics import order_token
from agents.runtime.faults import AgentFaults

ObjectIdentity = tuple[str, str, str, str]
"""(group, kind, namespace, name): identifies an object across the versions of its group."""

_MAX_FINALIZERS: Final = 8
_MAX_PROBLEM_CHARACTERS: Final = 300
_OWNED_QUERY: Final = {"labelSelector": ORDER_LABEL}


@dataclass(frozen=True, slots=True)
class ObservedObject:
    """One object of the member that carries our label.

    Attributes:
        key: kind and name, in the version that was listed.
        uid: uid; an object that was deleted and created again has another.
        revision: changes when another writer changes what we applied.
        token: token of the order that it belongs to, by its label.
        order_id: id of that order, if the annotation matches the label; else None: the agent did
            not create it.
        is_terminating: whether it is being deleted.
        readiness: its readiness.
        finalizers: what holds its deletion, as far as it has begun.
        has_labelled_claims: whether the claims that it makes carry our label.
    """

    key: ObjectKey
    uid: str
    revision: str
    token: str
    order_id: str | None
    is_terminating: bool
    readiness: Readiness
    finalizers: tuple[str, ...] = ()
    has_labelled_claims: bool = True


@dataclass(frozen=True, slots=True)
class MemberInventory:
    """Our objects at the member at one time.

    Attributes:
        objects: objects that carry our label, without those that a controller created.
        listed_kinds: (group, kind) of the kinds that could be listed; about objects of other kinds
            nothing is known.
        problems: why a kind could not be listed, by (group, kind).
    """

    objects: Mapping[ObjectIdentity, ObservedObject]
    listed_kinds: frozenset[tuple[str, str]]
    problems: Mapping[tuple[str, str], str] = field(default_factory=dict)


def identity_of(key: ObjectKey) -> ObjectIdentity:
    """The identity of an object across versions."""
    return (*key.group_kind, key.namespace, key.name)


def read_inventory(
    api: MemberApi,
    kinds: Iterable[MemberKind],
    faults: AgentFaults,
    *,
    created: frozenset[ObjectIdentity] = frozenset(),
) -> MemberInventory:
    """Lists our objects of these kinds; leaves out kinds that cannot be listed or read now.

    Args:
        api: API of the member.
        kinds: the kinds to list.
        faults: the barrier around each kind.
        created: the objects that the journal knows as created by this agent.

    Raises:
        Unreachable: the member does not answer.
    """
    objects: dict[ObjectIdentity, ObservedObject] = {}
    listed_kinds: set[tuple[str, str]] = set()
    problems: dict[tuple[str, str], str] = {}
    for kind in kinds:
        if faults.is_quarantined("inventory", kind.name):
            continue
        try:
            with faults.guard("inventory", kind.name, passing=(MemberApiError,)):
                found = api.list_mapped(
                    kind.collection_path(),
                    _OWNED_QUERY,
                    partial(observed_object_of, kind=kind, created=created),
                )
                # Only now: of a kind that was read by half, nothing is known.
                objects.update((identity_of(seen.key), seen) for seen in found)
                listed_kinds.add((kind.group, kind.kind))
        except MemberApiError as error:
            if error.code == 0:
                raise
            problems[kind.group, kind.kind] = str(error)[:_MAX_PROBLEM_CHARACTERS]
    return MemberInventory(objects, frozenset(listed_kinds), problems)


def observed_object_of(
    tree: Tree, kind: MemberKind, created: frozenset[ObjectIdentity] = frozenset()
) -> ObservedObject | None:
    """Reduces an object to what a pass needs; None if it is not ours or a controller created it.

    A controller in `ownerReferences` alone does not make it a controller's: what the journal or the
    field manager names is ours.

    Items of a list have neither apiVersion nor kind, so both are filled in.
    """
    tree = {**tree, "apiVersion": kind.api_version, "kind": kind.kind}
    token = order_token_of(tree)
    if token is None:
        return None
    key = object_key_of(tree)
    is_ours = is_applied_by_us(tree) or identity_of(key) in created
    if is_controlled(tree) and not is_ours:
        return None
    metadata = map_at(tree, "metadata")
    order_id = order_id_of(tree)
    is_terminating = bool(metadata.get("deletionTimestamp"))
    return ObservedObject(
        key=key,
        uid=text_at(metadata, "uid"),
        revision=revision_of(tree),
        token=token,
        order_id=order_id if order_id and order_token(order_id) == token else None,
        is_terminating=is_terminating,
        readiness=readiness_of(tree),
        finalizers=finalizers_of(metadata) if is_terminating else (),
        has_labelled_claims=has_labelled_claims(tree),
    )


def finalizers_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The finalizers of an object, as far as they are text."""
    found = metadata.get("finalizers")
    words = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    return tuple(each[:253] for each in words[:_MAX_FINALIZERS])
