"""Taints of a site keep workloads away that do not tolerate them, as taints of nodes keep pods."""

import numpy as np

from scheduler.model.demand.demand import Demand, any_tolerates
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_taints import tolerate_site_taints
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_TAINTED = Message("taint.yes", "{site} has the taint {taints:list}, which is not tolerated")
_TOLERATED = Message("taint.no", "every taint of {site} is tolerated")


class SiteTaint:
    """NoSchedule and NoExecute must be tolerated; PreferNoSchedule refuses no workload."""

    reason: Reason = "taint"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload"})

    cache_key = DemandFields("site_tolerations")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have only taints that are tolerated."""
        del context
        return fleet.description_column(
            (self.reason, demand.site_tolerations),
            lambda facts: not _untolerated_taints(facts, demand),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the taints that are not tolerated."""
        del context
        blocking = _untolerated_taints(facts, demand)
        if blocking:
            return _TAINTED(site=facts.name, taints=tuple(blocking))
        return _TOLERATED(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests tolerations of the taints that keep the workload away, and of no others."""
        return tolerate_site_taints(refused)


def _untolerated_taints(facts: SiteFacts, demand: Demand) -> list[str]:
    return [
        f"{taint.key}{'=' if taint.value else ''}{taint.value}:{taint.effect}"
        for taint in facts.spec.taints
        if taint.effect != "PreferNoSchedule" and not any_tolerates(demand.site_tolerations, taint)
    ]


RULE = SiteTaint()
