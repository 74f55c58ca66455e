"""A site must offer every network zone that the workload names; `classified` is always refused."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import NEVER_SCHEDULED_ZONE
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_CLASSIFIED = Message(
    "network-zone.classified", "work for the classified network is never scheduled here"
)
_COMPARED = Message(
    "network-zone.compared", "{site} offers {offers:list|no zone}; this needs {needed:list|no zone}"
)


class NetworkZone:
    """The grant's zones must include all zones of the workload."""

    reason: Reason = "network-zone"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload"})

    cache_key = DemandFields("network_zones")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether the grant has all zones."""
        zones = set(demand.network_zones)
        return NEVER_SCHEDULED_ZONE not in zones and zones <= set(grant.spec.network_zones)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the zones that the site offers, and those that are needed."""
        if NEVER_SCHEDULED_ZONE in demand.network_zones:
            return _CLASSIFIED()
        offers = sorted(
            {each for grant in valid_grants(facts, context) for each in grant.spec.network_zones}
        )
        return _COMPARED(site=facts.name, offers=tuple(offers), needed=tuple(demand.network_zones))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant with the zones that are missing."""
        grant = grant_to_change(refused)
        had = () if grant is None else grant.spec.network_zones
        wanted = tuple(sorted({*had, *refused.demand.network_zones}))
        return change_grant(
            refused, "networkZones", ", ".join(had), ", ".join(wanted), network_zones=wanted
        )


RULE = NetworkZone()
