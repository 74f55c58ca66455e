"""A NoExecute taint that is borne for some seconds only: after them it keeps new work away too.

Kubernetes evicts such a pod as soon as it is bound (core/v1 `tolerationSeconds`, counted from the
taint's `timeAdded`), so placing it would only send it round in circles.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.retention import is_driven_out
from scheduler.placement.filter.rules import EVERY_TIME, BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class TaintTime:
    """What would be driven out at once is not let in."""

    reason: Reason = "taint"
    wakes: frozenset[Event] = frozenset({"site", "workload"})

    def question(self, demand: Demand) -> Hashable:
        """Every moment is another."""
        del demand
        return EVERY_TIME

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks only at sites with NoExecute taints, and only if some toleration ends."""
        if not demand.site_tolerations or all(
            each.toleration_seconds is None for each in demand.site_tolerations
        ):
            return fleet.is_there
        tainted = fleet.described("no-execute", _is_tainted, np.bool_)
        passes = fleet.is_there.copy()
        for slot in np.flatnonzero(tainted & fleet.is_there).tolist():
            facts = fleet.facts[slot]
            passes[slot] = facts is not None and not is_driven_out(facts, demand, moment)
        return passes

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says whether the seconds are over."""
        if is_driven_out(facts, demand, moment):
            return f"a NoExecute taint of {facts.name} is not, or no longer, borne"
        return f"no taint of {facts.name} drives this out now"


def _is_tainted(facts: SiteFacts) -> bool:
    return any(taint.effect == "NoExecute" for taint in facts.spec.taints)


RULE = TaintTime()
