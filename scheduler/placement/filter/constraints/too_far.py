"""The round trips that a workload bounds must be within the bounds."""

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.distance import (
    METRO_PREFIX,
    latency_targets,
    longest_rtt_milliseconds,
    rtt_milliseconds,
)
from scheduler.placement.fleet.fleet import Fleet

_UNBOUND = Message("too-far.unbound", "the workload bounds no latency")
_BOUNDS = Message("too-far.bounds", "latency bounds at {site}: {bounds:list}")
_BOUND = Message("too-far.bound", "{place} within {limit:g} ms")
_BOUND_HERE = Message("too-far.bound-here", "{place} within {limit:g} ms (here {here:g} ms)")
_BOUND_METRO = Message(
    "too-far.bound-metro",
    "{place} within {limit:g} ms (here up to {here:g} ms to the peers it measures)",
)


class TooFar:
    """Known round trips must be within every bound; `latency_unknown` refuses unknown ones."""

    reason: Reason = "too-far"
    wake_events: frozenset[WakeEvent] = frozenset({"latency", "workload"})
    is_seldom_shared = True

    cache_key = DemandFields("latency")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites are within every bound."""
        del context
        near = fleet.has_site
        for bound in demand.latency:
            # Not "rtt <= bound": an unknown round trip (NaN) passes here.
            near = near & ~(rtt_milliseconds(fleet, bound.from_) > bound.within_milliseconds)
        return near

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the bounds, and the round trips that the site reports."""
        del context
        if not demand.latency:
            return _UNBOUND()
        rtt_by_peer = {each.to: each.milliseconds for each in facts.status.rtt}
        bounds = [
            _bound(bound.from_, bound.within_milliseconds, rtt_by_peer) for bound in demand.latency
        ]
        return _BOUNDS(site=facts.name, bounds=tuple(bounds))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests bounds as wide as the round trips to the site."""
        bounds, widened = [], []
        for bound in refused.demand.latency:
            targets = latency_targets(refused.fleet, bound.from_)
            # In this order: of an unknown round trip, NaN, `max` keeps the bound as it is.
            wide = max(bound.within_milliseconds, longest_rtt_milliseconds(refused.facts, targets))
            if wide > bound.within_milliseconds:
                widened.append((bound.within_milliseconds, wide))
            bounds.append(replace(bound, within_milliseconds=wide))
        return change_workload(
            "latency",
            ", ".join(f"{was:.15g} ms" for was, _ in widened),
            ", ".join(f"{becomes:.15g} ms" for _, becomes in widened),
            replace(refused.demand, latency=tuple(bounds)),
        )


def _bound(place: str, limit: float, known: dict[str, float]) -> Sentence:
    if place in known:
        return _BOUND_HERE(place=place, limit=limit, here=known[place])
    if place.startswith(METRO_PREFIX) and known:
        return _BOUND_METRO(place=place, limit=limit, here=max(known.values()))
    return _BOUND(place=place, limit=limit)


RULE = TooFar()
