"""A pod that the namespace's LimitRange or quota at a site would refuse is not sent there."""

from collections.abc import Hashable

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import EVERY_TIME, BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.namespace_limits import limits_of


class WithinSiteLimits:
    """Every container must be within what the site reported of the workload's namespace.

    How many replicas a quota leaves room for is the fit's to say.
    """

    reason: Reason = "quota"
    wakes: frozenset[Event] = frozenset({"capacity", "workload"})

    def question(self, demand: Demand) -> Hashable:
        """Reports change too often for an answer to be remembered here."""
        del demand
        return EVERY_TIME

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks only at sites that report limits of this namespace; most fleets have none."""
        del moment
        known = fleet.limits.of(demand.namespace)
        if known is None:
            return fleet.is_there
        passes = fleet.is_there.copy()
        for slot, limits in known.items():
            passes[slot] &= not limits.breach(demand)
        return passes

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the first limit that is broken."""
        del moment
        limits = limits_of(facts, demand.namespace)
        if limits is None:
            return f"{facts.name} reports no limit of namespace {demand.namespace}"
        breach = limits.breach(demand)
        where = f"namespace {demand.namespace} at {facts.name}"
        return f"{where}: {breach}" if breach else f"the pods are within the limits of {where}"


RULE = WithinSiteLimits()
