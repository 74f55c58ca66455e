"""Where vendors of processors are prescribed, a site must have nodes of a permitted one.

The site's grant may name the vendors that may be used there, and the workload, its class or a
cluster policy may name theirs; a node must satisfy all. Which node each replica gets is `fit.py`'s.
"""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.rules import BoolPerSite, Event


class CpuVendor:
    """Some node with a fitting architecture must have a vendor that every list permits."""

    reason: Reason = "cpu-vendor"
    wakes: frozenset[Event] = frozenset({"report", "workload", "grant", "scheme"})

    def question(self, demand: Demand) -> Hashable:
        """Architectures, and the lists of vendors."""
        return (demand.architectures, demand.cpu_vendors)

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the kinds of node that each site reported, and at its grants."""
        del moment
        return fleet.reported(
            (self.reason, demand.architectures, demand.cpu_vendors),
            lambda facts: _has_node(facts, demand),
            np.bool_,
        )

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the lists."""
        del moment
        there = sorted({each.cpu_vendor or "unknown" for each in facts.status.node_classes})
        lists = [*demand.cpu_vendors, *(grant.spec.cpu_vendors for grant in facts.grants)]
        asked = [" or ".join(each) for each in lists if each]
        permitted = " and ".join(asked) or "any"
        return f"{facts.name} has {', '.join(there) or 'no nodes'}; permitted: {permitted}"


def _has_node(facts: SiteFacts, demand: Demand) -> bool:
    granted = [set(grant.spec.cpu_vendors) for grant in facts.grants]
    nodes = [
        each for each in facts.status.node_classes if each.architecture in demand.architectures
    ]
    if not nodes:  # the architecture's own rule says so
        return True
    return any(
        all(each.cpu_vendor in vendors for vendors in demand.cpu_vendors)
        and (not granted or any(not vendors or each.cpu_vendor in vendors for vendors in granted))
        for each in nodes
    )


RULE = CpuVendor()
