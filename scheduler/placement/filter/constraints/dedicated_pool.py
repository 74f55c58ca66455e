"""Protection level 4 needs dedicated machines (GB/T 22239)."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import MIN_LEVEL_WITH_DEDICATED_POOL
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant
from scheduler.placement.filter.rules import DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_NOT_NEEDED = Message("dedicated-pool.not-needed", "level {level:n} needs no dedicated pool")
_STATED = Message(
    "dedicated-pool.stated", "level {level:n} needs a dedicated pool; a grant of {site} states one"
)
_LACKING = Message(
    "dedicated-pool.lacking",
    "level {level:n} needs a dedicated pool; a grant of {site} must state one",
)


class DedicatedPool:
    """From level 4 on, the grant must state a dedicated pool."""

    reason: Reason = "dedicated-pool"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload"})

    cache_key = DemandFields("protection_level")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether the grant has a dedicated pool, or the level needs none."""
        return grant.spec.dedicated_pool or demand.protection_level < MIN_LEVEL_WITH_DEDICATED_POOL

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says whether a pool is needed."""
        if demand.protection_level < MIN_LEVEL_WITH_DEDICATED_POOL:
            return _NOT_NEEDED(level=demand.protection_level)
        states = any(grant.spec.dedicated_pool for grant in valid_grants(facts, context))
        message = _STATED if states else _LACKING
        return message(level=demand.protection_level, site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant with a dedicated pool."""
        return change_grant(refused, "dedicatedPool", "false", "true", dedicated_pool=True)


RULE = DedicatedPool()
