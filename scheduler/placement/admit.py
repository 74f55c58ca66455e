"""Step 1, admit: every hard rule answers for the whole fleet at once.

The answer keeps, for each rule, which sites pass; so both the count of reasons and the sentence for
one site can be told later, and only if somebody asks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand import Demand
from scheduler.model.reasons import Reason
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.rules import GrantRule, Rule, SiteRule, all_rules, grant_bits

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Admission:
    """What the rules say of every site.

    Attributes:
        passed: by rule, in the order of `all_rules()`; [fleet.capacity] each.
        admitted: sites that pass every rule; [fleet.capacity].
        grants: the bits of the grants that allow everything; [fleet.capacity].
    """

    passed: tuple[tuple[Rule, Bools], ...]
    admitted: Bools
    grants: Ints

    def first_reasons(self, fleet: Fleet) -> dict[Reason, int]:
        """How many sites each rule refused that no rule before it had refused."""
        counts: dict[Reason, int] = {}
        left = fleet.is_there
        for rule, passed in self.passed:
            refused = int(np.count_nonzero(left & ~passed))
            if refused:
                counts[rule.reason] = counts.get(rule.reason, 0) + refused
                left = left & passed
        return counts


def admit(demand: Demand, fleet: Fleet, moment: Moment) -> Admission:
    """Asks every rule.

    A grant must allow everything by itself: the bits of the grants that are still in play are
    handed from rule to rule, and a site is refused by the rule that rules out its last grant.
    """
    valid = fleet.valid_bits(moment.now_seconds)
    # Without a valid grant the dates, or the want of any grant, are the reason; others look at all
    # grants.
    bits = np.where(valid != 0, valid, -1)
    admitted = fleet.is_there
    passed: list[tuple[Rule, Bools]] = []
    for rule in all_rules():
        if isinstance(rule, SiteRule):
            holds = rule.admits(fleet, demand, moment)
        else:
            holds, bits = _by_grants(rule, bits, fleet, demand)
        admitted = admitted & holds
        passed.append((rule, holds))
    return Admission(tuple(passed), admitted & (valid != 0), np.where(valid != 0, bits, 0))


def _by_grants(rule: GrantRule, bits: Ints, fleet: Fleet, demand: Demand) -> tuple[Bools, Ints]:
    accepted = grant_bits(rule, fleet, demand)
    left = bits & accepted
    holds = left != 0
    # A rule after the one that ruled out the last grant is judged by itself again.
    return holds, np.where(holds, left, bits)


def vendor_sets(admission: Admission, fleet: Fleet) -> Ints:
    """The number of the set of CPU vendors that the grant in use permits at each site; [capacity].

    Of several grants that allow everything the first counts, as a grant is used whole.
    """
    if not fleet.has_mixed_grants:
        return fleet.described(
            "vendor set",
            lambda facts: fleet.vendor_set(facts.grants[0].spec.cpu_vendors) if facts.grants else 0,
            np.int64,
        )
    sets = np.zeros(fleet.capacity, np.int64)
    for slot in np.flatnonzero(admission.grants):
        facts = fleet.facts[slot]
        first = (int(admission.grants[slot]) & -int(admission.grants[slot])).bit_length() - 1
        if facts is not None:
            sets[slot] = fleet.vendor_set(facts.grants[first].spec.cpu_vendors)
    return sets
