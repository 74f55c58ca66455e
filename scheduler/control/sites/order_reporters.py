"""Which sites report an order, without a scan of all sites."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from scheduler.control.sites.site_state import SiteState


@dataclass(slots=True)
class OrderReporters:
    """Finds the sites whose last status names an order.

    New work is reported nowhere, and placed work by a few sites. A workload that is decided asks
    for them several times, so a look at all sites would cost a large fleet more than the decision.
    """

    _sites: dict[str, set[str]] = field(default_factory=dict)

    def on_orders(self, site: str, before: AbstractSet[str], after: AbstractSet[str]) -> None:
        """Takes in which orders a site reports, until now and from now on."""
        for order_id in before - after:
            sites = self._sites.get(order_id)
            if sites is not None:
                sites.discard(site)
                if not sites:
                    del self._sites[order_id]
        for order_id in after - before:
            self._sites.setdefault(order_id, set()).add(site)

    def forget(self, site: str, orders: Iterable[str]) -> None:
        """Forgets a site that is gone, which reported these orders last."""
        self.on_orders(site, frozenset(orders), frozenset())

    def states_of(self, order_id: str, states: Mapping[str, SiteState]) -> dict[str, SiteState]:
        """What these sites have reported, by name; of all states only those that name the order."""
        sites = self._sites.get(order_id)
        if not sites:
            return {}
        return {site: states[site] for site in sorted(sites) if site in states}
