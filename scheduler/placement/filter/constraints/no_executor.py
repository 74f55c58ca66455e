"""A site whose agent cannot apply orders to a cluster takes no work; it only reports."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_THERE = Message("no-executor.no", "{site} has an agent that can apply orders")
_NONE = Message("no-executor.yes", "{site} has no agent that can apply orders")


class NoExecutor:
    """`status.executor` must not be false, and the list of API kinds must not be empty."""

    reason: Reason = "no-executor"
    wake_events: frozenset[WakeEvent] = frozenset({"report"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites have an executor."""
        del demand, context
        return fleet.report_column(self.reason, lambda facts: facts.has_executor, np.bool_)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says whether the site has an executor."""
        del demand, context
        return (_THERE if facts.has_executor else _NONE)(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests an agent that applies orders."""
        kinds = refused.facts.status.api_kinds or None
        status = replace(refused.facts.status, executor=True, api_kinds=kinds)
        facts = replace(refused.facts, status=status)
        return change_site("executor", "false", "true", facts)


RULE = NoExecutor()
