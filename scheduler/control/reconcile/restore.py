"""Plans all orders after a start as the sites have them, from what was accepted before."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from scheduler.control.orders.kept_orders import PreparedOrders, demand_in_status
from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.hub import HubError
from scheduler.control.queue.requeue import RequeueReasons
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.state.objects import HubObjects
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import is_present_spec_accepted
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Budget, BudgetLeft
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRestorer:
    """Brings the plans of all sites to what the statuses say, before anything is decided.

    Attributes:
        objects: the hub's objects.
        order_sync: plans orders.
        accepted: what was accepted last.
        requeue_reasons: why placed workloads are decided again.
        prepared: what was prepared while this scheduler stood by.
        resolve_demand: gives the demand of a workload, and claims the names of its objects.
        faults: handles what fails for one workload.
    """

    objects: HubObjects
    order_sync: OrderSync
    accepted: AcceptedSpecs
    requeue_reasons: RequeueReasons
    prepared: PreparedOrders
    resolve_demand: Callable[[Workload], Demand | NotAccepted]
    faults: Faults

    async def load_accepted(self) -> None:
        """Reads what was accepted and does not stand in a status, as far as orders follow it.

        Where the hub does not answer, the orders stay as they are until it is read.
        """
        for workload in list(self.objects.workloads.values()):
            is_enough = is_present_spec_accepted(workload) and not workload.status.former_accepted
            if is_enough or not self.accepted.needs_load(workload):
                continue
            try:
                await self.accepted.load(workload)
            except HubError as error:
                _log.warning("%s: what was accepted: %s", workload.metadata.key, error)

    def restore_orders(self, slice_size: int) -> Iterator[None]:
        """Plans all orders after a start, as the statuses or else the sites have them.

        Nothing is written: the first index of this epoch must list everything that runs. All of
        it is decided again, because a taint or the end of a grant may have come meanwhile. Until
        then the orders follow what was accepted: an edit that is not decided is not ordered.

        Args:
            slice_size: yields after so many workloads, so that the event loop serves others.
        """
        self.requeue_reasons.add_redecision(self.objects.workloads)
        for number, key in enumerate(list(self.objects.workloads), start=1):
            if number % slice_size == 0:
                yield
            workload = self.objects.workloads.get(key)
            if workload is None or workload.metadata.deletion_timestamp is not None:
                continue
            is_restored = False
            with self.faults.barrier("workload"):
                self._restore_orders_of(key, workload)
                is_restored = True
            if not is_restored:
                self.order_sync.hold_indexes(key, workload)
        self.prepared.clear()

    def _restore_orders_of(self, key: WorkKey, workload: Workload) -> None:
        identified = self.order_sync.identify(key, workload)
        if isinstance(identified, NotAccepted):
            return  # its reconciliation says so; the indexes of its sites are held
        workload = identified
        if workload.status.placement.groups and self._restore_by_digest(key, workload):
            return
        shares = statuses.shares_of(self.order_sync.with_adopted_placement(workload).status)
        demand = self.resolve_demand(workload)  # claims its names, too
        basis, has_content = workload, True
        if shares and not is_present_spec_accepted(workload):
            former = self.accepted.last_accepted(workload)
            has_content = former is not None and former.is_complete
            if former is not None:
                demand = former.demand
                basis = msgspec.structs.replace(workload, spec=former.spec)
        elif shares and isinstance(demand, NotAccepted):
            former = self.accepted.last_accepted(workload)
            demand = demand if former is None else former.demand
        if isinstance(demand, Demand):
            # What runs is in flight and in the quota, whether its present spec is accepted or not.
            self.order_sync.account_usage(key, demand, workload, shares)
        self.order_sync.restore_orders(key, basis, shares, has_content=has_content)

    def _restore_by_digest(self, key: WorkKey, workload: Workload) -> bool:
        """Restores what a status has in full: the demand as accepted, and every order's digest.

        Its manifests are not read, so that thousands of unchanged workloads hold up nothing.

        Returns:
            Whether that is done.
        """
        kept = self.prepared.take(key, workload)
        if kept is None:
            return False
        tenant = self.objects.tenant_of(key[0])
        has_budget = tenant is not None and tenant.spec.budget != Budget()
        if not has_budget and self.order_sync.restore_kept(key, kept):
            return True
        demand = demand_in_status(workload)
        if demand is None:
            return False
        if has_budget:
            # What is left of it is no part of what was accepted; what runs counts against it.
            demand = msgspec.structs.replace(demand, budget_left=BudgetLeft())
        self.order_sync.plan_kept(key, kept)
        self.order_sync.account_usage(key, demand, workload, kept.shares)
        return True
