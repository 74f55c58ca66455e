"""Taking in what has no controller: pods and ReplicaSets left by `--cascade=orphan`.

Kubernetes' controllers adopt what their selector matches, so that a set that is made again finds
its pods again and makes no second ones.
"""

from scheduler.control.ports.hub import ApiResource
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS, AppsObject
from scheduler.simulation.cluster.plan import Patch, Write
from scheduler.simulation.cluster.pods import owner_reference


def adoption_patches(mirror: Mirror, resource: ApiResource, owner: AppsObject) -> list[Write]:
    """References to `owner` for everything that it should control and nobody does.

    Args:
        mirror: the cluster.
        resource: the owner's resource; a Deployment adopts ReplicaSets, all others pods.
        owner: a set with a selector; an empty one adopts nothing.
    """
    if owner.spec.selector.is_empty:
        return []
    wanted = REPLICA_SETS if resource is DEPLOYMENTS else PODS
    namespace = owner.metadata.namespace
    return [
        Patch(
            wanted,
            (one.metadata.namespace, one.metadata.name),
            {"metadata": {"ownerReferences": [owner_reference(resource, owner)]}},
        )
        for one in mirror.orphans(wanted)
        if one.metadata.namespace == namespace
        and one.metadata.deletion_timestamp is None
        and owner.spec.selector.matches(one.metadata.labels)
    ]
