"""A site without a grant takes no work: only an authority can grant rights to a site."""

from typing import cast

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import MIN_LEVEL_WITH_DEDICATED_POOL, NetworkZone
from scheduler.model.kinds.rights import SiteGrantSpec
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent, has_any_grant
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_GRANTED = Message("has-grant.yes", "{site} has the grant {grant}")
_NONE = Message("has-grant.no", "{site} has no grant: an authority must create a SiteGrant for it")


class HasGrant:
    """At least one SiteGrant must name the site."""

    reason: Reason = "not-allowed"
    wake_events: frozenset[WakeEvent] = frozenset({"grant"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have any grant; `grant_expired` checks whether it is valid."""
        del demand, context
        return has_any_grant(fleet)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the grant, or says that there is none."""
        del demand, context
        if facts.grants:
            return _GRANTED(site=facts.name, grant=facts.grants[0].name)
        return _NONE(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant for a site that has none, with what the workload needs and no more."""
        demand, facts = refused.demand, refused.facts
        spec = SiteGrantSpec(
            sites=(facts.name,),
            data_class=demand.data_class or "general-1",
            protection_level=demand.protection_level,
            network_zones=cast("tuple[NetworkZone, ...]", demand.network_zones),
            jurisdiction=facts.spec.location.province,
            dedicated_pool=demand.protection_level >= MIN_LEVEL_WITH_DEDICATED_POOL,
            allow_list=(demand.key,) if demand.allow_list_only else (),
        )
        shown = [spec.data_class, f"level {spec.protection_level}", *spec.network_zones]
        change = SuggestedChange(
            kind="grant.sites",
            target=f"a SiteGrant for {facts.name}",
            to=", ".join([*shown, spec.jurisdiction]).rstrip(", "),
        )
        return Fix(change=change, facts=replace(facts, grants=(Grant(name="(new)", spec=spec),)))


RULE = HasGrant()
