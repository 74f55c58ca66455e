"""For reasons that are not a rule's alone: what would make the workload fit, run by the engine."""

import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.reasons import REASONS, TRANSIENT_REASONS
from scheduler.placement.choose import choose
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.filter.rules import all_rules
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.one_site import asking, at, tenant
from tests.support.sites import (
    NOW,
    Raw,
    facts_of,
    grant,
    nodes,
    site,
    site_with_capacity,
)


def spread(**rule: object) -> Raw:
    return {"spread": [{"by": "site", **rule}]}


OFFERS: list[tuple[str, SiteFacts, Demand, str, str]] = [
    ("full", at(), asking(8), "workload.replicas", "5"),
    (
        "full",
        at(),
        asking(requests={"cpu": "8", "memory": "9Gi"}),
        "workload.requests",
        "cpu 1, memory 2Gi",
    ),
    (
        "full",
        at(),
        asking(requests={"example.com/fpga": 1}),
        "workload.requests.example.com/fpga",
        "0",
    ),
    ("fragmented", at(), asking(requests={"cpu": "3"}), "workload.requests.cpu", "1"),
    ("spread", at(), asking(5, placement=spread(minGroups=3)), "workload.spread.minGroups", "1"),
    (
        "spread",
        at(),
        asking(5, placement=spread(maxPerGroup=3)),
        "workload.spread.maxPerGroup",
        "5",
    ),
    ("quota", at(), asking(5, of=tenant(quota={"cpu": "3"})), "tenant.quota", "cpu: 5"),
    (
        "deadline",
        at(),
        asking(schedule={"deadline": "2026-11-23T09:00:00Z", "durationSeconds": 7200}),
        "workload.schedule.deadline",
        "2026-11-23T10:01:00Z",
    ),
    (
        "deadline",
        at(),
        asking(schedule={"earliest": "2026-11-24T00:00:00Z"}),
        "workload.schedule.earliest",
        "2026-11-23T08:01:00Z",
    ),
    ("paused", at(), asking(paused=True), "workload.paused", "false"),
]


@pytest.mark.parametrize(
    ("reason", "facts", "asked", "kind", "becomes"), OFFERS, ids=lambda each: str(each)[:40]
)
def test_each_refusal_has_a_change_that_the_engine_verified(
    reason: str, facts: SiteFacts, asked: Demand, kind: str, becomes: str
) -> None:
    fleet = Fleet([facts])
    assert set(choose(asked, fleet, now=NOW).reasons) == {reason}
    offers = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert all(each.verified for each in offers)
    assert (kind, becomes) in [(each.kind, each.to) for each in offers]


def test_every_reason_that_no_rule_gives_alone_has_a_row_above() -> None:
    """Reasons of rules have their rows in filter/test_each_rule.py."""
    assert {row[0] for row in OFFERS} == TRANSIENT_REASONS
    of_rules = {rule.reason for rule in all_rules()}
    # A workload that is not accepted needs no offer: its message says what to write.
    not_accepted = {"invalid", "no-tenant", "pod-security"}
    assert REASONS.keys() - TRANSIENT_REASONS - not_accepted == of_rules - TRANSIENT_REASONS


def test_changes_that_are_needed_together_are_one_offer() -> None:
    asked = asking(dataClass="general-4", jurisdictions=["CN-GD"])
    fleet = Fleet([at({"cordon": True})])
    offer = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))[0]
    assert offer.kind == "grant.dataClass + site.cordon"
    assert (offer.from_, offer.to) == ("general-3 + true", "general-4 + false")


def test_several_sites_are_opened_where_one_is_not_enough() -> None:
    shut = [
        facts_of(site_with_capacity(name, 3, spec={"cordon": True}), grant("m1", "m2"))
        for name in ("m1", "m2")
    ]
    moment = decision_context(NOW, DEFAULT_TERMS)
    (offer,) = suggest_changes(asking(6), Fleet(shut), moment)
    assert offer.target == "m1 + m2"
    kinds = [each.kind for each in suggest_changes(asking(7), Fleet(shut), moment)]
    assert "site.cordon + workload.replicas" in kinds


def test_a_grant_is_changed_for_all_its_sites() -> None:
    names = [f"m{index}" for index in range(9)]
    fleet = Fleet(
        [
            facts_of(site_with_capacity(name, 3), grant(*names, dataClass="general-1"))
            for name in names
        ]
    )
    (offer,) = suggest_changes(asking(27), fleet, decision_context(NOW, DEFAULT_TERMS))
    assert (offer.kind, offer.target) == ("grant.dataClass", "SiteGrant granted")


def offered(asked: Demand, *raw: Raw) -> list[tuple[str, str, str]]:
    """Kind, old and new value of each suggestion, where every site has a grant."""
    granted = grant(*(each["metadata"]["name"] for each in raw))
    fleet = Fleet([facts_of(each, granted) for each in raw])
    offers = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert all(each.verified for each in offers)
    return [(each.kind, each.from_, each.to) for each in offers]


def test_fewer_replicas_are_offered_where_a_spread_needs_some_at_least() -> None:
    raw = [site_with_capacity(f"m{place}", 1) for place in range(3)]
    asked = asking(20, placement=spread(minGroups=3))
    assert offered(asked, *raw)[0] == ("workload.replicas", "20", "3")


def test_a_limit_of_a_spread_is_changed_as_little_as_possible() -> None:
    raw = [site_with_capacity(f"m{place}", 30) for place in range(3)]
    asked = asking(27, placement=spread(maxPerGroup=5))
    assert ("workload.spread.maxPerGroup", "5 (by site)", "9") in offered(asked, *raw)
    few = [site_with_capacity(f"m{place}", 1) for place in range(9)]
    asked = asking(7, placement=spread(maxGroups=1))
    assert ("workload.spread.maxGroups", "1 (by site)", "7") in offered(asked, *few)
    asked = asking(20, placement=spread(minGroups=12))
    assert ("workload.spread.minGroups", "12 (by site)", "3") in offered(asked, *raw)


def test_only_taints_that_refuse_the_workload_are_to_be_tolerated() -> None:
    taints = [
        {"key": "a", "value": "1", "effect": "NoSchedule"},
        {"key": "b", "effect": "PreferNoSchedule"},
        {"key": "c", "effect": "NoExecute"},
    ]
    tolerations = [{"key": "c", "operator": "Exists"}]
    asked = asking(placement={"siteTolerations": tolerations})
    raw = site_with_capacity("m1", 3, spec={"taints": taints})
    assert offered(asked, raw) == [("workload.siteTolerations", "", "a=1:NoSchedule")]
    asked = asking(demand={"tolerations": tolerations})
    raw = site("m1", {**nodes(3), "taints": taints})
    assert offered(asked, raw) == [("workload.tolerations", "", "a=1:NoSchedule")]


def test_nodes_with_capacity_are_opened_and_only_requirements_that_no_node_meets_are_dropped() -> (
    None
):
    full, empty = nodes(3, cpu="0"), nodes(3)
    keys = [{"key": key, "effect": "NoSchedule"} for key in ("x", "y")]
    raw = site("m1", {**full, "taints": keys[:1]}, {**empty, "taints": keys[1:]})
    assert offered(asking(), raw) == [("workload.tolerations", "", "y=:NoSchedule")]
    asked = asking(demand={"nodeSelector": {"zone": "a", "disk": "ssd"}})
    raw = site("m1", {**empty, "labels": {"zone": "a", "disk": "hdd"}})
    assert offered(asked, raw) == [("workload.nodeSelector", "disk=ssd", "")]
    vendors = {"cpuVendors": ["kunpeng"]}
    raw = site("m1", {**full, "cpuVendor": "hygon"}, {**empty, "cpuVendor": "intel"})
    assert offered(asking(placement=vendors), raw) == [
        ("workload.cpuVendors", "kunpeng", "kunpeng, intel")
    ]


def test_a_longer_round_trip_is_offered_as_it_was_measured() -> None:
    raw = site("m1", nodes(3), rtt=[{"to": "gz", "milliseconds": 12.3456789}])
    asked = asking(placement={"latency": [{"from": "gz", "withinMilliseconds": 10}]})
    assert offered(asked, raw) == [("workload.latency", "10 ms", "12.3456789 ms")]


def centres(milliseconds: float, standby: int) -> list[Raw]:
    """Two sites of one metro with this round trip, and one elsewhere with this capacity."""
    here, there = ({"location": {"province": p, "metro": p}} for p in ("CN-GD", "CN-GX"))
    pair = [site_with_capacity(name, 20, spec=here) for name in ("a", "b")]
    for each, other in zip(pair, ("b", "a"), strict=True):
        each["status"]["rtt"] = [{"to": other, "milliseconds": milliseconds}]
    return [*pair, site_with_capacity("c", standby, spec=there)]


def test_a_pair_and_its_standby_are_relaxed_as_little_as_possible() -> None:
    def asked(**options: float) -> Demand:
        preset = {"preset": "two-places-three-centres", "presetOptions": options}
        return asking(10, placement=preset)

    far = offered(asked(pairWithinMilliseconds=2), *centres(7.25, 20))
    assert ("workload.presetOptions.pairWithinMilliseconds", "2", "7.25") in far
    small = offered(asked(standbyRatio=0.95), *centres(1, 6))
    assert ("workload.presetOptions.standbyRatio", "0.95", "0.6") in small


def test_a_spread_is_dropped_together_with_other_changes_that_are_needed() -> None:
    asked = asking(7, placement={"spread": [{"by": "province", "minGroups": 2}]})
    here = {"location": {"province": "CN-GD"}}
    raw = [site_with_capacity(name, 3, spec=here) for name in ("m1", "m2")]
    assert offered(asked, *raw)[0] == (
        "workload.spread + workload.replicas",
        "by province, required + 7",
        "preferred + 6",
    )
    shut = [site_with_capacity(name, 3, spec={**here, "cordon": True}) for name in ("m1", "m2")]
    kinds = [kind for kind, _, _ in offered(asked, *shut)]
    assert "site.cordon + workload.spread + workload.replicas" in kinds
