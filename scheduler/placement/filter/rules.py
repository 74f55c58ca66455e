"""What a hard rule is, and how the rules are found.

A rule is one file in `constraints/` that holds one `RULE`. Rules of grants answer for one grant and
are put together here, because one grant must allow everything: two halves are not added up. All
other rules answer for the whole fleet at once. Every rule can say why for one site, and names the
events that could change its answer, so that waiting work is woken by those only.
"""

import importlib
import pkgutil
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from operator import attrgetter
from typing import Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import Grant, SiteFacts
from scheduler.model.reasons import REASONS, Reason
from scheduler.placement.filter import constraints
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import MAX_GRANTS, Fleet

BoolPerSite = NDArray[np.bool_]

WakeEvent = Literal[
    "grant",
    "scheme",
    "tenant",
    "workload",
    "site",
    "report",
    "latency",
    "capacity",
    "time",
    "quota",
    "placed",
    "gone",
]
"""What can happen: a grant, scheme, tenant, workload or site object changed; a report brought other
facts, a shorter round trip, or more free capacity; time went by; quota was given back; another
workload was placed elsewhere than before; another workload is gone, and with it what it owned."""


NEVER_CACHED: Hashable = ("every time",)
"""The question of a rule whose answer depends on the moment: it is asked for every decision."""


class DemandFields:
    """The question of a rule to which whole fields of a demand matter, and nothing else of it."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, demand: Demand) -> Hashable:
        """The fields."""
        return tuple([getattr(demand, name) for name in self.names])


class SiteRule(Protocol):
    """A rule about sites."""

    reason: Reason
    wake_events: frozenset[WakeEvent]

    def cache_key(self, demand: Demand) -> Hashable:
        """What of a demand matters to this rule; equal questions have equal answers.

        Answers are remembered by it until a site changes. `NEVER_CACHED`: never.
        """
        ...

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites pass; [fleet.capacity]."""
        ...

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Why one site passes or not, as a sentence with the figures that count."""
        ...

    def fix(self, refused: RefusedSite) -> Fix | None:
        """The smallest change after which the site passes; None: none is known."""
        ...


class GrantRule(Protocol):
    """A rule about what an authority granted."""

    reason: Reason
    wake_events: frozenset[WakeEvent]

    def cache_key(self, demand: Demand) -> Hashable:
        """What of a demand matters to this rule; equal questions have equal answers."""
        ...

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether a grant allows it, apart from its dates."""
        ...

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Why one site passes or not."""
        ...

    def fix(self, refused: RefusedSite) -> Fix | None:
        """The smallest change after which the site passes; None: none is known."""
        ...


Rule = SiteRule | GrantRule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule in `constraints/`, in the order in which a site's first reason is told."""
    order = {reason: place for place, reason in enumerate(REASONS)}
    found: list[tuple[bool, int, str, Rule]] = []
    for module in pkgutil.iter_modules(constraints.__path__):
        rule: Rule = importlib.import_module(f"{constraints.__name__}.{module.name}").RULE
        found.append((module.name not in _REPORTED_FIRST, order[rule.reason], module.name, rule))
    return tuple(each[-1] for each in sorted(found, key=lambda each: each[:3]))


_REPORTED_FIRST = ("data_class_missing", "grant_expired", "has_grant")
"""Without a class, or without a grant, nothing else matters."""


def is_grant_rule(rule: Rule) -> TypeGuard[GrantRule]:
    """Whether a rule judges grants one by one."""
    return hasattr(rule, "allows")


def is_site_rule(rule: Rule) -> TypeGuard[SiteRule]:
    """Whether a rule answers for the whole fleet at once."""
    return hasattr(rule, "admits")


def combined_cache_key(rules: Sequence[Rule]) -> Callable[[Demand], Hashable]:
    """What of a demand matters to any of several rules, gathered in as few steps as can be."""
    field_keys = [rule.cache_key for rule in rules if isinstance(rule.cache_key, DemandFields)]
    computed_keys = [
        rule.cache_key for rule in rules if not isinstance(rule.cache_key, DemandFields)
    ]
    names = dict.fromkeys(name for each in field_keys for name in each.names)
    fields = attrgetter(*names) if names else DemandFields()
    return lambda demand: (fields(demand), *[request(demand) for request in computed_keys])


def rule_name(rule: Rule) -> str:
    """The name of a rule: that of its file."""
    return type(rule).__module__.rpartition(".")[2].replace("_", "-")


def grant_bits(rule: GrantRule, fleet: Fleet, demand: Demand) -> NDArray[np.int64]:
    """Which grants of each site a rule accepts, as bits; [fleet.capacity]."""

    def accepted_bits(facts: SiteFacts) -> int:
        grants = facts.grants[:MAX_GRANTS]
        return sum(1 << place for place, grant in enumerate(grants) if rule.allows(grant, demand))

    return fleet.description_column((rule.reason, rule.cache_key(demand)), accepted_bits, np.int64)


def is_grant_valid(grant: Grant, context: DecisionContext) -> bool:
    """Whether a grant holds at a moment: from `validFrom` on, and before `validUntil`."""
    begins, ends = grant.spec.valid_from, grant.spec.valid_until
    now = context.now_seconds
    return (begins is None or begins.timestamp() <= now) and (
        ends is None or now < ends.timestamp()
    )


def valid_grants(facts: SiteFacts, context: DecisionContext) -> list[Grant]:
    """The grants of a site that hold now."""
    return [grant for grant in facts.grants if is_grant_valid(grant, context)]
