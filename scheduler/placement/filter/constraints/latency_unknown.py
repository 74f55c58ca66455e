"""A round trip that was not measured is not assumed to be short."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import Rtt
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.distance import latency_targets, rtt_milliseconds
from scheduler.placement.fleet.fleet import Fleet

_UNBOUND = Message("latency-unknown.unbound", "the workload bounds no latency")
_COMPARED = Message(
    "latency-unknown.compared",
    "{site} reports round trips to {peers:n} peers; needed: {places:list}",
)


class LatencyUnknown:
    """The site must report the round trip of every latency bound."""

    reason: Reason = "latency-unknown"
    wake_events: frozenset[WakeEvent] = frozenset({"latency", "workload"})
    is_seldom_shared = True

    cache_key = DemandFields("latency")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites report the round trip to every place that has a bound."""
        del context
        known = fleet.has_site
        for bound in demand.latency:
            known = known & ~np.isnan(rtt_milliseconds(fleet, bound.from_))
        return known

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the places."""
        del context
        if not demand.latency:
            return _UNBOUND()
        places = tuple(bound.from_ for bound in demand.latency)
        return _COMPARED(site=facts.name, peers=len(facts.status.rtt), places=places)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a report of the round trips asked for, each as long as its bound permits."""
        known = {each.to for each in refused.facts.status.rtt} | {refused.facts.name}
        figures, shown = list(refused.facts.status.rtt), []
        for bound in refused.demand.latency:
            within = bound.within_milliseconds
            for target in latency_targets(refused.fleet, bound.from_):
                if target not in known:
                    known.add(target)
                    figures.append(Rtt(to=target, milliseconds=within, origin="measured"))
                    shown.append(f"{within:g} ms or less to {target}")
        if not shown:
            return None
        status = replace(refused.facts.status, rtt=tuple(figures))
        facts = replace(refused.facts, status=status)
        return change_site("rtt", "", ", ".join(shown), facts)


RULE = LatencyUnknown()
