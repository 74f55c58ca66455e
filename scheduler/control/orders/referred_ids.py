"""The orders of objects that pod templates refer to: their ids, and what they say. Pure.

Each referred object is an order of its own at a site. So its content is one, however many workloads
refer to it, and it is withdrawn with the last of them, by the same index, rules and code as any
other order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scheduler.control.orders.identity import format_order_id, parse_order_id
from scheduler.control.ports.agents import KEEP_DIGEST, OrderForSite
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIMS,
    PRIORITY_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    ApiResource,
)
from scheduler.model.canonical import canonical_json, digest_of_bytes
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.manifests.references import (
    REFERRED_KINDS,
    ReferredKind,
    as_sent,
    is_referred_name,
    pull_secrets_of,
)
from scheduler.model.packed_manifests import pack_manifests

RESOURCES: Final[Mapping[ReferredKind, ApiResource]] = {
    "ConfigMap": CONFIG_MAPS,
    "PersistentVolumeClaim": PERSISTENT_VOLUME_CLAIMS,
    "PriorityClass": PRIORITY_CLASSES,
    "Secret": SECRETS,
    "ServiceAccount": SERVICE_ACCOUNTS,
}
PRIORITY_CLASS: Final = "scheduling.k8s.io/PriorityClass"
"""How a Tenant names the kind in `clusterKinds`."""

_INCARNATION: Final = "along"
_MADE_AGAIN: Final = ("ConfigMap", "PriorityClass", "Secret")
"""Kinds that can be deleted and created again without ending a pod or losing data."""
_LARGE_CHARACTERS: Final = 64 * 1024
_KINDS: Final = {kind.lower(): kind for kind in REFERRED_KINDS}


@dataclass(frozen=True, slots=True, order=True)
class ReferredObject:
    """An object at the hub that a workload refers to.

    Attributes:
        kind: its kind.
        namespace: its namespace; that of Kapok for a cluster-scoped one.
        name: its name.
    """

    kind: ReferredKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def name_in(self, namespace: str) -> str:
        """Its kind and name, with its namespace if that is another one."""
        is_elsewhere = self.is_namespaced and self.namespace != namespace
        return f"{self.kind} {self.namespace}/{self.name}" if is_elsewhere else str(self)

    @property
    def order_key(self) -> WorkKey:
        """The key of its orders; no workload has such a name."""
        return (self.namespace, f"{self.kind.lower()}:{self.name}")

    @property
    def is_namespaced(self) -> bool:
        """Whether it belongs to its namespace."""
        return RESOURCES[self.kind].namespaced


def referred_object(kind: ReferredKind, namespace: str, name: str) -> ReferredObject:
    """The object that a pod template in a namespace names."""
    return ReferredObject(kind, namespace if RESOURCES[kind].namespaced else NAMESPACE, name)


def referred_order_id(hub_id: str, one: ReferredObject) -> str:
    """The id of the orders of a referred object, the same at every site."""
    return format_order_id(hub_id, one.order_key, _INCARNATION)


def parse_referred_key(key: WorkKey) -> ReferredObject | None:
    """The object whose orders have a key; None: it is the key of a workload."""
    kind, colon, name = key[1].partition(":")
    if not colon or kind not in _KINDS:
        return None
    return ReferredObject(_KINDS[kind], key[0], name)


def parse_referred_id(order_id: str) -> ReferredObject | None:
    """The object that an order id is about; None: it is the id of another order."""
    identity = parse_order_id(order_id)
    if identity is None or identity.incarnation != _INCARNATION:
        return None
    return parse_referred_key(identity.key)


def is_large_body(body: Mapping[str, Any]) -> bool:
    """Whether to pack an object of the hub would hold up the event loop."""
    values = (
        value
        for field in ("data", "binaryData")
        if isinstance(body.get(field), dict)
        for value in body[field].values()
    )
    return sum(len(value) for value in values if isinstance(value, str)) > _LARGE_CHARACTERS


def pack_referred(body: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """An object of the hub as its order has it: in little memory, but for a Secret."""
    sent = (as_sent(body),)
    return sent if body.get("kind") == "Secret" else pack_manifests(sent)


def recorded_version(body: Mapping[str, Any]) -> dict[str, str]:
    """What names the content of an object in the record of a decision, without holding it.

    Of a Secret it is the version at the hub: a short secret could be guessed by its digest.
    """
    metadata = body.get("metadata") or {}
    if body.get("kind") == "Secret":
        version = metadata.get("resourceVersion")
        return {"resourceVersion": version} if isinstance(version, str) else {}
    return {"digest": digest_of_bytes(canonical_json(as_sent(body)))}


def order_of_referred(
    hub_id: str, one: ReferredObject, packed: tuple[dict[str, Any], ...], tenant: Tenant | None
) -> OrderForSite:
    """The order that brings an object to a site.

    Args:
        hub_id: names this hub in order ids.
        one: the object.
        packed: the object, by `pack_referred`.
        tenant: the tenant of its namespace; None: it has none.
    """
    pulled = pull_secrets_of(packed[0]) if one.kind == "ServiceAccount" else ()
    ids = (
        referred_order_id(hub_id, referred_object(each.kind, one.namespace, each.name))
        for each in pulled
        if is_referred_name(each.name)
    )
    needs = tuple(each for each in ids if parse_referred_id(each) is not None)
    return OrderForSite(
        id=referred_order_id(hub_id, one),
        generation=1,
        namespace=one.order_key[0],
        name=one.order_key[1],
        manifests=() if one.kind == "Secret" else packed,
        secrets=packed if one.kind == "Secret" else (),
        cluster_kinds=() if one.is_namespaced else (PRIORITY_CLASS,),
        pod_security=tenant.spec.pod_security if tenant and one.is_namespaced else None,
        needs=needs,
        optional_needs=frozenset(needs),
        # What cannot change at the hub was made again there.
        update_strategy="Recreate" if one.kind in _MADE_AGAIN else "",
    )


def order_that_stays(hub_id: str, one: ReferredObject) -> OrderForSite:
    """The order by which a site keeps what it has of an object."""
    return OrderForSite(
        id=referred_order_id(hub_id, one),
        generation=1,
        namespace=one.order_key[0],
        name=one.order_key[1],
        manifests=(),
        kept_digest=KEEP_DIGEST,
    )
