"""What a workload's status says is ordered, and what that takes at its sites until they confirm.

The step after the status is written: plans for the dispatcher, room in flight, the tenant's quota.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.control.orders.build import format_order_id, ordered_of, orders_of
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.sites import Sites
from scheduler.control.status import workload as statuses
from scheduler.control.status.migration import SiteShare, SiteView, is_finished
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload

INCARNATION_ANNOTATION = "kapok.dev/incarnation"
"""Annotation that names one life of a workload in its order ids."""


@dataclass(slots=True)
class OrderSync:
    """Keeps plans, room and quota in step with statuses.

    Attributes:
        objects: the hub's objects.
        sites: what is known of sites.
        dispatcher: who publishes orders.
        hub_id: names this hub in order ids.
        quotas: what placed workloads take of their tenants' quotas.
    """

    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    hub_id: str
    quotas: Quotas = field(default_factory=Quotas)
    _sites_ordered: dict[WorkKey, set[str]] = field(default_factory=dict)

    def order_id(self, workload: Workload) -> str:
        """The id of a workload's orders, the same at every site."""
        meta = workload.metadata
        incarnation = meta.annotations.get(INCARNATION_ANNOTATION, "")
        return format_order_id(self.hub_id, meta.namespace, meta.name, incarnation)

    def site_view(self, site: str, order_id: str) -> SiteView:
        """What is known of an order at a site."""
        state = self.sites.states.get(site)
        word = state.order_status if state else None
        return SiteView(
            state=word.orders.get(order_id) if word else None,
            is_current=word is not None and self.dispatcher.is_listed(site, order_id, word),
            is_silent=state is None or not state.is_ready,
        )

    def plan_orders(
        self, key: WorkKey, workload: Workload, shares: Mapping[str, SiteShare]
    ) -> None:
        """Tells the dispatcher what each site shall run, and nothing else."""
        tenant = self.objects.tenant_of(key[0])
        name = self.order_id(workload)
        known = {site: one for site in shares if (one := self.dispatcher.order_at(site, name))}
        self.dispatcher.set_orders(key, orders_of(workload, name, shares, tenant, known))

    def sync_orders(self, key: WorkKey, demand: Demand, workload: Workload) -> None:
        """What the status says is ordered; nothing else is."""
        shares = statuses.shares_of(workload.status)
        self.plan_orders(key, workload, shares)
        self.account_usage(key, demand, workload, shares)
        self._release_left_sites(key, self.order_id(workload), set(shares))

    def account_usage(
        self, key: WorkKey, demand: Demand, workload: Workload, shares: Mapping[str, SiteShare]
    ) -> None:
        """What is ordered takes room until reports show it, and its part of the tenant's quota.

        A move is not the tenant's doing: replicas that are leaving count at their site, not in the
        quota.
        """
        name = self.order_id(workload)
        for site, share in shares.items():
            is_over = self._is_finished(site, name, share)
            self.sites.set_order(site, name, None if is_over else ordered_of(demand, share))
        self.quotas.set_usage(key, demand, {site: one.replicas for site, one in shares.items()})

    def withdraw(self, key: WorkKey, workload: Workload) -> list[str]:
        """Nothing is ordered any more.

        Returns:
            Sites that have not confirmed that they run nothing of it.
        """
        self.dispatcher.set_orders(key, {})
        name = self.order_id(workload)
        return [
            site
            for site in statuses.shares_of(workload.status)
            if self._still_runs(site, key, name)
        ]

    def forget(self, key: WorkKey) -> None:
        """The workload is gone, and all that it held with it."""
        self._sites_ordered.pop(key, None)
        self.quotas.release(key)
        self.dispatcher.set_orders(key, {})

    def _is_finished(self, site: str, order_id: str, share: SiteShare) -> bool:
        """Jobs that have ended hold no room and will not ask for any."""
        state = self.site_view(site, order_id).state
        return state is not None and is_finished(state) and state.generation >= share.generation

    def _release_left_sites(self, key: WorkKey, order_id: str, current_sites: set[str]) -> None:
        """Sites that the workload has left give its room back once they have confirmed that."""
        left = self._sites_ordered.get(key, set()) - current_sites
        gone = {site for site in left if not self._still_runs(site, key, order_id)}
        self._sites_ordered[key] = (left - gone) | current_sites

    def _still_runs(self, site: str, key: WorkKey, order_id: str) -> bool:
        state = self.sites.states.get(site)
        if state is None:
            return False
        gone = self.dispatcher.is_withdrawn(site, key, state.order_status)
        if gone:
            self.sites.set_order(site, order_id, None)
        return not gone
