"""Which claims that went along with a workload are deleted when it leaves a site. Pure.

A claim is deleted only by an explicit word: `onWithdraw: Delete`. Of a claim to which several
workloads refer, each of them has to say so. A site deletes none while an order there needs it.
"""

from collections.abc import Mapping
from typing import Final

from scheduler.control.orders.identity import parse_order_id
from scheduler.control.orders.referred_ids import referred_object, referred_order_id
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.references import references_of

_CLAIM: Final = "PersistentVolumeClaim"


def claims_to_delete(
    workload: Workload, order_id: str, workloads: Mapping[WorkKey, Workload]
) -> frozenset[str]:
    """Ids of the orders of the claims that go when a workload leaves a site.

    Args:
        workload: it leaves, or is being deleted.
        order_id: the id of its orders.
        workloads: all workloads; those of its namespace may refer to the same claims.
    """
    identity = parse_order_id(order_id)
    if identity is None or workload.spec.on_withdraw != "Delete":
        return frozenset()
    names = _claims_of(workload)
    namespace, name = workload.metadata.namespace, workload.metadata.name
    for key, other in workloads.items() if names else ():
        is_other = key[0] == namespace and key[1] != name
        if is_other and other.spec.on_withdraw != "Delete":
            names -= _claims_of(other)
    return frozenset(
        referred_order_id(identity.hub_id, referred_object(_CLAIM, namespace, each))
        for each in names
    )


def _claims_of(workload: Workload) -> frozenset[str]:
    found = references_of(workload.spec.manifests, workload.metadata.namespace)
    return frozenset(one.name for one in found if one.kind == _CLAIM and not one.namespace)
