"""What a hard rule is, and how rules are found.

A rule is one file in `constraints/` that holds one `RULE`. A grant rule answers for one grant, and
the answers are combined in `filter.py`, because a single grant must allow everything. A site rule
answers for the whole fleet at once. Every rule can explain its answer for one site, and names the
events that may change it, so that waiting workloads are requeued by those only.
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
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.grants import MAX_GRANTS

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
"""What can change the answer of a rule: a grant, scheme, tenant, workload or site object changed; a
report brought other facts, a shorter round trip, or more free capacity; time passed; quota was
freed; another workload was placed at other sites, or was deleted with all that it owned."""


NEVER_CACHED: Hashable = ("every time",)
"""The cache key of a rule that is evaluated for every decision, as its answer depends on the time
or on parts of reports that change often."""


class DemandFields:
    """The cache key of a rule whose answer depends on some fields of a demand, and nothing else.

    Args:
        names: the fields.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, demand: Demand) -> Hashable:
        """The values of the fields."""
        return tuple([getattr(demand, name) for name in self.names])


class SiteRule(Protocol):
    """A rule about sites.

    Attributes:
        reason: the slug that a refusal is counted under.
        wake_events: the events that may change the answer.

    A rule with `is_seldom_shared = True` asks what most demands ask in their own words (selectors,
    tolerations, bounds): its answers are cached apart from those of the other rules, which demands
    share.
    """

    reason: Reason
    wake_events: frozenset[WakeEvent]

    def cache_key(self, demand: Demand) -> Hashable:
        """What of a demand the answer depends on: demands with equal keys have equal answers.

        Answers are cached under it until a site changes; `NEVER_CACHED`: not at all.
        """
        ...

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites pass; [slot_capacity]. `fleet.has_site` itself when no site is refused."""
        ...

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Why one site passes or not, as a sentence with the figures that count."""
        ...

    def fix(self, refused: RefusedSite) -> Fix | None:
        """The smallest change after which the site passes; None: none is known."""
        ...


class GrantRule(Protocol):
    """A rule about what an authority granted a site.

    Attributes:
        reason: the slug that a refusal is counted under.
        wake_events: the events that may change the answer.
    """

    reason: Reason
    wake_events: frozenset[WakeEvent]

    def cache_key(self, demand: Demand) -> Hashable:
        """What of a demand the answer depends on: demands with equal keys have equal answers."""
        ...

    def allows(self, grant: Grant, demand: Demand) -> bool:
        """Whether a grant allows the workload, not considering its dates."""
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
    """Every rule in `constraints/`, in the order in which a site's first reason is given.

    Raises:
        LookupError: the reason of a rule is not in `model/reasons.py`.
    """
    order = {reason: rank for rank, reason in enumerate(REASONS)}
    found: list[tuple[bool, int, str, Rule]] = []
    for module in pkgutil.iter_modules(constraints.__path__):
        rule: Rule = importlib.import_module(f"{constraints.__name__}.{module.name}").RULE
        if rule.reason not in order:
            raise LookupError(
                f"constraints/{module.name}.py has the reason {rule.reason!r}: "
                "add it to scheduler/model/reasons.py"
            )
        found.append((module.name not in _REPORTED_FIRST, order[rule.reason], module.name, rule))
    return tuple(each[-1] for each in sorted(found, key=lambda each: each[:3]))


_REPORTED_FIRST = ("data_class_missing", "grant_expired", "has_grant")
"""Rules that come before all others: without a data class or a grant no other reason matters."""


def is_grant_rule(rule: Rule) -> TypeGuard[GrantRule]:
    """Whether a rule answers for one grant at a time."""
    return hasattr(rule, "allows")


def is_site_rule(rule: Rule) -> TypeGuard[SiteRule]:
    """Whether a rule answers for the whole fleet at once."""
    return hasattr(rule, "admits")


def combined_cache_key(rules: Sequence[Rule]) -> Callable[[Demand], Hashable]:
    """A function that gives what of a demand the answers of any of several rules depend on.

    It runs for every decision: the fields of all `DemandFields` are read in one step.
    """
    field_keys = [rule.cache_key for rule in rules if isinstance(rule.cache_key, DemandFields)]
    computed_keys = [
        rule.cache_key for rule in rules if not isinstance(rule.cache_key, DemandFields)
    ]
    names = dict.fromkeys(name for each in field_keys for name in each.names)
    fields = attrgetter(*names) if names else DemandFields()
    return lambda demand: (fields(demand), *[request(demand) for request in computed_keys])


def rule_name(rule: Rule) -> str:
    """The name of a rule: its file name, with hyphens."""
    return type(rule).__module__.rpartition(".")[2].replace("_", "-")


def grant_bits(rule: GrantRule, fleet: Fleet, demand: Demand) -> NDArray[np.int64]:
    """Which grants of each site a rule accepts, as bits; [slot_capacity]."""

    def accepted_bits(facts: SiteFacts) -> int:
        grants = facts.grants[:MAX_GRANTS]
        return sum(1 << index for index, grant in enumerate(grants) if rule.allows(grant, demand))

    return fleet.description_column((rule.reason, rule.cache_key(demand)), accepted_bits, np.int64)


def has_any_grant(fleet: Fleet) -> BoolPerSite:
    """Which sites have a grant, valid or not; [slot_capacity]."""
    return fleet.description_column("has-grant", lambda facts: bool(facts.grants), np.bool_)


def is_grant_valid(grant: Grant, context: DecisionContext) -> bool:
    """Whether a grant is valid now: from `validFrom` on, and before `validUntil`."""
    begins, ends = grant.spec.valid_from, grant.spec.valid_until
    now = context.now_seconds
    return (begins is None or begins.timestamp() <= now) and (
        ends is None or now < ends.timestamp()
    )


def valid_grants(facts: SiteFacts, context: DecisionContext) -> list[Grant]:
    """The grants of a site that are valid now."""
    return [grant for grant in facts.grants if is_grant_valid(grant, context)]
