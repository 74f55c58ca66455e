"""A site that is known not to report takes no new work."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, report_now
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_UNKNOWN = Message(
    "silent.unknown", "{site} has no condition Ready, so it is not known to be silent"
)
_READY = Message("silent.ready", "{site} has Ready={state}")
_UNREACHABLE = Message(
    "silent.unreachable",
    "{site} has Ready={state}: the API server of its cluster does not answer its agent",
)


class Silent:
    """The condition Ready must not be False or Unknown."""

    reason: Reason = "silent"
    wake_events: frozenset[WakeEvent] = frozenset({"report"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites are not known to be silent."""
        del demand, context
        return fleet.report_column(self.reason, lambda facts: not facts.is_silent, np.bool_)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the condition."""
        del demand, context
        ready = next((each for each in facts.status.conditions if each.type == "Ready"), None)
        if ready is None:
            return _UNKNOWN(site=facts.name)
        message = _UNREACHABLE if facts.is_cluster_unreachable else _READY
        return message(site=facts.name, state=f"{ready.status} {ready.reason}".rstrip())

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a report from now."""
        return report_now(refused)


RULE = Silent()
