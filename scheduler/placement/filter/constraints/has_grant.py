"""A site without any grant takes nothing: nobody grants himself anything."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class HasGrant:
    """Some SiteGrant must name the site."""

    reason: Reason = "not-allowed"
    wakes: frozenset[Event] = frozenset({"grant"})

    question = Fields()

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks for any grant; whether it still holds is another rule's."""
        del demand, moment
        return fleet.described("has-grant", lambda facts: bool(facts.grants), np.bool_)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says what is missing."""
        del demand, moment
        if facts.grants:
            return f"{facts.name} has the grant {facts.grants[0].name}"
        return f"{facts.name} has no grant: an authority must write a SiteGrant that names it"


RULE = HasGrant()
