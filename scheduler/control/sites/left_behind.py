"""What is left of workloads at sites that they have left: by order id, by site, by workload."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scheduler.model.kinds.metadata import WorkKey


@dataclass(slots=True)
class LeftBehind:
    """Finds workloads that wait for a site, and sites that keep claims, without a scan of all."""

    _claim_sites: dict[str, set[str]] = field(default_factory=dict)
    _workloads: dict[str, dict[WorkKey, bool]] = field(default_factory=dict)
    _sites: dict[WorkKey, frozenset[str]] = field(default_factory=dict)

    def on_claims(self, site: str, before: Iterable[str], after: Iterable[str]) -> None:
        """Takes in of which orders a site keeps claims, until now and from now on."""
        for order_id in before:
            sites = self._claim_sites.get(order_id, set())
            sites.discard(site)
            if not sites:
                self._claim_sites.pop(order_id, None)
        for order_id in after:
            self._claim_sites.setdefault(order_id, set()).add(site)

    def claim_sites(self, order_id: str) -> frozenset[str]:
        """The sites that keep claims of an order."""
        return frozenset(self._claim_sites.get(order_id, ()))

    def record(self, key: WorkKey, confirmed: Mapping[str, bool]) -> None:
        """Records where something of a workload is left.

        Args:
            key: namespace and name.
            confirmed: by site, whether it has confirmed that only claims are left.
        """
        for site in self._sites.pop(key, frozenset()):
            self._workloads[site].pop(key, None)
            if not self._workloads[site]:
                del self._workloads[site]
        for site, is_confirmed in confirmed.items():
            self._workloads.setdefault(site, {})[key] = is_confirmed
        if confirmed:
            self._sites[key] = frozenset(confirmed)

    def workloads_at(self, site: str) -> list[WorkKey]:
        """The workloads of which something is left at a site."""
        return list(self._workloads.get(site, ()))

    def unconfirmed_at(self, site: str) -> list[WorkKey]:
        """The workloads that wait for a site to confirm that they are gone there."""
        keys = self._workloads.get(site, {})
        return [key for key, is_confirmed in keys.items() if not is_confirmed]
