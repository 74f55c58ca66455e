"""Where vendors of processors are prescribed, a site must have nodes of a permitted one.

The site's grant may name the vendors that may be used there, and the workload, its class or a
cluster policy may name theirs; a node must satisfy all. Which node each replica gets is
`capacity.py`'s.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import (
    BoolPerSite,
    Event,
    Fields,
    all_rules,
    grant_bits,
    is_grant_rule,
    valid_grants,
)
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import permits_node

Ints = NDArray[np.int64]

ALL = -1
"""Every grant, as bits."""
MOST_GRANTS = 63
"""Grants of a site that are looked at: an integer has no more bits."""


class CpuVendor:
    """Some node with a fitting architecture must have a vendor that every list permits."""

    reason: Reason = "cpu-vendor"
    wakes: frozenset[Event] = frozenset({"report", "workload", "grant", "scheme"})

    question = Fields("architectures", "cpu_vendors")

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the kinds of node that each site reported, and at its valid grants.

        Where none is valid, that is the reason, and all are looked at.
        """
        permitting = fleet.reported(
            (self.reason, demand.architectures, demand.cpu_vendors),
            lambda facts: _permitting(facts, demand),
            np.int64,
        )
        allowing = _allowing(fleet, demand, fleet.valid_bits(moment.now_seconds))
        holds: BoolPerSite = (permitting & np.where(allowing != 0, allowing, ALL)) != 0
        return holds

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the lists; what has ended permits nothing."""
        there = sorted({each.cpu_vendor or "unknown" for each in facts.status.node_classes})
        valid = valid_grants(facts, moment)
        rights = [rule for rule in all_rules() if is_grant_rule(rule)]
        allowing = [each for each in valid if all(rule.holds(each, demand) for rule in rights)]
        grants = allowing or valid or facts.grants
        lists = [*demand.cpu_vendors, *(grant.spec.cpu_vendors for grant in grants)]
        asked = [" or ".join(each) for each in lists if each]
        permitted = " and ".join(asked) or "any"
        return f"{facts.name} has {', '.join(there) or 'no nodes'}; permitted: {permitted}"


def _allowing(fleet: Fleet, demand: Demand, valid: Ints) -> Ints:
    """Of the valid grants those that allow all else, as bits; [fleet.capacity].

    A grant is used whole: the vendors of one that does not allow the class permit nothing. What
    rules out a site's last grant is another rule's to tell.
    """
    if not fleet.has_mixed_grants:
        return valid
    left = valid
    for rule in all_rules():
        if is_grant_rule(rule):
            fewer = left & grant_bits(rule, fleet, demand)
            left = np.where(fewer != 0, fewer, left)
    return left


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
