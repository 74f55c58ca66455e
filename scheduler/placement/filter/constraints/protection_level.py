"""A site must be certified for the workload's protection level (GB/T 22239); level 5 is refused."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import NEVER_SCHEDULED_LEVEL
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_NEVER = Message("protection-level.never", "protection level 5 is never scheduled")
_NO_GRANT = Message(
    "protection-level.no-grant", "{site} has no valid grant, so it is certified for nothing"
)
_COMPARED = Message(
    "protection-level.compared", "{site} is certified for level {most:n}; this needs {needed:n}"
)


class ProtectionLevel:
    """The grant's level must be at least the higher of the workload's and its class's."""

    reason: Reason = "protection-level"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload", "scheme"})

    cache_key = DemandFields("protection_level")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Compares levels."""
        level = demand.protection_level
        return level < NEVER_SCHEDULED_LEVEL and grant.spec.protection_level >= level

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names both levels."""
        if demand.protection_level >= NEVER_SCHEDULED_LEVEL:
            return _NEVER()
        levels = [grant.spec.protection_level for grant in valid_grants(facts, context)]
        most = max(levels, default=None)
        if most is None:
            return _NO_GRANT(site=facts.name)
        return _COMPARED(site=facts.name, most=most, needed=demand.protection_level)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a certificate of the level."""
        wanted, grant = refused.demand.protection_level, grant_to_change(refused)
        was = "" if grant is None else str(grant.spec.protection_level)
        return change_grant(refused, "protectionLevel", was, str(wanted), protection_level=wanted)


RULE = ProtectionLevel()
