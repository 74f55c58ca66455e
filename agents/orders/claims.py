"""Which objects hold data, and are kept until the hub says that the data goes. Pure.

Withdrawing an order ends what runs. Its claims stay at the site: a move, an edit or a mistake must
not delete data. Only an explicit word does, `DesiredIndex.purge`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from agents.orders.inventory import MemberInventory, ObjectIdentity, ObservedObject, identity_of
from agents.protocol.bounds import MAX_KEPT_CLAIMS
from agents.protocol.status import KeptClaim

CLAIM: Final = ("", "PersistentVolumeClaim")
STATEFUL_SET: Final = ("apps", "StatefulSet")
NAMESPACE: Final = ("", "Namespace")
_MAX_NAMESPACE_CHARACTERS: Final = 63
_MAX_NAME_CHARACTERS: Final = 253
DATA_KINDS: Final = frozenset(
    {
        CLAIM,
        ("", "PersistentVolume"),
        ("snapshot.storage.k8s.io", "VolumeSnapshot"),
        ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
    }
)


def find_kept(
    inventory: MemberInventory,
    desired_tokens: frozenset[str],
    purged_tokens: frozenset[str],
) -> frozenset[ObjectIdentity]:
    """The objects that stay although nothing asks for them: data, and the namespaces around it.

    Args:
        inventory: our objects at the member.
        desired_tokens: tokens of all orders that the index lists.
        purged_tokens: tokens of the orders whose data goes.
    """
    data = {
        name: observed
        for name, observed in inventory.objects.items()
        if observed.key.group_kind in DATA_KINDS and observed.order_id is not None
    }
    gone = purged_tokens - desired_tokens
    kept = {name for name, observed in data.items() if observed.token not in gone}
    around = {name[2] for name in kept}
    return frozenset(kept).union(
        name for name in inventory.objects if name[:2] == NAMESPACE and name[3] in around
    )


def kept_claims(
    inventory: MemberInventory,
    kept: frozenset[ObjectIdentity],
    desired_tokens: frozenset[str],
    asked: Mapping[str, frozenset[ObjectIdentity]],
    created: Iterable[ObjectIdentity],
) -> tuple[KeptClaim, ...]:
    """The claims that no order asks for, for the status.

    Args:
        inventory: our objects at the member.
        kept: the objects that stay.
        desired_tokens: tokens of all orders that the index lists.
        asked: the objects that completely applied orders ask for, by token.
        created: objects that this agent created by itself. Of a listed order only these count: it
            asks for the claims that its StatefulSets make without naming them.
    """
    known = frozenset(created)
    found = [
        observed
        for name, observed in inventory.objects.items()
        if name in kept
        and name[:2] == CLAIM
        and _is_left(name, observed, desired_tokens, asked, known)
        and len(observed.key.namespace) <= _MAX_NAMESPACE_CHARACTERS
        and len(observed.key.name) <= _MAX_NAME_CHARACTERS
    ]
    found.sort(key=lambda each: (each.order_id or "", each.key))
    return tuple(
        KeptClaim(id=each.order_id or "", namespace=each.key.namespace, name=each.key.name)
        for each in found[:MAX_KEPT_CLAIMS]
    )


def _is_left(
    name: ObjectIdentity,
    observed: ObservedObject,
    desired_tokens: frozenset[str],
    asked: Mapping[str, frozenset[ObjectIdentity]],
    created: frozenset[ObjectIdentity],
) -> bool:
    if observed.token not in desired_tokens:
        return True
    wanted = asked.get(observed.token)
    return wanted is not None and name in created and identity_of(observed.key) not in wanted
