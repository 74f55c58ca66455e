"""What the member holds of ours: every object with our label, reduced to what decisions need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from agents.member.api import ApiError, MemberApi, Tree
from agents.member.discovery import Kind
from agents.orders.journal import ObjectKey
from agents.orders.labels import ORDER_LABEL, is_controlled, key_of, order_id_of, token_of
from agents.orders.readiness import Standing, standing
from agents.protocol.topics import order_token

Identity = tuple[str, str, str, str]
"""(group, kind, namespace, name): one object, whatever version it is read in."""

_OURS: Final = {"labelSelector": ORDER_LABEL}


@dataclass(frozen=True, slots=True)
class Seen:
    """One object of the member that carries our label.

    Attributes:
        key: of the object, in the version that it was listed in.
        uid: a vanished and remade object has another.
        mark: changes when what was asked for changes: its generation, or for kinds that keep none
            its resourceVersion.
        token: of the order that it says it belongs to.
        order_id: of that order, if its annotation fits the label; else we did not make it.
        is_leaving: being deleted already.
        standing: how it stands.
    """

    key: ObjectKey
    uid: str
    mark: str
    token: str
    order_id: str | None
    is_leaving: bool
    standing: Standing


@dataclass(frozen=True, slots=True)
class View:
    """One look.

    Attributes:
        objects: that carry our label, without those that a controller made.
        visible: (group, kind) that could be listed; of others nothing is concluded.
    """

    objects: Mapping[Identity, Seen]
    visible: frozenset[tuple[str, str]]


def identity(key: ObjectKey) -> Identity:
    """What an object is known by across versions."""
    return (*key.group_kind, key.namespace, key.name)


def look(api: MemberApi, kinds: Iterable[Kind]) -> View:
    """Lists our objects of these kinds; a kind that cannot be listed now is not visible.

    Raises:
        Unreachable: the member does not answer at all.
    """
    objects: dict[Identity, Seen] = {}
    visible: set[tuple[str, str]] = set()
    for kind in kinds:
        try:
            found = api.fold(kind.collection(), _OURS, partial(seen_of, kind=kind))
        except ApiError as error:
            if error.code == 0:
                raise
            continue
        visible.add((kind.group, kind.kind))
        objects.update((identity(seen.key), seen) for seen in found)
    return View(objects, frozenset(visible))


def seen_of(tree: Tree, kind: Kind) -> Seen | None:
    """Reduces an object; None for one that a controller made or that is not ours.

    Items of a list carry neither apiVersion nor kind, so both are filled in.
    """
    tree = {**tree, "apiVersion": kind.api_version, "kind": kind.kind}
    token = token_of(tree)
    if token is None or is_controlled(tree):
        return None
    metadata: Mapping[str, Any] = tree.get("metadata") or {}
    order_id = order_id_of(tree)
    return Seen(
        key=key_of(tree),
        uid=str(metadata.get("uid") or ""),
        mark=mark_of(tree),
        token=token,
        order_id=order_id if order_id and order_token(order_id) == token else None,
        is_leaving=bool(metadata.get("deletionTimestamp")),
        standing=standing(tree),
    )


def mark_of(tree: Tree) -> str:
    """What changes when somebody asks for something else."""
    metadata = tree.get("metadata") or {}
    generation = metadata.get("generation")
    return f"g{generation}" if generation else f"v{metadata.get('resourceVersion')}"
