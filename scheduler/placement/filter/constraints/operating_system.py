"""Images run only on the operating systems that they are built for, by default Linux."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import (
    format_platform,
    operating_system_of,
    operating_systems_of,
    platforms_with_system,
)

_COMPARED = Message(
    "operating-system.compared",
    "{site} has {there:list|no nodes}; the images run on {images:list|nothing}",
)


class OperatingSystem:
    """At least one node must run one of the operating systems; a site without nodes passes."""

    reason: Reason = "operating-system"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    cache_key = DemandFields("architectures")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the labels of the node classes that each site reports."""
        del context
        wanted = operating_systems_of(demand.architectures) or ("linux",)
        return fleet.report_column(
            (self.reason, wanted),
            lambda facts: not _systems_at(facts) or bool(_systems_at(facts) & set(wanted)),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the systems there, and those that the images run on."""
        del context
        images = tuple(operating_systems_of(demand.architectures))
        return _COMPARED(site=facts.name, there=tuple(sorted(_systems_at(facts))), images=images)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests images for a system that the site has."""
        had = refused.demand.architectures
        system = min(_systems_at(refused.facts), default="")
        if not system or not had:
            return None
        more = platforms_with_system(had, system)
        was, becomes = (", ".join(map(format_platform, names)) for names in (had, more))
        return change_workload(
            "imagePlatforms", was, becomes, replace(refused.demand, architectures=more)
        )


def _systems_at(facts: SiteFacts) -> set[str]:
    return {operating_system_of(each.platform) for each in facts.status.node_classes}


RULE = OperatingSystem()
