"""A grant counts from `validFrom` until just before `validUntil`."""

from datetime import datetime, timedelta

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.formatters import format_rfc3339_exact
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import (
    BoolPerSite,
    DemandFields,
    WakeEvent,
    is_grant_valid,
    valid_grants,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_EXTENSION = timedelta(days=365)
"""How long a grant is extended for in a suggested change."""


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

    def fix(self, refused: RefusedSite) -> Fix | None:
        """A grant that is valid now; None: there is no grant, or it is valid."""
        grant, now = grant_to_change(refused), refused.context.now
        if grant is None or is_grant_valid(grant, refused.context):
            return None
        begins, ends = grant.spec.valid_from, grant.spec.valid_until
        if begins is not None and begins > now:
            was, becomes = format_rfc3339_exact(begins), format_rfc3339_exact(now)
            return change_grant(refused, "validFrom", was, becomes, valid_from=now)
        later = now + _EXTENSION
        was = "" if ends is None else format_rfc3339_exact(ends)
        becomes = format_rfc3339_exact(later)
        return change_grant(refused, "validUntil", was, becomes, valid_until=later)


def _epoch_seconds(instant: datetime | None) -> float:
    return float("inf") if instant is None else instant.timestamp()


def _format_instant(instant: datetime | None) -> str:
    return "further notice" if instant is None else instant.isoformat()


RULE = GrantExpired()
