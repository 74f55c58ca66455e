"""Images run only on the architectures that they are built for, by default amd64."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence, sorted_with_unknown
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_nodes import has_capacity
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import format_platform, operating_system_of

_COMPARED = Message(
    "architecture.compared",
    "{site} has {there:list|no nodes}; the images run on {images:list|nothing}",
)


class Architecture:
    """At least one node must have one of the architectures."""

    reason: Reason = "architecture"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    cache_key = DemandFields("architectures")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the node classes that each site reports."""
        del context
        wanted = frozenset(demand.architectures)
        return fleet.report_column(
            (self.reason, demand.architectures),
            lambda facts: _has_node_for(facts, wanted),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the architectures there, and those that the images run on."""
        del context
        there = sorted_with_unknown(each.platform for each in facts.status.node_classes)
        return _COMPARED(site=facts.name, there=there, images=tuple(demand.architectures))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests images for a processor that the site has."""
        had = refused.demand.architectures
        known = [each for each in refused.facts.status.node_classes if each.architecture]
        if not known:
            return None
        nodes = min(known, key=lambda each: (not has_capacity(refused, each), each.platform))
        more = tuple(sorted({*had, nodes.platform}))
        was, becomes = (", ".join(map(format_platform, names)) for names in (had, more))
        return change_workload(
            "imagePlatforms", was, becomes, replace(refused.demand, architectures=more)
        )


def _has_node_for(facts: SiteFacts, wanted: frozenset[str]) -> bool:
    """Whether a node has one of the platforms.

    Where no node runs the right operating system, the rule of that name refuses the site, and the
    architecture alone counts here.
    """
    nodes = facts.status.node_classes
    systems = {operating_system_of(each) for each in wanted}
    right = [each for each in nodes if operating_system_of(each.platform) in systems]
    if right:
        return any(each.platform in wanted for each in right)
    plain = {each.rpartition("/")[2] for each in wanted}
    return any(each.architecture in plain for each in nodes)


RULE = Architecture()
