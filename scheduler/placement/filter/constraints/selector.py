"""A site's labels must match every selector: workload's, cluster policies', tenant's.

New replicas that return after a failover may only go to the sites that they came from.
"""

from collections.abc import Hashable

import numpy as np
from msgspec.structs import replace

from scheduler.model.canonical import canonical_json
from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import LabelSelector, requirement_matches
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import site_labels, sites_matching

_NO_SELECTORS = b""
_MAX_NAMED = 8

_OTHER_VALUE = Message(
    "selector.other-value", "{site} has {key}={value|(none)}; required: {required}"
)
_UNMET = Message("selector.unmet", "the labels of {site} do not meet: {asked:list}")
_NOT_BACK = Message(
    "selector.not-moved-to",
    "{site} is none of the sites for what is moved: {sites:list}{more:more}",
)
_MATCHED = Message("selector.matched", "the labels of {site} match")


class SiteSelector:
    """All selectors must match; an empty one matches everything."""

    reason: Reason = "selector"
    wake_events: frozenset[WakeEvent] = frozenset({"site", "workload", "tenant"})
    is_seldom_shared = True

    def cache_key(self, demand: Demand) -> Hashable:
        """All selectors, as bytes."""
        wanted = (demand.site_selectors, demand.tenant_sites)
        if demand.moves_back_to:
            return canonical_json((*wanted, demand.moves_back_to))
        return (
            _NO_SELECTORS
            if not demand.site_selectors and demand.tenant_sites.is_empty
            else canonical_json(wanted)
        )

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites' labels match."""
        del context
        found = fleet.has_site
        if demand.moves_back_to:
            found = found & np.isin(
                np.arange(len(found)),
                [fleet.slot_of[one] for one in demand.moves_back_to if one in fleet.slot_of],
            )
        for selector in (*demand.site_selectors, demand.tenant_sites):
            if not selector.is_empty:
                found = found & sites_matching(fleet, selector)
        return found

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the first condition that is not met."""
        del context
        labels = site_labels(facts)
        for selector in (*demand.site_selectors, demand.tenant_sites):
            for key, value in selector.match_labels.items():
                if labels.get(key) != value:
                    return _OTHER_VALUE(
                        site=facts.name, key=key, value=labels.get(key), required=value
                    )
            if not selector.matches(labels):
                asked = [
                    f"{each.key} {each.operator} {list(each.values) or ''}".strip()
                    for each in selector.match_expressions
                ]
                return _UNMET(site=facts.name, asked=tuple(asked))
        if demand.moves_back_to and facts.name not in demand.moves_back_to:
            sites = tuple(demand.moves_back_to)
            more = max(0, len(sites) - _MAX_NAMED)
            return _NOT_BACK(site=facts.name, sites=sites[:_MAX_NAMED], more=more)
        return _MATCHED(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests selectors without the conditions that the site does not match."""
        demand, labels = refused.demand, site_labels(refused.facts)
        if not demand.tenant_sites.matches(labels):
            change = SuggestedChange(
                kind="tenant.siteSelector",
                target=f"Tenant {demand.tenant}",
                from_=", ".join(_unmet_terms_of(demand.tenant_sites, labels)),
            )
            return Fix(change=change, demand=replace(demand, tenant_sites=LabelSelector()))
        if demand.moves_back_to and refused.facts.name not in demand.moves_back_to:
            return None  # no field of an object says so
        unmet = [term for each in demand.site_selectors for term in _unmet_terms_of(each, labels)]
        met = tuple(_keep_met_terms(each, labels) for each in demand.site_selectors)
        return change_workload(
            "siteSelector", ", ".join(unmet), "", replace(demand, site_selectors=met)
        )


def _unmet_terms_of(wanted: LabelSelector, labels: dict[str, str]) -> list[str]:
    unmet = [f"{k}={v}" for k, v in wanted.match_labels.items() if labels.get(k) != v]
    return unmet + [
        " ".join((each.key, each.operator, *each.values))
        for each in wanted.match_expressions
        if not requirement_matches(each, labels)
    ]


def _keep_met_terms(wanted: LabelSelector, labels: dict[str, str]) -> LabelSelector:
    return LabelSelector(
        match_labels={k: v for k, v in wanted.match_labels.items() if labels.get(k) == v},
        match_expressions=tuple(
            each for each in wanted.match_expressions if requirement_matches(each, labels)
        ),
    )


RULE = SiteSelector()
