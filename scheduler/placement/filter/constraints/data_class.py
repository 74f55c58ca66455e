"""Data stays at or below the class that the authority granted a site (GB/T 43697-2024)."""

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.kinds.fields import DATA_CLASSES, NEVER_SCHEDULED_CLASS
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import DemandFields, WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_RANK = {name: rank for rank, name in enumerate(DATA_CLASSES)}

_NEVER = Message("data-class.core", "core data is never scheduled; run it where it is")
_TENANT = Message("data-class.tenant", "tenant {tenant} may not use {name} data")
_NO_GRANT = Message("data-class.no-grant", "{site} has no valid grant, so it may hold nothing")
_COMPARED = Message(
    "data-class.compared", "{site} may hold up to {most}; this is {name|unlabelled}"
)


class DataClass:
    """The grant's class must be at least the workload's; core data is never scheduled."""

    reason: Reason = "data-class"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload", "scheme", "tenant"})

    cache_key = DemandFields("data_class", "class_not_allowed")

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Compares ranks; a workload without a class is refused by `data_class_missing`."""
        if demand.data_class is None:
            return True
        if demand.data_class == NEVER_SCHEDULED_CLASS or demand.class_not_allowed:
            return False
        return _RANK[grant.spec.data_class] >= _RANK[demand.data_class]

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names both classes."""
        if demand.data_class == NEVER_SCHEDULED_CLASS:
            return _NEVER()
        if demand.class_not_allowed:
            return _TENANT(tenant=demand.tenant, name=demand.data_class)
        ranks = [_RANK[grant.spec.data_class] for grant in valid_grants(facts, context)]
        if not ranks:
            return _NO_GRANT(site=facts.name)
        most = DATA_CLASSES[max(ranks)]
        return _COMPARED(site=facts.name, most=most, name=demand.data_class)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a grant of the class, or a tenant that may bring it."""
        wanted, grant = refused.demand.data_class, grant_to_change(refused)
        if wanted is None or grant is None:
            return None
        if refused.demand.class_not_allowed:
            change = SuggestedChange(
                kind="tenant.classes", target=f"Tenant {refused.demand.tenant}", to=wanted
            )
            return Fix(change=change, demand=replace(refused.demand, class_not_allowed=False))
        return change_grant(refused, "dataClass", grant.spec.data_class, wanted, data_class=wanted)


RULE = DataClass()
