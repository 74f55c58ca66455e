"""Data of a class that needs an allow-list stays at sites whose grant lists the workload."""

from collections.abc import Hashable

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_LISTED = Message("not-allowed.listed", "the allowList of grant {grant} of {site} holds {workload}")
_LACKING = Message(
    "not-allowed.lacking",
    "{name} data goes to allow-listed sites only; the allowList of a grant of {site} must hold "
    "{workload}",
)
_NOT_NEEDED = Message("not-allowed.not-needed", "{name} data needs no allow-list")


class NotAllowed:
    """If the class needs an allow-list, the grant's must name workload, namespace or tenant."""

    reason: Reason = "not-allowed"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload", "scheme", "tenant"})

    def cache_key(self, demand: Demand) -> Hashable:
        """The names of which one must be in the list, if the class needs a list."""
        return _allow_list_names(demand) if demand.allow_list_only else None

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether the list names the workload, its namespace or its tenant, if a list is needed."""
        return not demand.allow_list_only or not _allow_list_names(demand).isdisjoint(
            grant.spec.allow_list
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says which entry the list needs."""
        listed = [
            grant.name for grant in valid_grants(facts, context) if self.allows(grant, demand)
        ]
        if demand.allow_list_only and listed:
            return _LISTED(grant=listed[0], site=facts.name, workload=demand.key)
        if demand.allow_list_only:
            return _LACKING(name=demand.data_class, site=facts.name, workload=demand.key)
        return _NOT_NEEDED(name=demand.data_class)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a list that names the workload."""
        grant, key = grant_to_change(refused), refused.demand.key
        had = () if grant is None else grant.spec.allow_list
        return change_grant(refused, "allowList", ", ".join(had), key, allow_list=(*had, key))


def _allow_list_names(demand: Demand) -> frozenset[str]:
    names = {demand.key, demand.namespace, f"{demand.namespace}/*", demand.tenant}
    return frozenset(names - {""})


RULE = NotAllowed()
