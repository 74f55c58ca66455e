"""Protection level 4 needs dedicated machines (GB/T 22239)."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import MIN_LEVEL_WITH_DEDICATED_POOL
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant
from scheduler.placement.filter.rules import DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext


class DedicatedPool:
    """From level 4 on, the grant must state a dedicated pool."""

    reason: Reason = "dedicated-pool"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload"})

    cache_key = DemandFields("protection_level")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether the grant has a dedicated pool, or the level needs none."""
        return grant.spec.dedicated_pool or demand.protection_level < MIN_LEVEL_WITH_DEDICATED_POOL

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Says whether a pool is needed."""
        if demand.protection_level < MIN_LEVEL_WITH_DEDICATED_POOL:
            return f"level {demand.protection_level} needs no dedicated pool"
        states = any(grant.spec.dedicated_pool for grant in valid_grants(facts, context))
        what = "states one" if states else "must state one"
        return (
            f"level {demand.protection_level} needs a dedicated pool; "
            f"a grant of {facts.name} {what}"
        )

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant with a dedicated pool."""
        return change_grant(refused, "dedicatedPool", "false", "true", dedicated_pool=True)


RULE = DedicatedPool()
