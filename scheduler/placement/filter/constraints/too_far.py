"""The round trips that a workload bounds must be within the bounds."""

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
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

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the bounds, and the round trips that the site reports."""
        del context
        if not demand.latency:
            return "the workload bounds no latency"
        rtt_by_peer = {each.to: each.milliseconds for each in facts.status.rtt}
        bounds = [
            f"{bound.from_} within {bound.within_milliseconds:g} ms"
            + (
                f" (here {rtt_by_peer[bound.from_]:g} ms)"
                if bound.from_ in rtt_by_peer
                else _format_metro_rtt(bound.from_, rtt_by_peer)
            )
            for bound in demand.latency
        ]
        return f"latency bounds at {facts.name}: {', '.join(bounds)}"

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


def _format_metro_rtt(place: str, known: dict[str, float]) -> str:
    if place.startswith(METRO_PREFIX) and known:
        return f" (here up to {max(known.values()):g} ms to the peers it measures)"
    return ""


RULE = TooFar()
