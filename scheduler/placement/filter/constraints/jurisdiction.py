"""Data stays in the jurisdictions that its owner and its class permit (ISO 3166-2 codes).

`CN` admits the mainland only: Hong Kong and Macao are HK and MO. For a class whose data stays in
its province, the province must be known: one `CN-…` in `spec.jurisdictions`, or the tenant's.
"""

from collections.abc import Hashable

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.jurisdictions import admits, problem_of
from scheduler.model.kinds.rights import data_class_rule_of
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.rules import WakeEvent, valid_grants
from scheduler.placement.fleet.context import DecisionContext

_NO_HOME = Message(
    "jurisdiction.no-home",
    "{name} data must stay in its province, which is unknown; set one province in "
    "spec.jurisdictions, such as CN-GD",
)
_NO_PLACE = Message(
    "jurisdiction.no-place", "grant {grant} of {site} names no place: {problem:said}"
)
_COMPARED = Message(
    "jurisdiction.compared",
    "{site} is granted for {places:list|nowhere}; the workload may run in "
    "{permitted:and|any place}",
)
_ONE_OF = Message("jurisdiction.one-of", "{places:or}")


class Jurisdiction:
    """The workload, its class and its home province must admit the grant's jurisdiction."""

    reason: Reason = "jurisdiction"
    wake_events: frozenset[WakeEvent] = frozenset({"grant", "workload", "scheme", "tenant"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Every list that must admit the jurisdiction, and the home province if it counts."""
        return (demand.jurisdictions, demand.home if demand.same_province else None)

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether every list admits the grant's jurisdiction, and that is the code of a place."""
        place = grant.spec.jurisdiction
        if problem_of(place):
            return False
        if demand.same_province and (not demand.home or place != demand.home):
            return False
        return all(any(admits(entry, place) for entry in each) for each in demand.jurisdictions)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the jurisdictions of the site's grants, and those that are permitted."""
        if demand.same_province and not demand.home:
            return _NO_HOME(name=demand.data_class)
        grants = valid_grants(facts, context)
        if grants and all(problem_of(grant.spec.jurisdiction) for grant in grants):
            problem = problem_of(grants[0].spec.jurisdiction)
            return _NO_PLACE(grant=grants[0].name, site=facts.name, problem=problem)
        places = sorted(
            {grant.spec.jurisdiction for grant in grants}, key=lambda place: place or "nowhere"
        )
        asked = [_ONE_OF(places=tuple(each)) for each in demand.jurisdictions]
        asked += [_ONE_OF(places=(demand.home,))] if demand.same_province else []
        return _COMPARED(site=facts.name, places=tuple(places), permitted=tuple(asked))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests lists with the site's place, or that place as the home of bound data."""
        grant, demand = grant_to_change(refused), refused.demand
        place = "" if grant is None else grant.spec.jurisdiction
        if grant is not None and problem_of(place):
            right = refused.facts.spec.location.province
            if not right or problem_of(right):
                return None
            return change_grant(refused, "jurisdiction", place, right, jurisdiction=right)
        if not place:
            return None
        if demand.same_province and not demand.home:
            return change_workload("jurisdictions", "", place, replace(demand, home=place))
        law = data_class_rule_of(None, demand.data_class or "core").jurisdictions
        lists = [each if each == law else (*each, place) for each in demand.jurisdictions]
        if lists == list(demand.jurisdictions):  # only the law's own list is in the way
            return None
        was = ", ".join(next(each for each in demand.jurisdictions if each != law))
        wider = replace(demand, jurisdictions=tuple(lists))
        return change_workload("jurisdictions", was, f"{was}, {place}", wider)


RULE = Jurisdiction()
