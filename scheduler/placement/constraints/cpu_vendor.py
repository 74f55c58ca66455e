"""Where vendors of processors are prescribed, a site must have nodes of a permitted one.

The site's grant may name the vendors that may be used there, and the workload, its class or a
cluster policy may name theirs; a node must satisfy all. Which node each replica gets is `fit.py`'s.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.eligible import permits_node
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.rules import BoolPerSite, Event, valid_grants

ALL = -1
"""Every grant, as bits."""
MOST_GRANTS = 63
"""Grants of a site that are looked at: an integer has no more bits."""


class CpuVendor:
    """Some node with a fitting architecture must have a vendor that every list permits."""

    reason: Reason = "cpu-vendor"
    wakes: frozenset[Event] = frozenset({"report", "workload", "grant", "scheme"})

    def question(self, demand: Demand) -> Hashable:
        """Architectures, and the lists of vendors."""
        return (demand.architectures, demand.cpu_vendors)

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the kinds of node that each site reported, and at its valid grants.

        Where none is valid, that is the reason, and all are looked at.
        """
        permitting = fleet.reported(
            (self.reason, demand.architectures, demand.cpu_vendors),
            lambda facts: _permitting(facts, demand),
            np.int64,
        )
        valid = fleet.valid_bits(moment.now_seconds)
        holds: BoolPerSite = (permitting & np.where(valid != 0, valid, ALL)) != 0
        return holds

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the lists; what has ended permits nothing."""
        there = sorted({each.cpu_vendor or "unknown" for each in facts.status.node_classes})
        grants = valid_grants(facts, moment) or facts.grants
        lists = [*demand.cpu_vendors, *(grant.spec.cpu_vendors for grant in grants)]
        asked = [" or ".join(each) for each in lists if each]
        permitted = " and ".join(asked) or "any"
        return f"{facts.name} has {', '.join(there) or 'no nodes'}; permitted: {permitted}"


def _permitting(facts: SiteFacts, demand: Demand) -> int:
    """Which grants permit some node, as bits."""
    if all(each.architecture not in demand.architectures for each in facts.status.node_classes):
        return ALL  # the architecture's own rule says so
    if not facts.grants:
        return ALL if permits_node(facts, demand, ()) else 0
    return sum(
        1 << place
        for place, grant in enumerate(facts.grants[:MOST_GRANTS])
        if permits_node(facts, demand, grant.spec.cpu_vendors)
    )


RULE = CpuVendor()
