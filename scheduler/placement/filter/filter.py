"""Step 1, admit: every hard rule answers for the whole fleet at once.

The answer keeps, for each rule, which sites pass; so both the count of reasons and the sentence for
one site can be told later, and only if somebody asks. Rules say what of a demand matters to them;
equal questions are answered once, until what is known of the sites changes.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import (
    EVERY_TIME,
    GrantRule,
    Rule,
    SiteRule,
    all_rules,
    grant_bits,
    is_grant_rule,
    is_site_rule,
    question_of,
)
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import permits_node
from scheduler.placement.kernel import loader as compiled

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Ranks = NDArray[np.uint8]
Flags = NDArray[np.uint8]
"""0 or 1."""
Version = tuple[int, int, int]
"""As `Fleet.version_at` gives it."""

EMPTY = np.uint8(0)
"""The rank of a slot without a site. Rules rank from 1 in the order of `all_rules()`."""
NONE = np.uint8(255)
"""The rank of a site that no rule refuses."""
_MOST_REMEMBERED = 512


@dataclass(slots=True)
class Answers:
    """What some rules say of every site.

    Attributes:
        version: of the fleet that they were given for.
        passed: by rule; [fleet.capacity] each.
        first: the rank of the first rule that refuses, `NONE` if none does; [fleet.capacity].
        grants: bits of the grants that allow everything; [fleet.capacity]; rules of grants only.
        vendor_sets: the set of CPU vendors that the grant in use permits; [fleet.capacity]; None:
            any vendor everywhere.
    """

    version: Version
    passed: dict[Rule, Bools]
    first: Ranks
    grants: Ints
    vendor_sets: Ints | None


@dataclass(slots=True)
class Admission:
    """What the rules say of every site.

    Attributes:
        rights: what the rules of grants say.
        standing: what the other rules say whose answers last.
        moving: the answers that hold for this moment only.
        first: the rank of the first rule that refuses, `NONE` if none does; [fleet.capacity].
        slots: sites that pass every rule, as slot numbers.
        is_compiled: whether the kernel counts the reasons.
    """

    rights: Answers
    standing: Answers
    moving: dict[Rule, Bools]
    first: Ranks
    slots: Ints
    is_compiled: bool

    @property
    def admitted(self) -> Bools:
        """Sites that pass every rule; [fleet.capacity]."""
        admitted: Bools = self.first == NONE
        return admitted

    @property
    def passed(self) -> list[tuple[Rule, Bools]]:
        """Which sites pass, [fleet.capacity], by rule, in the order in which reasons are told."""
        answers = {**self.rights.passed, **self.standing.passed, **self.moving}
        return [(rule, answers[rule]) for rule in all_rules()]

    def first_reasons(self) -> dict[Reason, int]:
        """How many sites each rule refused that no rule before it had refused."""
        counts: dict[Reason, int] = {}
        rules = all_rules()
        tally = compiled.kernel.tallied if self.is_compiled else _tallied
        for rule, count in zip(rules, tally(self.first, len(rules))[1:], strict=True):
            if count:
                counts[rule.reason] = counts.get(rule.reason, 0) + count
        return counts


def _tallied(first: Ranks, most: int) -> list[int]:
    """How many slots have each rank up to `most`."""
    counts: list[int] = np.bincount(first, minlength=int(NONE) + 1)[: most + 1].tolist()
    return counts


def admit(demand: Demand, fleet: Fleet, moment: Moment) -> Admission:
    """Asks every rule; those whose answers last are asked only what was not asked before."""
    book = rulebook()
    version = fleet.version_at(moment.now_seconds)
    rights = _remembered(book.rights, demand, fleet, moment, version)
    standing = _remembered(book.standing, demand, fleet, moment, version)
    moving: dict[Rule, Bools] = {}
    third: Ranks | None = None
    for rule, rank in book.moving:
        passes = moving[rule] = rule.admits(fleet, demand, moment)
        if passes is not fleet.is_there:
            ranks = _ranks(fleet, rank, passes)
            third = ranks if third is None else np.minimum(third, ranks)
    merge = compiled.kernel.admitted if fleet.is_compiled else _admitted
    first, slots = merge(rights.first, standing.first, third)
    return Admission(rights, standing, moving, first, slots, fleet.is_compiled)


def _ranks(fleet: Fleet, rank: int, passes: Bools) -> Ranks:
    """The rank of a rule where it refuses; computed once as long as its answer is the same one."""
    kept: tuple[Bools, Ranks] | None = fleet.ranks.get(rank)
    if kept is None or kept[0] is not passes:
        kept = fleet.ranks[rank] = (passes, _where_refused(passes, rank))
    return kept[1]


def _where_refused(passes: Bools, rank: int) -> Ranks:
    """The rank of a rule where it refuses, `NONE` where it does not; [capacity]."""
    return np.where(passes, NONE, np.uint8(rank))


def _admitted(one: Ranks, other: Ranks, third: Ranks | None) -> tuple[Ranks, Ints]:
    first = np.minimum(one, other)
    if third is not None:
        np.minimum(first, third, out=first)
    return first, (first == NONE).nonzero()[0]


@dataclass(frozen=True, slots=True)
class _Lasting:
    """Rules whose answers last, and what of a demand matters to them."""

    rules: tuple[Rule, ...]
    question: Callable[[Demand], Hashable]


@dataclass(frozen=True, slots=True)
class _Rulebook:
    rights: _Lasting
    standing: _Lasting
    moving: tuple[tuple[SiteRule, int], ...]
    rank_of: dict[Rule, int]


@cache
def rulebook() -> _Rulebook:
    """Rules of grants, other rules whose answers last, and those that every moment asks again."""
    probe = Demand(key="")
    rights: list[GrantRule] = []
    standing: list[SiteRule] = []
    moving: list[tuple[SiteRule, int]] = []
    rank_of = {rule: place for place, rule in enumerate(all_rules(), 1)}
    for place, rule in enumerate(all_rules(), 1):
        if is_grant_rule(rule):
            rights.append(rule)
        elif is_site_rule(rule):
            if rule.question(probe) is EVERY_TIME:
                moving.append((rule, place))
            else:
                standing.append(rule)
    return _Rulebook(
        _Lasting(tuple(rights), question_of(rights)),
        _Lasting(tuple(standing), question_of(standing)),
        tuple(moving),
        rank_of,
    )


def _remembered(
    lasting: _Lasting,
    demand: Demand,
    fleet: Fleet,
    moment: Moment,
    version: Version,
) -> Answers:
    question = lasting.question(demand)
    if fleet.has_mixed_grants:  # then nodes say which grant is in use, and rights which nodes count
        rights = rulebook().rights.question(demand)
        question = (question, rights, demand.architectures, demand.cpu_vendors)
    answers: Answers | None = fleet.admissions.get(question)
    if answers is None or answers.version != version:
        answers = _ask(lasting.rules, demand, fleet, moment, version)
        fleet.admissions[question] = answers
        if len(fleet.admissions) > _MOST_REMEMBERED:
            fleet.admissions.pop(next(iter(fleet.admissions)))
    return answers


def _ask(
    rules: tuple[Rule, ...],
    demand: Demand,
    fleet: Fleet,
    moment: Moment,
    version: Version,
) -> Answers:
    """Asks rules whose answers last.

    A grant must allow everything by itself: the bits of the grants that are still in play are
    handed from rule to rule, and a site is refused by the rule that rules out its last grant.
    """
    valid = fleet.valid_bits(moment.now_seconds)
    # Without a valid grant its dates, or its want, are the reason; others then look at all grants.
    bits = np.where(valid != 0, valid, -1)
    first = np.where(fleet.is_there, NONE, EMPTY)
    passed: dict[Rule, Bools] = {}
    rank_of = rulebook().rank_of
    judge = compiled.kernel.judged if fleet.is_compiled else _judged
    for rule in rules:
        if is_grant_rule(rule):
            passed[rule] = np.zeros(fleet.capacity, np.bool_)
            accepted = grant_bits(rule, fleet, demand)
            judge(first, bits, accepted, passed[rule].view(np.uint8), rank_of[rule])
        elif is_site_rule(rule):
            holds = passed[rule] = rule.admits(fleet, demand, moment)
            if holds is not fleet.is_there:
                np.minimum(first, _where_refused(holds, rank_of[rule]), out=first)
    grants = np.where(valid != 0, bits, 0)
    vendor_sets = _vendor_sets(grants, fleet, demand)
    return Answers(version, passed, first, grants, vendor_sets if vendor_sets.any() else None)


def _judged(first: Ranks, bits: Ints, accepted: Ints, holds: Flags, rank: int) -> None:
    """Of the grants still in play, `bits`, a rule leaves those that it accepts.

    Where it leaves none, it refuses, and the rules after it are judged by themselves again.
    """
    left = bits & accepted
    np.not_equal(left, 0, out=holds.view(np.bool_))
    np.copyto(bits, left, where=left != 0)
    np.minimum(first, _where_refused(left != 0, rank), out=first)


def _vendor_sets(grants: Ints, fleet: Fleet, demand: Demand) -> Ints:
    """The number of the set of CPU vendors that the grant in use permits at each site; [capacity].

    A grant is used whole. Of several that allow everything, the first counts that permits a node on
    which the images run; if none does, the first.
    """
    if not fleet.has_mixed_grants:
        return fleet.described(
            "vendor set",
            lambda facts: fleet.vendor_set(facts.grants[0].spec.cpu_vendors) if facts.grants else 0,
            np.int64,
        )
    sets = np.zeros(fleet.capacity, np.int64)
    for slot in np.flatnonzero(grants):
        facts = fleet.facts[slot]
        if facts is not None:
            sets[slot] = fleet.vendor_set(_vendors_in_use(int(grants[slot]), facts, demand))
    return sets


def _vendors_in_use(bits: int, facts: SiteFacts, demand: Demand) -> tuple[str, ...]:
    """The vendors that the grant in use permits at a site; any if there are none."""
    allowing = [
        grant.spec.cpu_vendors
        for place, grant in enumerate(facts.grants[: bits.bit_length()])
        if bits >> place & 1
    ]
    return next((each for each in allowing if permits_node(facts, demand, each)), allowing[0])
