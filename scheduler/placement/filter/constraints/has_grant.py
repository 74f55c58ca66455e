"""A site without any grant takes nothing: nobody grants himself anything."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent, has_any_grant
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class HasGrant:
    """Some SiteGrant must name the site."""

    reason: Reason = "not-allowed"
    wake_events: frozenset[WakeEvent] = frozenset({"grant"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Looks for any grant; whether it still holds is another rule's."""
        del demand, context
        return has_any_grant(fleet)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Says what is missing."""
        del demand, context
        if facts.grants:
            return f"{facts.name} has the grant {facts.grants[0].name}"
        return f"{facts.name} has no grant: an authority must write a SiteGrant that names it"


RULE = HasGrant()
