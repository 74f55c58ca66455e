"""Workload affinity: workloads that run together, or apart, by site, metro, province and so on."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Companion, Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import domain_of

_NONE = Message("companion.none", "the workload has no affinity to others")
_ASKED = Message("companion.asked", "{site}: the workload must run {asked:and}")
_WITH = Message("companion.with", "with what runs at {sites:list|no site yet} (by {by})")
_APART = Message("companion.apart", "apart from what runs at {sites:list|no site yet} (by {by})")


class WithCompanions:
    """A required affinity needs a domain where the other workloads run; anti-affinity any other.

    An unknown domain satisfies neither.
    """

    reason: Reason = "spread"
    wake_events: frozenset[WakeEvent] = frozenset({"placed", "gone", "workload", "site"})

    cache_key = DemandFields("companions")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Compares the domain of every site with those of the other workloads."""
        del context
        passes = fleet.has_site
        for each in demand.companions:
            if each.required:
                passes = passes & satisfies_companion(fleet, each)
        return passes

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the sites of the other workloads."""
        del context
        if not demand.companions:
            return _NONE()
        asked = [
            (_APART if each.apart else _WITH)(sites=tuple(each.sites), by=each.by)
            for each in demand.companions
        ]
        return _ASKED(site=facts.name, asked=tuple(asked))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests to make the required affinity to other workloads a preference."""
        demand = refused.demand
        preferred = tuple(replace(each, required=False) for each in demand.companions)
        return change_workload(
            "affinity", "required", "preferred", replace(demand, companions=preferred)
        )


def satisfies_companion(fleet: Fleet, companion: Companion) -> BoolPerSite:
    """Which sites satisfy an affinity or anti-affinity to other workloads; [slot_capacity]."""
    domains = fleet.description_column(
        ("place", companion.by),
        lambda facts: fleet.domain_number(domain_of(facts, companion.by)),
        np.int64,
    )
    companion_domains = [
        domains[fleet.slot_of[site]] for site in companion.sites if site in fleet.slot_of
    ]
    together: BoolPerSite = np.isin(domains, np.array(companion_domains, np.int64))
    known = domains > 0  # 0 is the unknown domain
    return known & ~together if companion.apart else known & together


RULE = WithCompanions()
