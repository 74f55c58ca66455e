"""A grant is valid from `validFrom` until just before `validUntil`."""

from datetime import timedelta
from math import inf

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.formatters import format_rfc3339_exact
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import (
    BoolPerSite,
    DemandFields,
    WakeEvent,
    has_any_grant,
    is_grant_valid,
    valid_grants,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.site_figures import epoch_seconds

_EXTENSION = timedelta(days=365)
"""How long a grant is extended for in a suggested change."""

_VALID = Message(
    "grant-expired.valid", "grant {grant} of {site} is valid until {until:iso|further notice}"
)
_NONE = Message("grant-expired.none", "{site} has no grant that could expire")
_NOT_NOW = Message(
    "grant-expired.not-now",
    "grant {grant} of {site} is not valid now, only from {begins:iso|further notice} until "
    "{ends:iso|further notice}",
)


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

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the grant and its dates."""
        del demand
        valid = valid_grants(facts, context)
        if valid:
            until = valid[0].spec.valid_until
            return _VALID(grant=valid[0].name, site=facts.name, until=until)
        if not facts.grants:
            return _NONE(site=facts.name)
        last = max(facts.grants, key=lambda each: epoch_seconds(each.spec.valid_until, inf))
        begins, ends = last.spec.valid_from, last.spec.valid_until
        return _NOT_NOW(grant=last.name, site=facts.name, begins=begins, ends=ends)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant that is valid now; None: there is no grant, or it is valid."""
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


RULE = GrantExpired()
