"""A grant counts from `validFrom` until just before `validUntil`."""

from datetime import datetime

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class GrantExpired:
    """At least one grant must hold now."""

    reason: Reason = "grant-expired"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "time"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Sites without any grant pass here: that is another rule's to say."""
        del demand
        has_any = fleet.description_column("has-grant", lambda facts: bool(facts.grants), np.bool_)
        holds: BoolPerSite = (fleet.valid_grant_bits(context.now_seconds) != 0) | ~has_any
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
        last = max(facts.grants, key=lambda each: _epoch_seconds(each.spec.valid_until))
        return (
            f"grant {last.name} of {facts.name} holds from {_format_instant(last.spec.valid_from)} "
            f"until {_format_instant(last.spec.valid_until)}"
        )


def _epoch_seconds(instant: datetime | None) -> float:
    return float("inf") if instant is None else instant.timestamp()


def _format_instant(instant: datetime | None) -> str:
    return "further notice" if instant is None else instant.isoformat()


RULE = GrantExpired()
