"""Step 1, filter: every hard rule answers for the whole fleet at once.

The result keeps for each rule which sites pass, so that the count of reasons and the sentence for
one site can be derived later, when they are needed. Each rule has a cache key: what of a demand its
answer depends on. Demands with equal keys share an answer until the facts of the sites change.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from operator import is_

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import (
    NEVER_CACHED,
    GrantRule,
    Rule,
    SiteRule,
    all_rules,
    combined_cache_key,
    grant_bits,
    is_grant_rule,
    is_site_rule,
)
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.kernel import loader as compiled

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Ranks = NDArray[np.uint8]
Flags = NDArray[np.uint8]
"""0 or 1."""
Version = tuple[int, int, int]
"""As `Fleet.version_at` gives it."""

RANK_EMPTY_SLOT = np.uint8(0)
"""The rank of a slot without a site. Rules have ranks from 1 in the order of `all_rules()`."""
RANK_ADMITTED = np.uint8(255)
"""The rank of a site that no rule refuses."""
_MAX_CACHED_RESULTS = 512
_MAX_CACHED_TOGETHER = 64
_MAX_CACHED_BYTES = 2**22
"""Of answers that are seldom shared; each takes one or two bytes a slot."""
_MAX_CACHED_WHOLE = 2**22
"""Slots of the answers of all rules; each takes up to nine bytes a slot."""


@dataclass(slots=True, kw_only=True)
class RuleResults:
    """The answers of some of the rules for every site.

    Attributes:
        version: the version of the fleet that the answers hold for.
        passed: which sites pass, by rule; [slot_capacity] each.
        first_refusal_ranks: the rank of the first rule that refuses, `RANK_ADMITTED` if none does;
            [slot_capacity].
        allowing_grant_bits: the valid grants that all grant rules among these allow, as bits;
            [slot_capacity].
        vendor_sets: the number of the set of CPU vendors that the grant in use permits;
            [slot_capacity]; None: any vendor at every site.
    """

    version: Version
    passed: dict[Rule, Bools]
    first_refusal_ranks: Ranks
    allowing_grant_bits: Ints
    vendor_sets: Ints | None


@dataclass(slots=True, kw_only=True)
class FilterResult:
    """The answers of all rules for every site.

    Attributes:
        rights: the answers of the grant rules.
        cached: the answers of the site rules that can be cached.
        time_dependent: those of the site rules that depend on the time; [slot_capacity] each.
        seldom_shared: those of the site rules that demands seldom share; [slot_capacity] each.
        first_refusal_ranks: the rank of the first rule that refuses, `RANK_ADMITTED` if none does;
            [slot_capacity].
        admitted_slots: the slots of sites that pass every rule.
        is_compiled: whether the kernel counts the reasons.
        counts: what `count_first_reasons` gives, once it was asked: decisions share results.
    """

    rights: RuleResults
    cached: RuleResults
    time_dependent: dict[Rule, Bools]
    seldom_shared: dict[Rule, Bools]
    first_refusal_ranks: Ranks
    admitted_slots: Ints
    is_compiled: bool
    counts: dict[Reason, int] | None = None

    @property
    def admitted(self) -> Bools:
        """Which sites pass every rule; [slot_capacity]."""
        admitted: Bools = self.first_refusal_ranks == RANK_ADMITTED
        return admitted

    @property
    def passed(self) -> list[tuple[Rule, Bools]]:
        """Which sites pass each rule, [slot_capacity], in the order in which reasons are given."""
        answers = {
            **self.rights.passed,
            **self.cached.passed,
            **self.time_dependent,
            **self.seldom_shared,
        }
        return [(rule, answers[rule]) for rule in all_rules()]

    def count_first_reasons(self) -> dict[Reason, int]:
        """How many sites have each reason as their first."""
        if self.counts is None:
            self.counts = self._count_first_reasons()
        return dict(self.counts)

    def _count_first_reasons(self) -> dict[Reason, int]:
        counts: dict[Reason, int] = {}
        rules = all_rules()
        count_ranks = compiled.kernel.count_ranks if self.is_compiled else _count_ranks
        for rule, count in zip(
            rules, count_ranks(self.first_refusal_ranks, len(rules))[1:], strict=True
        ):
            if count:
                counts[rule.reason] = counts.get(rule.reason, 0) + count
        return counts


def _count_ranks(first_refusal_ranks: Ranks, max_rank: int) -> list[int]:
    """How many slots have each rank up to `max_rank`."""
    counts: list[int] = np.bincount(first_refusal_ranks, minlength=int(RANK_ADMITTED) + 1)[
        : max_rank + 1
    ].tolist()
    return counts


class FilterCache:
    """Answers of rules that later decisions can use.

    Attributes:
        results: answers of cacheable rules, by what of a demand they depend on; the oldest are
            dropped first.
        refusal_ranks: for time-dependent rules, by rank: the last answer, and its refusal ranks.
        answers: answers of rules that are seldom shared, with their refusal ranks (None: no site
            is refused) and the version that they hold for, by rank and what of a demand they
            depend on; the least recently used are dropped first.
        together: the answers of all these rules, and the lowest of their refusal ranks.
        whole: the answers of all rules, with the version and the answers of the time-dependent
            rules that they hold for, by all that a demand asks of the other rules; the oldest are
            dropped first.
    """

    def __init__(self) -> None:
        self.results: dict[Hashable, RuleResults] = {}
        self.refusal_ranks: dict[int, tuple[Bools, Ranks]] = {}
        self.together: dict[Hashable, tuple[Version, dict[Rule, Bools], Ranks | None]] = {}
        self.answers: OrderedDict[Hashable, tuple[Version, Bools, Ranks | None]] = OrderedDict()
        self.whole: dict[Hashable, tuple[Version, list[Bools], FilterResult]] = {}

    def answer(
        self,
        rule: SiteRule,
        rank: int,
        demand: Demand,
        fleet: Fleet,
        context: DecisionContext,
        *,
        version: Version,
    ) -> tuple[Bools, Ranks | None]:
        """The answer of a rule that is seldom shared, and its refusal ranks."""
        cache_key = (rank, rule.cache_key(demand))
        found = self.answers.get(cache_key)
        if found is None or found[0] != version:
            passes = rule.admits(fleet, demand, context)
            refuses_none = passes is fleet.has_site
            found = (version, passes, None if refuses_none else _refusal_ranks(passes, rank))
            self.answers[cache_key] = found
            if len(self.answers) * fleet.slot_capacity > _MAX_CACHED_BYTES:
                self.answers.popitem(last=False)
        self.answers.move_to_end(cache_key)
        return found[1:]


def filter_sites(demand: Demand, fleet: Fleet, context: DecisionContext) -> FilterResult:
    """Evaluates every rule, or takes its cached answer."""
    book = rulebook()
    cache = fleet.cache(FilterCache)
    version = fleet.version_at(context.now_seconds)
    now_passing = [admits(fleet, demand, context) for admits in book.time_dependent_admits]
    cache_key = _cache_key(book, demand, fleet)
    found = cache.whole.get(cache_key)
    # The rules give the very same array for as long as its answer holds.
    if found is not None and found[0] == version and all(map(is_, found[1], now_passing)):
        return found[2]
    result = _filter_by_rule(
        cache, demand, fleet, context, cache_key=cache_key, version=version, passing=now_passing
    )
    cache.whole.pop(cache_key, None)
    cache.whole[cache_key] = (version, now_passing, result)
    if len(cache.whole) * fleet.slot_capacity > _MAX_CACHED_WHOLE:
        cache.whole.pop(next(iter(cache.whole)))
    return result


_CacheKey = tuple[Hashable, Hashable, Hashable]
"""What the answers of the grant rules, of the cached rules and of the others depend on."""


def _cache_key(book: "_Rulebook", demand: Demand, fleet: Fleet) -> _CacheKey:
    rights, cached = book.rights.cache_key(demand), book.cached.cache_key(demand)
    if fleet.grants.have_mixed_vendors:
        # Then the nodes that count depend on the grants that allow everything else.
        mixed = (rights, demand.architectures, demand.cpu_vendors)
        rights, cached = mixed, (cached, mixed)
    return rights, cached, book.seldom_shared_key(demand)


def _filter_by_rule(
    cache: FilterCache,
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    *,
    cache_key: _CacheKey,
    version: Version,
    passing: list[Bools],
) -> FilterResult:
    """The answers of all rules, merged; `passing` has those of the time-dependent ones."""
    book = rulebook()
    rights_key, cached_key, seldom_shared_key = cache_key
    rights = cache.results.get(rights_key)
    if rights is None or rights.version != version:
        rights = _evaluate_rules(book.rights.rules, demand, fleet, context, version)
        _keep(cache, rights_key, rights)
    cached = cache.results.get(cached_key)
    if cached is None or cached.version != version:
        cached = _evaluate_rules(book.cached.rules, demand, fleet, context, version)
        _keep(cache, cached_key, cached)
    together = cache.together.get(seldom_shared_key)
    if together is None or together[0] != version:
        together = _seldom_shared_answers(
            cache, demand, fleet, context, cache_key=seldom_shared_key, version=version
        )
    other_ranks = together[2]
    time_dependent: dict[Rule, Bools] = {}
    for (rule, rank), passes in zip(book.time_dependent, passing, strict=True):
        time_dependent[rule] = passes
        if passes is not fleet.has_site:  # rules return this very array when they refuse no site
            ranks = _cached_refusal_ranks(cache, rank, passes)
            other_ranks = ranks if other_ranks is None else np.minimum(other_ranks, ranks)
    merge = compiled.kernel.merge_ranks if fleet.is_compiled else _merge_ranks
    first, slots = merge(rights.first_refusal_ranks, cached.first_refusal_ranks, other_ranks)
    first.setflags(write=False)  # later decisions read them too
    slots.setflags(write=False)
    return FilterResult(
        rights=rights,
        cached=cached,
        time_dependent=time_dependent,
        seldom_shared=together[1],
        first_refusal_ranks=first,
        admitted_slots=slots,
        is_compiled=fleet.is_compiled,
    )


def _seldom_shared_answers(
    cache: FilterCache,
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    *,
    cache_key: Hashable,
    version: Version,
) -> tuple[Version, dict[Rule, Bools], Ranks | None]:
    """The answers of the rules that demands seldom share, and the lowest of their refusal ranks.

    Many demands ask nothing of these rules: so the answer of all together is cached too.
    """
    passed: dict[Rule, Bools] = {}
    ranks: Ranks | None = None
    for rule, rank in rulebook().seldom_shared:
        passes, refusing = cache.answer(rule, rank, demand, fleet, context, version=version)
        passed[rule] = passes
        if refusing is not None:
            ranks = refusing if ranks is None else np.minimum(ranks, refusing)
    if len(cache.together) >= _MAX_CACHED_TOGETHER:
        cache.together.clear()
    found = cache.together[cache_key] = (version, passed, ranks)
    return found


def _cached_refusal_ranks(cache: FilterCache, rank: int, passes: Bools) -> Ranks:
    """The refusal ranks of a rule, computed again only when its answer is another array."""
    cached = cache.refusal_ranks.get(rank)
    if cached is None or cached[0] is not passes:
        cached = cache.refusal_ranks[rank] = (passes, _refusal_ranks(passes, rank))
    return cached[1]


def _refusal_ranks(passes: Bools, rank: int) -> Ranks:
    """The rank of a rule where it refuses, `RANK_ADMITTED` where it does not; [slot_capacity]."""
    return np.where(passes, RANK_ADMITTED, np.uint8(rank))


def _merge_ranks(one: Ranks, other: Ranks, third: Ranks | None) -> tuple[Ranks, Ints]:
    first = np.minimum(one, other)
    if third is not None:
        np.minimum(first, third, out=first)
    return first, (first == RANK_ADMITTED).nonzero()[0]


@dataclass(frozen=True, slots=True)
class _CachedRules:
    """Rules whose answers can be cached, and what of a demand these depend on."""

    rules: tuple[Rule, ...]
    cache_key: Callable[[Demand], Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rulebook:
    rights: _CachedRules
    cached: _CachedRules
    time_dependent: tuple[tuple[SiteRule, int], ...]
    seldom_shared: tuple[tuple[SiteRule, int], ...]
    time_dependent_admits: tuple[Callable[[Fleet, Demand, DecisionContext], Bools], ...]
    seldom_shared_key: Callable[[Demand], Hashable]
    rank_of: dict[Rule, int]


@cache
def rulebook() -> _Rulebook:
    """Grant rules, site rules whose answers can be cached, and time-dependent site rules."""
    empty_demand = Demand(key="")
    rights: list[GrantRule] = []
    cached: list[SiteRule] = []
    time_dependent: list[tuple[SiteRule, int]] = []
    seldom_shared: list[tuple[SiteRule, int]] = []
    rank_of = {rule: rank for rank, rule in enumerate(all_rules(), 1)}
    for rank, rule in enumerate(all_rules(), 1):
        if is_grant_rule(rule):
            rights.append(rule)
        elif is_site_rule(rule):
            if rule.cache_key(empty_demand) is NEVER_CACHED:
                time_dependent.append((rule, rank))
            elif getattr(rule, "is_seldom_shared", False):
                seldom_shared.append((rule, rank))
            else:
                cached.append(rule)
    return _Rulebook(
        rights=_CachedRules(tuple(rights), combined_cache_key(rights)),
        cached=_CachedRules(tuple(cached), combined_cache_key(cached)),
        time_dependent=tuple(time_dependent),
        seldom_shared=tuple(seldom_shared),
        seldom_shared_key=combined_cache_key([rule for rule, _ in seldom_shared]),
        time_dependent_admits=tuple([rule.admits for rule, _ in time_dependent]),
        rank_of=rank_of,
    )


def _keep(cache: FilterCache, cache_key: Hashable, results: RuleResults) -> None:
    cache.results[cache_key] = results
    if len(cache.results) > _MAX_CACHED_RESULTS:
        cache.results.pop(next(iter(cache.results)))


def _evaluate_rules(
    rules: tuple[Rule, ...],
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    version: Version,
) -> RuleResults:
    """Evaluates rules whose answers can be cached.

    One grant must allow everything: the bits of the grants still in play are passed from rule to
    rule, and the rule that rules out a site's last grant is the one that refuses it.
    """
    valid = fleet.grants.valid_bits(context.now_seconds)
    # Where no grant is valid, `grant_expired` or `has_grant` refuses; the other rules then judge
    # all grants, so that they do not refuse for the same cause.
    bits = np.where(valid != 0, valid, -1)
    first_refusal_ranks = np.where(fleet.has_site, RANK_ADMITTED, RANK_EMPTY_SLOT)
    passed: dict[Rule, Bools] = {}
    rank_of = rulebook().rank_of
    apply_grant_rule = compiled.kernel.apply_grant_rule if fleet.is_compiled else _apply_grant_rule
    for rule in rules:
        if is_grant_rule(rule):
            passed[rule] = np.zeros(fleet.slot_capacity, np.bool_)
            accepted = grant_bits(rule, fleet, demand)
            apply_grant_rule(
                first_refusal_ranks, bits, accepted, passed[rule].view(np.uint8), rank_of[rule]
            )
        elif is_site_rule(rule):
            holds = passed[rule] = rule.admits(fleet, demand, context)
            if holds is not fleet.has_site:
                np.minimum(
                    first_refusal_ranks,
                    _refusal_ranks(holds, rank_of[rule]),
                    out=first_refusal_ranks,
                )
    grants = np.where(valid != 0, bits, 0)
    vendor_sets = _vendor_sets_in_use(grants, fleet)
    return RuleResults(
        version=version,
        passed=passed,
        first_refusal_ranks=first_refusal_ranks,
        allowing_grant_bits=grants,
        vendor_sets=vendor_sets if vendor_sets.any() else None,
    )


def _apply_grant_rule(
    first_refusal_ranks: Ranks,
    grant_bits_in_play: Ints,
    accepted_bits: Ints,
    passed: Flags,
    rank: int,
) -> None:
    """Applies a grant rule: it keeps those grants in play that it accepts.

    Where none remains, the rule refuses the site, and the grants in play stay as they were, so that
    later rules are judged on their own.

    Args:
        first_refusal_ranks: the rank of the first rule that refuses; [slot_capacity]; updated.
        grant_bits_in_play: the grants in play, as bits; [slot_capacity]; updated.
        accepted_bits: the grants that the rule accepts, as bits; [slot_capacity].
        passed: 1 where a grant remains; [slot_capacity]; written.
        rank: the rank of the rule.
    """
    left = grant_bits_in_play & accepted_bits
    np.not_equal(left, 0, out=passed.view(np.bool_))
    np.copyto(grant_bits_in_play, left, where=left != 0)
    np.minimum(first_refusal_ranks, _refusal_ranks(left != 0, rank), out=first_refusal_ranks)


def _vendor_sets_in_use(grants: Ints, fleet: Fleet) -> Ints:
    """The number of the set of CPU vendors that the grants in use permit; [slot_capacity].

    Every grant that allows everything else permits the vendors that it names: a replica runs under
    any of them, so that a further grant never takes room away.
    """
    if not fleet.grants.have_mixed_vendors:
        return fleet.description_column(
            "vendor set",
            lambda facts: (
                fleet.vendor_set_number(facts.grants[0].spec.cpu_vendors) if facts.grants else 0
            ),
            np.int64,
        )
    sets = np.zeros(fleet.slot_capacity, np.int64)
    for slot in np.flatnonzero(grants):
        facts = fleet.report_at(int(slot))
        if facts is not None:
            sets[slot] = fleet.vendor_set_number(_vendors_in_use(int(grants[slot]), facts))
    return sets


def _vendors_in_use(bits: int, facts: SiteFacts) -> tuple[str, ...]:
    """The vendors that the grants in use permit at a site; empty: any vendor."""
    allowing = [
        grant.spec.cpu_vendors
        for index, grant in enumerate(facts.grants[: bits.bit_length()])
        if bits >> index & 1
    ]
    if not all(allowing):
        return ()
    return tuple(sorted({vendor for vendors in allowing for vendor in vendors}))
