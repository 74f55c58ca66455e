"""A site without a grant takes no work: only an authority can grant rights to a site."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent, has_any_grant
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class HasGrant:
    """At least one SiteGrant must name the site."""

    reason: Reason = "not-allowed"
    wake_events: frozenset[WakeEvent] = frozenset({"grant"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have any grant; `grant_expired` checks whether it is valid."""
        del demand, context
        return has_any_grant(fleet)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the grant, or says that there is none."""
        del demand, context
        if facts.grants:
            return f"{facts.name} has the grant {facts.grants[0].name}"
        return f"{facts.name} has no grant: an authority must write a SiteGrant that names it"


RULE = HasGrant()
