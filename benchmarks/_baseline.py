"""A decision by sums of free capacity, as multi-cluster schedulers make it, to compare speed."""

from time import thread_time

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import DATA_CLASSES
from scheduler.model.quantities import free_amount
from scheduler.placement.fleet.fleet import Fleet


class Baseline:
    """Filters sites one by one, estimates replicas from sums, scores and sorts."""

    def __init__(self, fleet: Fleet) -> None:
        self._sites = [(facts, _sums(facts)) for facts in fleet.all_facts()]

    def per_second(self, asked: list[Demand]) -> float:
        """Decisions per CPU second over some demands."""
        begun = thread_time()
        for demand in asked:
            self.decide(demand)
        return len(asked) / (thread_time() - begun)

    def decide(self, demand: Demand) -> dict[str, int]:
        """Replicas by site; empty: no site is feasible."""
        scored = []
        for facts, sums in self._sites:
            if not _is_allowed(facts, demand):
                continue
            room = min(sums.get(name, 0) // asked for name, asked in demand.requests.items())
            if room > 0:
                price = facts.spec.prices.energy_cny_per_kwh
                scored.append((0.0 if price is None else price, facts.name, room))
        shares: dict[str, int] = {}
        left = demand.replicas
        for _, name, room in sorted(scored):
            shares[name] = min(room, left)
            left -= shares[name]
            if left == 0:
                return shares
        return {}


def _sums(facts: SiteFacts) -> dict[str, int]:
    sums: dict[str, int] = {}
    for each in facts.status.node_classes:
        for row in each.free:
            for name, amount in row.items():
                sums[name] = sums.get(name, 0) + free_amount(name, amount)
    return sums


def _is_allowed(facts: SiteFacts, demand: Demand) -> bool:
    grant = facts.grants[0].spec
    if demand.data_class is None or facts.spec.cordon:
        return False
    return (
        DATA_CLASSES.index(grant.data_class) >= DATA_CLASSES.index(demand.data_class)
        and grant.protection_level >= demand.protection_level
        and set(demand.network_zones) <= set(grant.network_zones)
        and not (facts.spec.taints and not demand.site_tolerations)
    )
