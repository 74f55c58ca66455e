"""A workload without a data class is refused: unlabelled data counts as the strictest class."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_MISSING = Message(
    "data-class-missing.yes",
    "the workload has no data class; set spec.dataClass (general-1 … important)",
)
_GIVEN = Message("data-class-missing.no", "the workload has the data class {name}")


class DataClassMissing:
    """Refuses a workload that has no class and gets none from the class scheme."""

    reason: Reason = "data-class-missing"
    wake_events: frozenset[WakeEvent] = frozenset({"workload", "scheme"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Whether the workload has a class."""
        return demand.data_class is not None

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Admits all sites or none."""
        del context
        return np.full(fleet.slot_capacity, demand.data_class is not None)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Says which field to set."""
        del facts, context
        if demand.data_class is None:
            return _MISSING()
        return _GIVEN(name=demand.data_class)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """None: the class is a fact about the data, so a class that fits is no suggestion."""
        del refused
        return None


RULE = DataClassMissing()
