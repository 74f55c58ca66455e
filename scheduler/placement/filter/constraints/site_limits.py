"""A workload is not placed at a site whose LimitRange or quota would refuse its pods."""

from collections.abc import Hashable

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import NEVER_CACHED, BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.namespace_limits import namespace_limits_at

_UNREPORTED = Message("site-limits.unreported", "{site} reports no limit of namespace {namespace}")
_BROKEN = Message("site-limits.broken", "namespace {namespace} at {site}: {denial:said}")
_WITHIN = Message(
    "site-limits.within", "the pods are within the limits of namespace {namespace} at {site}"
)


class WithinNamespaceLimits:
    """Every container must be within the limits that the site reports for the namespace.

    How many replicas a quota permits is computed in `capacity.py`.
    """

    reason: Reason = "quota"
    wake_events: frozenset[WakeEvent] = frozenset({"capacity", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Not cached: reports of limits change too often."""
        del demand
        return NEVER_CACHED

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks only sites that report limits of this namespace; most fleets have none."""
        del context
        limits_by_slot = fleet.namespace_limits.by_slot(demand.namespace)
        if limits_by_slot is None:
            return fleet.has_site
        passes = fleet.has_site.copy()
        for slot, limits in limits_by_slot.items():
            passes[slot] &= not limits.denial(demand)
        return passes

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the first limit that the pods break."""
        del context
        limits = namespace_limits_at(facts, demand.namespace)
        if limits is None:
            return _UNREPORTED(site=facts.name, namespace=demand.namespace)
        denial = limits.denial(demand)
        if denial:
            return _BROKEN(site=facts.name, namespace=demand.namespace, denial=denial)
        return _WITHIN(site=facts.name, namespace=demand.namespace)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a namespace at the site without the limits that it reports."""
        name, status = refused.demand.namespace, refused.facts.status
        rest = tuple(each for each in status.namespaces if each.name != name)
        shown = f"the limits of namespace {name}"
        facts = replace(refused.facts, status=replace(status, namespaces=rest))
        return change_site("namespaces", shown, "", facts)


RULE = WithinNamespaceLimits()
