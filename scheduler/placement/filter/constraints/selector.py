"""A site's labels must match every selector: workload's, cluster policies', tenant's."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import site_labels

_NO_SELECTORS = b""


class SiteSelector:
    """All selectors must match; an empty one matches everything."""

    reason: Reason = "selector"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload", "tenant"})

    def cache_key(self, demand: Demand) -> Hashable:
        """All selectors, as bytes."""
        return (
            _NO_SELECTORS
            if not demand.site_selectors and demand.tenant_sites.is_empty
            else canonical_json((demand.site_selectors, demand.tenant_sites))
        )

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites' labels match."""
        del context
        cache_key = self.cache_key(demand)
        if cache_key == _NO_SELECTORS:
            return fleet.has_site
        return fleet.description_column(
            (self.reason, cache_key), lambda facts: _matches(facts, demand), np.bool_
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the first condition that is not met."""
        del context
        labels = site_labels(facts)
        for selector in (*demand.site_selectors, demand.tenant_sites):
            for key, value in selector.match_labels.items():
                if labels.get(key) != value:
                    return f"{facts.name} has {key}={labels.get(key, '(none)')}; asked is {value}"
            if not selector.matches(labels):
                asked = ", ".join(
                    f"{each.key} {each.operator} {list(each.values) or ''}".strip()
                    for each in selector.match_expressions
                )
                return f"the labels of {facts.name} do not meet: {asked}"
        return f"the labels of {facts.name} match"


def _matches(facts: SiteFacts, demand: Demand) -> bool:
    labels = site_labels(facts)
    return demand.tenant_sites.matches(labels) and all(
        each.matches(labels) for each in demand.site_selectors
    )


RULE = SiteSelector()
