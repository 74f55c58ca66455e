"""Where CPU vendors are prescribed, a site must have a node of a permitted vendor.

The site's grant may list vendors, and so may the workload, its class or a cluster policy; a node
must satisfy every list. How many replicas fit on such nodes is computed in `capacity.py`.
"""

from collections.abc import Iterable

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence, sorted_with_unknown
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_grants import change_grant, grant_to_change
from scheduler.placement.filter.fix_nodes import best_nodes
from scheduler.placement.filter.rules import (
    BoolPerSite,
    DemandFields,
    WakeEvent,
    all_rules,
    grant_bits,
    is_grant_rule,
    valid_grants,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.grants import MAX_GRANTS
from scheduler.placement.fleet.node_eligibility import has_permitted_node

Ints = NDArray[np.int64]

ALL_GRANTS = -1
"""Every grant, as bits."""

_COMPARED = Message(
    "cpu-vendor.compared", "{site} has {there:list|no nodes}; permitted: {permitted:and|any}"
)
_ONE_OF = Message("cpu-vendor.one-of", "{vendors:or}")


class CpuVendor:
    """At least one node of a permitted architecture must have a vendor that every list permits."""

    reason: Reason = "cpu-vendor"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload", "grant", "scheme"})

    cache_key = DemandFields("architectures", "cpu_vendors")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the node classes that each site reports against its valid grants.

        Where no grant is valid, another rule refuses the site, and all grants are considered here.
        """
        permitting_bits = fleet.report_column(
            (self.reason, demand.architectures, demand.cpu_vendors),
            lambda facts: _permitting_grant_bits(facts, demand),
            np.int64,
        )
        allowing_bits = _allowing_grant_bits(
            fleet, demand, fleet.grants.valid_bits(context.now_seconds)
        )
        holds: BoolPerSite = (
            permitting_bits & np.where(allowing_bits != 0, allowing_bits, ALL_GRANTS)
        ) != 0
        return holds

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the vendors there, and the lists of the grants that count."""
        there = sorted_with_unknown(
            each.cpu_vendor
            for each in facts.status.node_classes
            if each.platform in demand.architectures
        )
        valid = valid_grants(facts, context)
        rights = [rule for rule in all_rules() if is_grant_rule(rule)]
        allowing = [each for each in valid if all(rule.allows(each, demand) for rule in rights)]
        grants = allowing or valid or facts.grants
        asked = [_ONE_OF(vendors=tuple(each)) for each in demand.cpu_vendors if each]
        granted = [each.spec.cpu_vendors for each in grants]
        if granted and all(granted):  # one of them suffices
            allowed = dict.fromkeys(name for each in granted for name in each)
            asked.append(_ONE_OF(vendors=tuple(allowed)))
        return _COMPARED(site=facts.name, there=there, permitted=tuple(asked))

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests lists that permit a vendor of the site: the workload's, then the grant's."""
        demand, grant = refused.demand, grant_to_change(refused)
        if grant is None:
            return None
        vendor = _vendor_to_permit(refused, (*demand.cpu_vendors, grant.spec.cpu_vendors))
        if not vendor:
            return None
        closed = [each for each in demand.cpu_vendors if vendor not in each]
        if closed:
            lists = demand.cpu_vendors
            wider = tuple(each if vendor in each else (*each, vendor) for each in lists)
            was = ", ".join(closed[0])
            return change_workload(
                "cpuVendors", was, f"{was}, {vendor}", replace(demand, cpu_vendors=wider)
            )
        had = grant.spec.cpu_vendors
        more = (*had, vendor)
        return change_grant(
            refused, "cpuVendors", ", ".join(had), ", ".join(more), cpu_vendors=more
        )


def _vendor_to_permit(refused: RefusedSite, lists: Iterable[tuple[str, ...]]) -> str:
    """The vendor of a node of the site which the fewest lists must be changed for; empty: none."""
    known = [
        each
        for each in refused.facts.status.node_classes
        if each.platform in refused.demand.architectures and each.cpu_vendor
    ]
    restricting = [each for each in lists if each]
    best = best_nodes(
        refused, known, lambda nodes: sum(nodes.cpu_vendor not in each for each in restricting)
    )
    return "" if best is None else best.cpu_vendor


def _allowing_grant_bits(fleet: Fleet, demand: Demand, valid_grant_bits: Ints) -> Ints:
    """The valid grants that every grant rule allows, as bits; [slot_capacity].

    One grant must allow everything: the vendors of a grant that does not allow the data class do
    not count. A rule that would leave a site no grant is skipped here, as it refuses the site
    itself.
    """
    if not fleet.grants.have_mixed_vendors:
        return valid_grant_bits
    left = valid_grant_bits
    for rule in all_rules():
        if is_grant_rule(rule):
            remaining = left & grant_bits(rule, fleet, demand)
            left = np.where(remaining != 0, remaining, left)
    return left


def _permitting_grant_bits(facts: SiteFacts, demand: Demand) -> int:
    """Which grants permit some node, as bits."""
    if all(each.platform not in demand.architectures for each in facts.status.node_classes):
        return ALL_GRANTS  # the rule `architecture` refuses the site
    if not facts.grants:
        return ALL_GRANTS if has_permitted_node(facts, demand, ()) else 0
    return sum(
        1 << index
        for index, grant in enumerate(facts.grants[:MAX_GRANTS])
        if has_permitted_node(facts, demand, grant.spec.cpu_vendors)
    )


RULE = CpuVendor()
