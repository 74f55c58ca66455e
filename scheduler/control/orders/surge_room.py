"""Room for the pods that run beside the old ones while a rollout changes the content of a site.

A report shows an order's pods as bound without saying which are of the new content. So surge is in
flight by itself, from the order until the site is ready with it: for a moment a surge pod that is
bound already counts twice, and never not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from scheduler.control.orders.build import ordered_of
from scheduler.control.sites.sites import Sites
from scheduler.control.status.migration import SiteShare
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import OrderGeneration
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.rollout.surge import surge_of

_SURGE = "#surge"
"""Follows the id of an order; no order has such an id."""


@dataclass(slots=True)
class SurgeRoom:
    """Keeps room for surge at the sites that a rollout changes.

    Attributes:
        sites: where it is in flight.
    """

    sites: Sites
    _held: dict[WorkKey, dict[str, str]] = field(default_factory=dict)

    def hold(
        self,
        key: WorkKey,
        order_id: str,
        workload: Workload,
        demand: Demand,
        shares: Mapping[str, SiteShare],
    ) -> None:
        """Keeps room at sites that got the new content and were not ready with it since."""
        wanted = self._wanted(workload, demand, shares)
        held = self._held.get(key, {})
        for site in held.keys() - wanted.keys():
            self.sites.set_order(site, held[site], None)
        for site, ordered in wanted.items():
            self.sites.set_order(site, order_id + _SURGE, ordered)
        if wanted:
            self._held[key] = dict.fromkeys(wanted, order_id + _SURGE)
        else:
            self._held.pop(key, None)

    def release(self, key: WorkKey) -> None:
        """Gives back all that is kept for a workload."""
        for site, surge_id in self._held.pop(key, {}).items():
            self.sites.set_order(site, surge_id, None)

    def _wanted(
        self, workload: Workload, demand: Demand, shares: Mapping[str, SiteShare]
    ) -> dict[str, OrderGeneration]:
        status = workload.status
        if status.rollout is None or status.former_accepted is None:
            return {}
        wanted: dict[str, OrderGeneration] = {}
        for site, share in shares.items():
            surge = surge_of(workload.spec.manifests, share.replicas)
            if surge and not share.is_former and not share.has_run:
                pods = surge * sum(one.count for one in demand.unit)
                ordered = ordered_of(demand, share)
                wanted[site] = msgspec.structs.replace(ordered, replicas=pods)
        return wanted
