"""A NoExecute taint whose `tolerationSeconds` have passed keeps new work away too.

Kubernetes evicts such a pod as soon as it is bound (core/v1 `tolerationSeconds`, counted from the
taint's `timeAdded`), so it would be placed and evicted again and again.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_taints import tolerate_site_taints
from scheduler.placement.filter.retention import is_evicted_by_taint
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_EVICTS = Message("taint-time.yes", "a NoExecute taint of {site} is not, or no longer, tolerated")
_STAYS = Message("taint-time.no", "no taint of {site} evicts the workload now")


class TaintTime:
    """Refuses sites whose taints would evict the workload at once."""

    reason: Reason = "taint"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Not cached: the answer depends on the time."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks only sites with NoExecute taints, and only if some toleration is limited."""
        if not demand.site_tolerations or all(
            each.toleration_seconds is None for each in demand.site_tolerations
        ):
            return fleet.has_site
        tainted = fleet.description_column("no-execute", _has_no_execute_taint, np.bool_)
        passes = fleet.has_site.copy()
        for slot in np.flatnonzero(tainted & fleet.has_site).tolist():
            facts = fleet.facts[slot]
            passes[slot] = facts is not None and not is_evicted_by_taint(facts, demand, context)
        return passes

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says whether a taint evicts the workload now."""
        if is_evicted_by_taint(facts, demand, context):
            return _EVICTS(site=facts.name)
        return _STAYS(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests tolerations of the taints that keep the workload away, and of no others."""
        return tolerate_site_taints(refused)


def _has_no_execute_taint(facts: SiteFacts) -> bool:
    return any(taint.effect == "NoExecute" for taint in facts.spec.taints)


RULE = TaintTime()
