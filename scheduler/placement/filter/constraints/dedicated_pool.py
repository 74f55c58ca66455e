"""Protection level 4 needs machines of its own."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant
from scheduler.placement.filter.rules import DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext

_MIN_LEVEL_WITH_POOL = 4


class DedicatedPool:
    """From level 4 on the grant must name a dedicated pool."""

    reason: Reason = "dedicated-pool"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload"})

    cache_key = DemandFields("protection_level")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether it is there, if needed."""
        return grant.spec.dedicated_pool or demand.protection_level < _MIN_LEVEL_WITH_POOL

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Says whether a pool is needed."""
        del context
        if demand.protection_level < _MIN_LEVEL_WITH_POOL:
            return f"level {demand.protection_level} needs no dedicated pool"
        return (
            f"level {demand.protection_level} needs a dedicated pool; see the grant of {facts.name}"
        )

    def fix(self, refused: RefusedSite) -> Fix | None:
        """A grant with a dedicated pool."""
        return change_grant(refused, "dedicatedPool", "false", "true", dedicated_pool=True)


RULE = DedicatedPool()
