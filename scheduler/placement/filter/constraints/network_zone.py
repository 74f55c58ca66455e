"""A site must offer every network zone that the workload names; classified is always refused."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import Event, Fields, valid_grants
from scheduler.placement.fleet.context import Moment

_NEVER = "classified"


class NetworkZone:
    """The grant's zones must include the workload's."""

    reason: Reason = "network-zone"
    wakes: frozenset[Event] = frozenset({"grant", "workload"})

    question = Fields("network_zones")

    def holds(self, grant: Grant, demand: Demand) -> bool:
        """Whether all zones are there."""
        zones = set(demand.network_zones)
        return _NEVER not in zones and zones <= set(grant.spec.network_zones)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names what is missing."""
        if _NEVER in demand.network_zones:
            return "work for the classified network is never scheduled here"
        offers = sorted(
            {each for grant in valid_grants(facts, moment) for each in grant.spec.network_zones}
        )
        asked = ", ".join(demand.network_zones) or "no zone"
        return f"{facts.name} offers {', '.join(offers) or 'no zone'}; this needs {asked}"


RULE = NetworkZone()
