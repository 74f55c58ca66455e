"""Confirms that nothing of a withdrawn order is left at the member, and names what still is.

Withdrawn means seen gone. What the lists by label no longer show is looked for once more before an
order is forgotten: pods by label, and every object that the journal knows by its name, because
a user may have taken off the label. What holds a deletion (a finalizer, a refusal of the API) is
named, so that an operator can end it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKinds
from agents.member.fields.owned_fields import is_applied_by_us
from agents.member.namespaces import find_holder
from agents.member.trees import map_at, objects_at, text_at
from agents.orders.claims import DATA_KINDS, NAMESPACE
from agents.orders.inventory import (
    MemberInventory,
    ObjectIdentity,
    ObservedObject,
    finalizers_of,
    identity_of,
)
from agents.orders.journal import ObjectKey
from agents.orders.labels import is_controlled, object_key_of, order_token_of
from agents.protocol.orders import ORDER_LABEL
from agents.protocol.status import OrderStatus
from agents.protocol.topics import order_token

_log = logging.getLogger(__name__)

_PODS_PATH: Final = "/api/v1/pods"
_MAX_NAMED: Final = 5
_MAX_MESSAGE_CHARACTERS: Final = 900


@dataclass(slots=True)
class Remains:
    """What is left of one order at the member.

    Attributes:
        count: number of objects that are left.
        obstacles: what keeps them, as sentences.
    """

    count: int = 0
    obstacles: list[str] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        """Whether the order is gone."""
        return not self.count and not self.obstacles


@dataclass(slots=True, kw_only=True)
class Withdrawal:
    """Deletes objects of withdrawn orders, and looks whether anything is left.

    Attributes:
        api: API of the member.
    """

    api: MemberApi
    _refusals: dict[ObjectIdentity, str] = field(default_factory=dict, init=False)

    def delete(self, observed: ObservedObject, kinds: MemberKinds) -> str | None:
        """Deletes one object; returns why it cannot be deleted, or None.

        Raises:
            Unreachable: the member does not answer.
        """
        kind = kinds.find(observed.key.api_version, observed.key.kind)
        if kind is None:
            return None
        path = kind.object_path(observed.key.namespace, observed.key.name)
        name = identity_of(observed.key)
        try:
            self.api.delete(path, uid=observed.uid)
        except MemberApiError as error:
            if error.code == 0:
                raise
            self._refusals[name] = f"{observed.key} cannot be deleted: {error}"
            return self._refusals[name]
        self._refusals.pop(name, None)
        return None

    def namespaces_in_use(
        self,
        surplus: Iterable[ObservedObject],
        kinds: MemberKinds,
        desired: frozenset[str],
        purged_tokens: frozenset[str],
    ) -> frozenset[ObjectIdentity]:
        """The namespaces that hold what is not to go, or may: their deletion would delete it.

        That is data, what other clients made, and what other orders need. The inventory does not
        answer this: it knows neither objects without our label, nor those of kinds that cannot be
        listed.

        Args:
            surplus: objects that no order asks for.
            kinds: kinds that the member serves.
            desired: tokens of all orders that the index lists.
            purged_tokens: orders whose data goes, and with a namespace of theirs what is in it
                without our label.

        Raises:
            Unreachable: the member does not answer.
        """
        return frozenset(
            identity_of(observed.key)
            for observed in surplus
            if observed.key.group_kind == NAMESPACE
            and self._is_in_use(observed, kinds, desired, purged_tokens)
        )

    def _is_in_use(
        self,
        namespace: ObservedObject,
        kinds: MemberKinds,
        desired: frozenset[str],
        purged_tokens: frozenset[str],
    ) -> bool:
        is_purged = namespace.token in purged_tokens

        def goes(tree: Tree) -> bool:
            token = order_token_of(tree)
            if object_key_of(tree).group_kind in DATA_KINDS:
                return is_purged and (token is None or token in purged_tokens)
            # What a controller made goes with its owner, which is listed itself.
            return token not in desired if token else is_controlled(tree)

        holder = find_holder(self.api, namespace.key.name, kinds, goes)
        if holder:
            _log.info("%s stays, though its order is withdrawn: %s", namespace.key, holder)
        return bool(holder)

    def remains_of(self, objects: Iterable[ObservedObject]) -> Remains:
        """What the inventory shows of an order, with what holds each object."""
        remains = Remains()
        for observed in objects:
            remains.count += 1
            if observed.finalizers:
                remains.obstacles.append(
                    f"{observed.key} is held by {_format_finalizers(observed.finalizers)}"
                )
            elif refusal := self._refusals.get(identity_of(observed.key)):
                remains.obstacles.append(refusal)
        return remains

    def forget_refusals_except(self, names: Iterable[ObjectIdentity]) -> None:
        """Forgets refusals of objects that are gone."""
        kept = frozenset(names)
        self._refusals = {name: why for name, why in self._refusals.items() if name in kept}

    def look_again(
        self,
        order_id: str,
        created: Iterable[ObjectKey],
        kinds: MemberKinds,
        inventory: MemberInventory,
        *,
        is_purged: bool,
    ) -> Remains:
        """Looks for what the lists by label do not show; called when they show nothing any more.

        Args:
            order_id: the withdrawn order.
            created: its objects as the journal knows them.
            kinds: kinds that the member serves.
            inventory: our objects as the member has them.
            is_purged: whether its data goes too. If not, claims are not looked for: they stay, and
                one without our label must not be deleted by its name.

        Raises:
            Unreachable: the member does not answer.
        """
        remains = Remains()
        for key in sorted(created):
            if key.group_kind == NAMESPACE or (key.group_kind in DATA_KINDS and not is_purged):
                continue
            try:
                self._look_for(order_id, key, kinds, remains)
            except MemberApiError as error:
                if error.code == 0:
                    raise
                why = inventory.problems.get(key.group_kind) or str(error)
                remains.obstacles.append(f"{key} cannot be read: {why}")
        if remains.is_nothing:
            self._look_for_pods(order_id, remains)
        return remains

    def _look_for(
        self, order_id: str, key: ObjectKey, kinds: MemberKinds, remains: Remains
    ) -> None:
        kind = kinds.find(key.api_version, key.kind)
        if kind is None:
            if self._may_be_served(key):
                remains.obstacles.append(
                    f"{key} cannot be looked for: the cluster does not list "
                    f"{key.api_version}/{key.kind} now"
                )
            return
        path = kind.object_path(key.namespace, key.name)
        tree = self.api.find(path)
        token = order_token(order_id)
        if tree is None or order_token_of(tree) not in (None, token):
            return
        if order_token_of(tree) is None and not is_applied_by_us(tree):
            return  # another client's, of the same name
        remains.count += 1
        metadata = map_at(tree, "metadata")
        if metadata.get("deletionTimestamp"):
            if held := finalizers_of(metadata):
                remains.obstacles.append(f"{key} is held by {_format_finalizers(held)}")
            return
        self.api.delete(path, uid=text_at(metadata, "uid"))

    def _may_be_served(self, key: ObjectKey) -> bool:
        """Whether objects of a kind that discovery lacks may exist.

        With its definition, a custom kind's objects are gone. The kinds of a server that does not
        answer now are not.
        """
        root = "apis" if "/" in key.api_version else "api"
        document = self.api.find(f"/{root}/{key.api_version}")
        if document is None:
            return False
        return any(each.get("kind") == key.kind for each in objects_at(document, "resources"))

    def _look_for_pods(self, order_id: str, remains: Remains) -> None:
        """Counts the order's pods, also those that no node has: one list by label."""
        query = {"labelSelector": f"{ORDER_LABEL}={order_token(order_id)}"}
        try:
            pods = self.api.list_mapped(_PODS_PATH, query, _pod_of)
        except MemberApiError as error:
            if error.code == 0:
                raise
            remains.obstacles.append(f"its pods cannot be listed: {error}")
            return
        remains.count += len(pods)
        remains.obstacles += [text for text in pods if text]


def withdrawing_status(
    order_id: str, generation: int, remains: Remains, bound_pods: int
) -> OrderStatus:
    """The status of an order that is no longer listed and not yet seen gone."""
    return OrderStatus(
        id=order_id,
        generation=generation,
        phase="Withdrawing",
        bound=bound_pods,
        message=_format_remains(remains, bound_pods)[:_MAX_MESSAGE_CHARACTERS] or None,
    )


def group_by_order(
    inventory: MemberInventory, desired: frozenset[str], kept: frozenset[ObjectIdentity]
) -> Mapping[str, list[ObservedObject]]:
    """The objects of orders that are not listed, by order id, without those that stay."""
    objects: dict[str, list[ObservedObject]] = {}
    for name, observed in inventory.objects.items():
        is_left = observed.order_id is not None and observed.token not in desired
        if is_left and name not in kept:
            objects.setdefault(observed.order_id or "", []).append(observed)
    return objects


def _pod_of(tree: Tree) -> str:
    """What holds a pod that is being deleted; empty if nothing special does."""
    metadata = map_at(tree, "metadata")
    held = finalizers_of(metadata)
    if not metadata.get("deletionTimestamp") or not held:
        return ""
    return f"Pod {text_at(metadata, 'name')} is held by {_format_finalizers(held)}"


def _format_remains(remains: Remains, bound_pods: int) -> str:
    if not remains.count and not bound_pods and not remains.obstacles:
        return ""
    text = f"{remains.count} objects and {bound_pods} bound pods remain"
    named = "; ".join(remains.obstacles[:_MAX_NAMED])
    more = len(remains.obstacles) - _MAX_NAMED
    return "".join((text, f": {named}" if named else "", f"; and {more} more" if more > 0 else ""))


def _format_finalizers(finalizers: Iterable[str]) -> str:
    names = list(finalizers)
    word = "finalizer" if len(names) == 1 else "finalizers"
    return f"{word} {', '.join(names)}, which its controller at the site has to end"
