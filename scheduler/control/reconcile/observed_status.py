"""The status of a workload with what its sites report, and the conditions that follow from it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from scheduler.control.orders.sync import OrderSync
from scheduler.control.orders.waits import REFERENCES, references_condition
from scheduler.control.preemption.status import without_settled_preemption
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.failover import FailoverDecisions
from scheduler.control.rollout.decisions import RolloutDecisions
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import policies_of
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import ORDERS_KEPT, kept_orders_condition
from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    find_condition,
    set_condition,
    stuck_condition,
)
from scheduler.control.status.failover import given_up_sites
from scheduler.control.status.kstatus import has_failed_site, with_kstatus
from scheduler.control.status.manifest_fields import (
    FIELDS_LEFT,
    FIELDS_REMOVED,
    left_fields_condition,
    removed_fields_condition,
)
from scheduler.control.status.not_enforced import not_enforced_condition
from scheduler.control.status.phase import MAX_TEXT_LENGTH
from scheduler.control.status.remains import SiteLeft, with_remains, withdrawn_condition
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.placement.divide.disaster_recovery import total_replicas_of
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ObservedStatus:
    """Adds to a decided status what is observed.

    Attributes:
        objects: the hub's objects.
        order_sync: what sites report of the workload's orders.
        accepted: what was accepted last.
        failover: which sites a workload is to leave, and what comes of it.
        rollouts: which sites have the new content of a workload.
        clock: for the times of conditions.
        epoch: gives the leader's epoch.
        stuck_after_seconds: an order that does not run for this long sets StuckInFlight.
    """

    objects: HubObjects
    order_sync: OrderSync
    accepted: AcceptedSpecs
    failover: FailoverDecisions
    rollouts: RolloutDecisions
    clock: Clock
    epoch: Callable[[], int]
    stuck_after_seconds: float

    def of(
        self,
        key: WorkKey,
        workload: Workload,
        status: WorkloadStatus,
        demand: Demand | NotAccepted,
    ) -> WorkloadStatus:
        """The status with what sites report, the conditions that follow from it, and the epoch."""
        now = self.clock.now()
        views = self.order_sync.site_views(workload, status)
        status = statuses.with_health(
            status,
            views,
            now,
            wanted=total_replicas_of(demand) if isinstance(demand, Demand) else None,
            may_end_moves=isinstance(demand, Demand),
        )
        left = self.order_sync.left_sites(key, workload, status)
        status = with_remains(status, left, now)
        if any(group.ordinals for group in status.placement.groups):
            status = statuses.with_started_ordinals(
                status,
                self.order_sync.site_views(workload, status),
                now,
                are_left_sites_gone=all(
                    one.is_gone or (one.is_silent and site in given_up_sites(status))
                    for site, one in left.items()
                ),
            )
        given_up = self.order_sync.pods_given_up(workload, status)
        stuck = stuck_condition(status, self.stuck_after_seconds, now, given_up=given_up)
        status = set_condition(status, stuck, "StuckInFlight", now)
        found = self.order_sync.sent_references(workload, status)
        former = find_condition(status.conditions, REFERENCES)
        status = set_condition(status, references_condition(found, now, former), REFERENCES, now)
        policies = policies_of(workload, self.objects)
        not_acted_on = self.order_sync.not_acted_on(workload, status)
        not_enforced = not_enforced_condition(workload, now, policies=policies, more=not_acted_on)
        status = set_condition(status, not_enforced, "NotEnforced", now)
        status = set_condition(status, left_fields_condition(views, now), FIELDS_LEFT, now)
        removed = removed_fields_condition(workload, now)
        status = set_condition(status, removed, FIELDS_REMOVED, now)
        if isinstance(demand, NotAccepted):
            problem = self.accepted.problem_of(workload)
            sites = (
                self.order_sync.sites_without_content(workload) if status.placement.groups else ()
            )
            kept = kept_orders_condition(problem, sites, now)
        else:
            kept = None
        status = set_condition(status, kept, ORDERS_KEPT, now)
        status = self.failover.with_outcome(key, status, now)
        status = without_settled_preemption(status, now)
        status = self.rollouts.with_observed(workload, status, now)
        status = with_kstatus(status, is_failed=has_failed_site(status, views), now=now)
        _log.debug("%s/%s: %s", *key, status.phase)
        return msgspec.structs.replace(
            status,
            epoch=max(self.epoch(), status.epoch),
            selector=self.order_sync.pod_selector(workload),
        )


def deleting_status(
    status: WorkloadStatus, left: Mapping[str, SiteLeft], now: datetime, epoch: int
) -> WorkloadStatus:
    """The status of a workload that is being deleted, with the sites that still hold something."""
    condition = withdrawn_condition(left)
    status = set_condition(status, condition, "Withdrawn", now)
    reason = f"being withdrawn from {format_list(sorted(left), MAX_SITES_LISTED)}"
    if any(one.message or one.is_silent for one in left.values()):
        reason = f"{reason}: {condition.message}"[:MAX_TEXT_LENGTH]
    status = msgspec.structs.replace(
        status, phase="Deleting", reason=reason, epoch=max(epoch, status.epoch)
    )
    return with_kstatus(status, is_failed=False, now=now)
