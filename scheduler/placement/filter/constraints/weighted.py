"""Under the strategy Weighted with a list of weights, only sites with a weight get replicas."""

from collections.abc import Hashable

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.policy import SiteWeight
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_NONE = Message("weighted.none", "the workload names no weights")
_HAS = Message("weighted.yes", "{site} has the weight {weight:n}")
_LACKS = Message("weighted.no", "{site} has no weight; sites with a weight: {sites:list}")


class HasWeight:
    """A site that the list does not name, or names with weight 0, gets no new replicas."""

    reason: Reason = "selector"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """The weights, under the strategy Weighted."""
        return demand.weights if demand.strategy == "Weighted" else ()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have a weight."""
        del context
        if self.cache_key(demand) == ():
            return fleet.has_site
        weights = _positive_weights(demand)
        return fleet.description_column(
            (type(self).__name__, demand.weights), lambda facts: facts.name in weights, np.bool_
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the sites that have a weight."""
        del context
        if self.cache_key(demand) == ():
            return _NONE()
        weights = _positive_weights(demand)
        if facts.name in weights:
            return _HAS(site=facts.name, weight=weights[facts.name])
        return _LACKS(site=facts.name, sites=tuple(sorted(weights)))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a weight for the site."""
        name = refused.facts.name
        others = tuple(each for each in refused.demand.weights if each.site != name)
        weights = (*others, SiteWeight(site=name, weight=1))
        return change_workload(
            "weights", "", f"{name}: 1", replace(refused.demand, weights=weights)
        )


def _positive_weights(demand: Demand) -> dict[str, int]:
    return {each.site: each.weight for each in demand.weights if each.weight > 0}


RULE = HasWeight()
