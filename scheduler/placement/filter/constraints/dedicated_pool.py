"""Protection level 4 needs machines of its own."""

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import Event, Fields
from scheduler.placement.fleet.context import Moment

_NEEDS_POOL = 4


class DedicatedPool:
    """From level 4 on the grant must name a dedicated pool."""

    reason: Reason = "dedicated-pool"
    wakes: frozenset[Event] = frozenset({"grant", "workload"})

    question = Fields("protection_level")

    def holds(self, grant: Grant, demand: Demand) -> bool:
        """Whether it is there, if needed."""
        return grant.spec.dedicated_pool or demand.protection_level < _NEEDS_POOL

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says whether a pool is needed."""
        del moment
        if demand.protection_level < _NEEDS_POOL:
            return f"level {demand.protection_level} needs no dedicated pool"
        return (
            f"level {demand.protection_level} needs a dedicated pool; see the grant of {facts.name}"
        )


RULE = DedicatedPool()
