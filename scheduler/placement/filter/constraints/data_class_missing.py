"""A workload without a data class goes nowhere: unlabelled counts as the strictest."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class DataClassMissing:
    """Refuses what has no class, unless the scheme names one for it."""

    reason: Reason = "data-class-missing"
    wakes: frozenset[Event] = frozenset({"workload", "scheme"})

    def question(self, demand: Demand) -> Hashable:
        """Whether there is a class."""
        return demand.data_class is not None

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """All sites or none."""
        del moment
        return np.full(fleet.capacity, demand.data_class is not None)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says what to write."""
        del facts, moment
        if demand.data_class is None:
            return "the workload names no data class; write spec.dataClass (general-1 … important)"
        return f"the workload names its data class, {demand.data_class}"


RULE = DataClassMissing()
