"""The whole placement, kept and new, meets every required rule, or says which one it does not."""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

import pytest

from scheduler.control.status.workload import with_decision
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import DecisionReference, WorkloadStatus
from scheduler.placement.choose import choose
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.required_rules import find_unmet_rules
from tests.support.sites import NOW, Raw, demand, demand_or_refusal, fleet_of, nodes, site, workload


def city(name: str, where: str, room: int = 5) -> Raw:
    place = {"province": "CN-GD", "city": where, "metro": where}
    return site(name, nodes(room), spec={"location": place})


def decided(asked: Raw, *sites: Raw) -> Decision:
    return choose(demand(asked), fleet_of(*sites), now=NOW)


def where(decision: Decision) -> dict[str, int]:
    return {each.site: each.replicas for each in decision.assignment}


def rules(decision: Decision) -> list[str]:
    return [each.rule for each in decision.unmet]


TWO_CITIES = {"spread": [{"by": "city", "minGroups": 2}]}
ONE_EACH = {"spread": [{"by": "city", "maxPerGroup": 1}]}
ONE_CITY = {"spread": [{"by": "city", "maxGroups": 1}]}
PAIRED = {"preset": "same-city-active-active"}
COPIES = {"strategy": "Duplicated"}
CASES: list[tuple[Any, int, dict[str, int], str]] = [
    (TWO_CITIES, 2, {"s0": 2}, "spread"),
    (TWO_CITIES, 2, {"s0": 3}, "spread"),
    (ONE_EACH, 2, {"s0": 2}, "spread"),
    (ONE_CITY, 2, {"s0": 1, "s1": 1}, "spread"),
    (PAIRED, 2, {"s0": 2}, "same-city-active-active"),
    (PAIRED, 2, {"s0": 1, "s1": 1}, "same-city-active-active"),
    (COPIES, 8, {"s0": 2}, "duplicated"),
    ({"siteSelector": {"matchLabels": {"kapok.dev/city": "B"}}}, 2, {"s0": 2}, "selector"),
    ({"siteGroups": [{"name": "g", "sites": ["s1"]}]}, 2, {"s0": 2}, "site-group"),
    ({"preset": "two-places-three-centres"}, 2, {"s0": 2}, "two-places-three-centres"),
]
SITES = (city("s0", "A"), city("s1", "B", 9), city("s2", "A"))


@pytest.mark.parametrize(("placement", "replicas", "runs", "rule"), CASES)
def test_what_runs_and_does_not_meet_a_required_rule_is_named(
    placement: Raw, replicas: int, runs: dict[str, int], rule: str
) -> None:
    asked = workload(replicas, placement=placement, placed=runs)
    found = decided(asked, *SITES)
    assert rule in rules(found)
    assert not found.optimal
    assert found.gap is None or found.phase == "Waiting"
    assert all(each.sentence for each in found.unmet)


@pytest.mark.parametrize(("placement", "replicas", "runs", "rule"), CASES[:9])
def test_what_runs_moves_to_meet_the_rule_where_the_policy_says_so(
    placement: Raw, replicas: int, runs: dict[str, int], rule: str
) -> None:
    asked = workload(replicas, placement={**placement, "onViolation": "Move"}, placed=runs)
    found = decided(asked, *SITES)
    assert (found.phase, found.unmet) == ("Placed", ()), rule
    assert not found.ended, "what leaves runs on until its replacement runs"


def test_a_move_takes_as_few_replicas_as_the_rule_demands() -> None:
    asked = workload(4, placement={**TWO_CITIES, "onViolation": "Move"}, placed={"s0": 4})
    assert where(decided(asked, *SITES)) == {"s0": 3, "s1": 1}


def test_what_runs_stays_and_is_named_where_no_move_meets_the_rule() -> None:
    asked = workload(2, placement={**TWO_CITIES, "onViolation": "Move"}, placed={"s0": 2})
    found = decided(asked, city("s0", "A"), city("s1", "A"))
    assert (where(found), rules(found)) == ({"s0": 2}, ["spread"])


def test_a_paused_workload_does_not_move() -> None:
    asked = workload(2, placement={**TWO_CITIES, "onViolation": "Move"}, placed={"s0": 2})
    asked["spec"]["paused"] = True
    found = decided(asked, *SITES)
    assert (where(found), rules(found)) == ({"s0": 2}, ["spread"])


def test_a_rule_that_blocks_more_replicas_is_met_by_a_move() -> None:
    placement = {"spread": [{"by": "city", "maxPerGroup": 2}]}
    asked = workload(4, placement=placement, placed={"s0": 3})
    assert rules(decided(asked, *SITES)) == ["spread"]
    asked["spec"]["placement"] = {**placement, "onViolation": "Move"}
    assert (where(decided(asked, *SITES)), asked) == ({"s0": 2, "s1": 2}, asked)


def test_no_suggestion_leaves_a_required_rule_unmet() -> None:
    asked = demand(workload(9, placement=ONE_EACH, placed={"s0": 2}))
    fleet = fleet_of(*SITES)
    assert choose(asked, fleet, now=NOW).phase == "Waiting"
    for change in suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS)):
        assert change.kind != "replicas"


def test_the_status_says_which_rule_is_not_met_until_it_is() -> None:
    status = WorkloadStatus()
    for runs, expected in (
        ({"s0": 2}, ("False", "Spread")),
        ({"s0": 1, "s1": 1}, ("True", "RulesMet")),
    ):
        found = decided(workload(2, placement=TWO_CITIES, placed=runs), *SITES)
        status = with_decision(
            status,
            found,
            DecisionReference(),
            is_new_content=False,
            known_sites=["s0", "s1", "s2"],
            now=NOW,
        )
        (one,) = [each for each in status.conditions if each.type == "RulesMet"]
        assert (one.status, one.reason) == expected


def test_the_status_of_work_that_always_met_its_rules_has_no_such_condition() -> None:
    found = decided(workload(2), *SITES)
    status = with_decision(
        WorkloadStatus(),
        found,
        DecisionReference(),
        is_new_content=False,
        known_sites=["s0"],
        now=NOW,
    )
    assert "RulesMet" not in {each.type for each in status.conditions}


@pytest.mark.parametrize("seed", range(60))
def test_a_spread_is_unmet_exactly_when_no_move_could_meet_it(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - no secret
    rooms = [chance.randint(0, 3) for _ in range(5)]
    cities = [chance.choice("ABC") for _ in range(5)]
    rule: Raw = {"by": "city", "minGroups": chance.randint(1, 3)}
    if chance.random() < 0.5:
        rule["maxPerGroup"] = chance.randint(1, 3)
    if chance.random() < 0.5:
        rule["maxGroups"] = rule["minGroups"] + chance.randint(0, 1)
    runs = {f"s{n}": chance.randint(1, 2) for n in range(5) if chance.random() < 0.4}
    treatment = chance.choice(["Report", "Move"])
    placement = {"spread": [rule], "onViolation": treatment}
    asked = demand_or_refusal(workload(3, placement=placement, placed=runs))
    if isinstance(asked, NotAccepted):
        return
    fleet = fleet_of(*(city(f"s{n}", cities[n], rooms[n]) for n in range(5)))
    found = choose(asked, fleet, now=NOW)

    def meets(counts: Sequence[int]) -> bool:
        groups: Counter[str] = Counter()
        for n, count in enumerate(counts):
            groups[cities[n]] += count
        held = [count for count in groups.values() if count]
        fewest, most = int(rule["minGroups"]), int(rule.get("maxGroups", 9))
        return fewest <= len(held) <= most and max(held) <= int(rule.get("maxPerGroup", 9))

    counts = [where(found).get(f"s{n}", 0) for n in range(5)]
    assert bool(found.unmet) == (any(counts) and not meets(counts))
    assert not (found.optimal and found.unmet)
    assert find_unmet_rules(asked, fleet, where(found), decision_context(NOW, DEFAULT_TERMS)) == (
        found.unmet
    )
    if treatment == "Move":
        most = [runs.get(f"s{n}", 0) + rooms[n] for n in range(5)]
        possible = any(
            sum(each) == 3 and meets(each) for each in product(*(range(m + 1) for m in most))
        )
        assert (found.phase == "Placed" and not found.unmet) == possible
