"""A hard rule is one file: all that Kapok does with a rule, it takes from there."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scheduler.control.queue.unschedulable import Unschedulable
from scheduler.control.stats import refusals
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.reasons import REASONS
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.filter import constraints
from scheduler.placement.filter import filter as site_filter
from scheduler.placement.filter.rules import WakeEvent, all_rules, rule_name
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.queue.order import could_wake, wake_events_of
from tests.support.one_site import asking, at
from tests.support.sites import NOW

SITE_RULE = '''
"""Large workloads stay away from sites at the edge."""

import numpy as np
from msgspec.structs import replace

from scheduler.placement.filter.fix import change_workload
from scheduler.placement.filter.rules import DemandFields


class SmallAtTheEdge:
    """At most two replicas where the tier is edge."""

    reason = "architecture"
    wake_events = frozenset({"tenant"})

    cache_key = DemandFields("replicas")

    def admits(self, fleet, demand, context):
        return fleet.description_column(
            ("small-at-the-edge", demand.replicas),
            lambda facts: facts.spec.tier != "edge" or demand.replicas <= 2,
            np.bool_,
        )

    def explain(self, facts, demand, context):
        return f"{facts.name} is at the edge, and {demand.replicas} replicas are many"

    def fix(self, refused):
        fewer = replace(refused.demand, replicas=2)
        return change_workload("replicas", str(refused.demand.replicas), "2", fewer)


RULE = SmallAtTheEdge()
'''
GRANT_RULE = '''
"""A grant counts only if it names a class of its own."""

from scheduler.placement.filter.fix_grants import change_grant
from scheduler.placement.filter.rules import DemandFields


class NotGeneralTwo:
    """Grants of class general-2 allow nothing."""

    reason = "network-zone"
    wake_events = frozenset({"time"})

    cache_key = DemandFields()

    def allows(self, grant, demand):
        return grant.spec.data_class != "general-2"

    def explain(self, facts, demand, context):
        return f"the grant of {facts.name} is for general-2"

    def fix(self, refused):
        return change_grant(refused, "dataClass", "general-2", "general-3", data_class="general-3")


RULE = NotGeneralTwo()
'''
CACHES = (all_rules, site_filter.rulebook, wake_events_of, refusals._codes_of_ranks)  # noqa: SLF001
"""What is computed once from all rules; a program loads its rules once, this test does it again."""


@pytest.fixture(autouse=True)
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both rules, in a folder that is looked at beside `constraints/`."""
    added = {"small_at_the_edge": SITE_RULE, "not_general_two": GRANT_RULE}
    for name, text in added.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = [rule_name(rule) for rule in all_rules()]
    assert not could_wake(frozenset({"tenant"}), ["architecture"])
    assert not could_wake(frozenset({"time"}), ["network-zone"])
    monkeypatch.setattr(constraints, "__path__", [*constraints.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    for cache in CACHES:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for name in added:
        sys.modules.pop(f"{constraints.__name__}.{name}", None)
    for cache in CACHES:
        cache.cache_clear()
    assert [rule_name(rule) for rule in all_rules()] == before


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one of the rules refuses, and what Kapok says and does then."""

    rule: str
    reason: str
    event: WakeEvent
    site: SiteFacts
    replicas: int
    sentence: str
    change: tuple[str, str, str, str]


WORK: WorkKey = ("ns", "app")
EDGE = at({"tier": "edge"})
CASES = [
    Case(
        rule="small-at-the-edge",
        reason="architecture",
        event="tenant",
        site=EDGE,
        replicas=4,
        sentence="m1 is at the edge, and 4 replicas are many",
        change=("workload.replicas", "ns/app", "4", "2"),
    ),
    Case(
        rule="not-general-two",
        reason="network-zone",
        event="time",
        site=at(granted={"dataClass": "general-2"}),
        replicas=1,
        sentence="the grant of m1 is for general-2",
        change=("grant.dataClass", "SiteGrant granted", "general-2", "general-3"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_of_one_file_is_obeyed_explained_woken_and_fixed(case: Case) -> None:
    asked, fleet = asking(case.replicas), Fleet([case.site])
    decision = choose(asked, fleet, now=NOW)
    assert (decision.phase, decision.reasons) == ("Refused", {case.reason: 1})
    code = refusals.first_reason_codes(decision, asked, fleet, DEFAULT_TERMS)[fleet.slot_of["m1"]]
    assert list(REASONS)[code - 1] == case.reason

    (site,) = explain(asked, fleet, now=NOW).sites
    refusing = {each.rule: each.sentence for each in site.verdicts if not each.passed}
    assert refusing == {case.rule: case.sentence}

    queue = Unschedulable()
    queue.put(WORK, frozenset(decision.reasons))
    assert queue.pop_helped(frozenset({"quota"}), 9, are_sites_known=False) == []
    assert queue.pop_helped(frozenset({case.event}), 9, are_sites_known=False) == [WORK]

    offers = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert [(each.kind, each.target, each.from_, each.to) for each in offers] == [case.change]
    assert all(each.verified for each in offers)


def test_a_rule_of_one_file_admits_all_others() -> None:
    assert choose(asking(4), Fleet([at({"tier": "central"})]), now=NOW).phase == "Placed"
    assert choose(asking(2), Fleet([EDGE]), now=NOW).phase == "Placed"
