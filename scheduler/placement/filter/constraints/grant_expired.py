"""A grant is valid from `validFrom` until just before `validUntil`."""

from datetime import datetime
from math import inf

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import (
    BoolPerSite,
    DemandFields,
    WakeEvent,
    has_any_grant,
    valid_grants,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_figures import epoch_seconds


class GrantExpired:
    """At least one grant must be valid now."""

    reason: Reason = "grant-expired"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "time"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have a valid grant, or none at all: those are refused by `has_grant`."""
        del demand
        has_valid_grant = fleet.grants.valid_bits(context.now_seconds) != 0
        holds: BoolPerSite = has_valid_grant | ~has_any_grant(fleet)
        return holds

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the grant and its dates."""
        del demand
        valid = valid_grants(facts, context)
        if valid:
            until = _format_instant(valid[0].spec.valid_until)
            return f"grant {valid[0].name} of {facts.name} holds until {until}"
        if not facts.grants:
            return f"{facts.name} has no grant that could expire"
        last = max(facts.grants, key=lambda each: epoch_seconds(each.spec.valid_until, inf))
        return (
            f"grant {last.name} of {facts.name} holds from {_format_instant(last.spec.valid_from)} "
            f"until {_format_instant(last.spec.valid_until)}"
        )


def _format_instant(instant: datetime | None) -> str:
    return "further notice" if instant is None else instant.isoformat()


RULE = GrantExpired()
