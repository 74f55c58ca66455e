"""What a workload's status says is ordered, and what that takes at its sites until they confirm.

The step after the status is written: plans for the dispatcher, room in flight, the tenant's quota.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.control.orders.build import order_id, ordered_of, orders_of
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.state.objects import Registry
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.sites import Sites
from scheduler.control.status import workload as statuses
from scheduler.control.status.migration import Share, SiteView, is_finished
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload

INCARNATION = "kapok.dev/incarnation"
"""Annotation that names one life of a workload in its order ids."""


@dataclass(slots=True)
class Ordering:
    """Keeps plans, room and quota in step with statuses.

    Attributes:
        registry: the hub's objects.
        sites: what is known of sites.
        dispatcher: who publishes orders.
        hub_id: names this hub in order ids.
        quotas: what placed workloads take of their tenants' quotas.
    """

    registry: Registry
    sites: Sites
    dispatcher: Dispatcher
    hub_id: str
    quotas: Quotas = field(default_factory=Quotas)
    _ordered_at: dict[WorkKey, set[str]] = field(default_factory=dict)

    def order_id(self, workload: Workload) -> str:
        """The id of a workload's orders, the same at every site."""
        meta = workload.metadata
        incarnation = meta.annotations.get(INCARNATION, "")
        return order_id(self.hub_id, meta.namespace, meta.name, incarnation)

    def view(self, site: str, name: str) -> SiteView:
        """What is known of an order at a site."""
        state = self.sites.states.get(site)
        word = state.word if state else None
        return SiteView(
            state=word.orders.get(name) if word else None,
            is_current=word is not None and self.dispatcher.is_listed(site, name, word),
            is_silent=state is None or not state.is_ready,
        )

    def plan(self, key: WorkKey, workload: Workload, shares: Mapping[str, Share]) -> None:
        """Tells the dispatcher what each site shall run, and nothing else."""
        tenant = self.registry.tenant_of(key[0])
        name = self.order_id(workload)
        known = {site: one for site in shares if (one := self.dispatcher.order_at(site, name))}
        self.dispatcher.set_orders(key, orders_of(workload, name, shares, tenant, known))

    def order(self, key: WorkKey, demand: Demand, workload: Workload) -> None:
        """What the status says is ordered; nothing else is."""
        shares = statuses.shares_of(workload.status)
        self.plan(key, workload, shares)
        self.hold(key, demand, workload, shares)
        self._release(key, self.order_id(workload), set(shares))

    def hold(
        self, key: WorkKey, demand: Demand, workload: Workload, shares: Mapping[str, Share]
    ) -> None:
        """What is ordered takes room until reports show it, and its part of the tenant's quota.

        A move is not the tenant's doing: replicas that are leaving count at their site, not in the
        quota.
        """
        name = self.order_id(workload)
        for site, share in shares.items():
            is_over = self._is_over(site, name, share)
            self.sites.order(site, name, None if is_over else ordered_of(demand, share))
        self.quotas.take(key, demand, {site: one.replicas for site, one in shares.items()})

    def withdraw(self, key: WorkKey, workload: Workload) -> list[str]:
        """Nothing is ordered any more.

        Returns:
            Sites that have not confirmed that they run nothing of it.
        """
        self.dispatcher.set_orders(key, {})
        name = self.order_id(workload)
        return [site for site in statuses.shares_of(workload.status) if self._runs(site, key, name)]

    def forget(self, key: WorkKey) -> None:
        """The workload is gone, and all that it held with it."""
        self._ordered_at.pop(key, None)
        self.quotas.give_back(key)
        self.dispatcher.set_orders(key, {})

    def _is_over(self, site: str, name: str, share: Share) -> bool:
        """Jobs that have ended hold no room and will not ask for any."""
        state = self.view(site, name).state
        return state is not None and is_finished(state) and state.generation >= share.generation

    def _release(self, key: WorkKey, name: str, here: set[str]) -> None:
        """Sites that the workload has left give its room back once they have confirmed that."""
        left = self._ordered_at.get(key, set()) - here
        gone = {site for site in left if not self._runs(site, key, name)}
        self._ordered_at[key] = (left - gone) | here

    def _runs(self, site: str, key: WorkKey, name: str) -> bool:
        state = self.sites.states.get(site)
        if state is None:
            return False
        gone = self.dispatcher.is_withdrawn(site, key, state.word)
        if gone:
            self.sites.order(site, name, None)
        return not gone
