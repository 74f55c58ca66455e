"""Which workloads leave lost or drained sites alike, so that they are decided together.

What moves is queued as urgent, one after the other. Only plain moves are taken together: all that
runs of a workload leaves, and nothing of former moves, of replicas that are not ready, or of an
edit is to be decided with it. All others are decided one by one, as is a move without room.
"""

from dataclasses import dataclass

import msgspec

from scheduler.control.queue.requeue import RequeueReasons
from scheduler.control.reconcile.failover import FailoverDecisions
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import is_spec_changed, is_unplaced
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import PlacementGroup, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualMoves:
    """Finds moves that may be decided together.

    Attributes:
        objects: the hub's objects.
        failover: which sites workloads are to leave.
        requeue_reasons: why placed workloads are decided again.
    """

    objects: HubObjects
    failover: FailoverDecisions
    requeue_reasons: RequeueReasons

    def is_plain(self, key: WorkKey, workload: Workload) -> bool:
        """Whether a workload is placed, and is to be decided again only because it is to move."""
        status = workload.status
        evictions = self.failover.evictions
        return (
            bool(evictions.sites_to_leave(key))
            and bool(status.placement.groups)
            and self.requeue_reasons.needs_redecision(key)
            and not self.requeue_reasons.is_policy_changed(key)
            and not evictions.keeps(key)
            and not self.failover.unready.has_task(key)
            and not (status.failover and status.failover.moved)
            and not (status.preempting or status.preemption)
            and status.phase not in ("Completed", "Deleting")
            and workload.metadata.deletion_timestamp is None
            and not is_spec_changed(workload)
            and not is_unplaced(status)
        )

    def look_alike(self, key: WorkKey, other: WorkKey) -> bool:
        """Whether two moves may be equal, as far as a glance shows.

        Both run alike at the same sites and leave the same ones, and their specs are the same but
        for their manifests.
        """
        one, two = self.objects.workloads.get(key), self.objects.workloads.get(other)
        if one is None or two is None or key[0] != other[0]:
            return False
        if not (self.is_plain(key, one) and self.is_plain(other, two)):
            return False
        evictions = self.failover.evictions
        if evictions.sites_to_leave(key) != evictions.sites_to_leave(other):
            return False
        if _placement_of(one) != _placement_of(two):
            return False
        return is_same_but_manifests(one, two)


def is_same_but_manifests(one: Workload, two: Workload) -> bool:
    """Whether two specs differ in nothing but what their manifests say."""
    if len(one.spec.manifests) != len(two.spec.manifests):
        return False
    return one.spec == msgspec.structs.replace(two.spec, manifests=one.spec.manifests)


def _placement_of(workload: Workload) -> list[tuple[object, ...]]:
    return [_glance(group) for group in workload.status.placement.groups]


def _glance(group: PlacementGroup) -> tuple[object, ...]:
    return group.sites, group.replicas, group.phase
