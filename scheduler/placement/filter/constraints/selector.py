"""A site's labels must match every selector: workload's, cluster policies', tenant's."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import site_labels

_NONE = b""


class SiteSelector:
    """All selectors must match; an empty one matches everything."""

    reason: Reason = "selector"
    wakes: frozenset[Event] = frozenset({"site", "workload", "tenant"})

    def question(self, demand: Demand) -> Hashable:
        """All selectors, as bytes."""
        return (
            _NONE
            if not demand.site_selectors and demand.tenant_sites.is_empty
            else canonical_json((demand.site_selectors, demand.tenant_sites))
        )

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at each site's labels."""
        del moment
        question = self.question(demand)
        if question == _NONE:
            return fleet.is_there
        return fleet.described(
            (self.reason, question), lambda facts: _matches(facts, demand), np.bool_
        )

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the first condition that does not hold."""
        del moment
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
