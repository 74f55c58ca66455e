"""For each kind of refusal: what would make the workload fit, run by the engine."""

from typing import Any

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import Tenant
from scheduler.model.reasons import REASONS
from scheduler.placement.choose import choose
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    facts_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    workload,
)


def tenant(**spec: object) -> Tenant:
    raw = {"metadata": {"name": "bureau"}, "spec": {"namespaces": ["ns"], **spec}}
    return decode_as(raw, Tenant)


def at(spec: Raw | None = None, granted: Raw | None = None, **status: object) -> SiteFacts:
    """The one site, with room for five replicas."""
    raw = site("m1", nodes(5), spec=spec)
    raw["status"] |= status
    return facts_of(raw, grant("m1", **(granted or {})))


def asking(replicas: int = 1, *, of: Tenant | None = None, **spec: Any) -> Demand:  # noqa: ANN401
    raw = workload(replicas, **spec)
    if spec.get("manifests") and "demand" in spec:
        del raw["spec"]["demand"]
    return demand(raw, tenants=[of] if of else [])


def spread(**rule: object) -> Raw:
    return {"spread": [{"by": "site", **rule}]}


TAINTED = {**nodes(5), "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}
OFFERS: list[tuple[str, SiteFacts, Demand, str, str]] = [
    (
        "data-class",
        at(),
        asking(dataClass="general-4", jurisdictions=["CN-GD"]),
        "grant.dataClass",
        "general-4",
    ),
    ("data-class", at(), asking(of=tenant(classes=["general-1"])), "tenant.classes", "general-2"),
    ("data-class-missing", at(), asking(dataClass=None), "workload.dataClass", "general-1"),
    (
        "protection-level",
        at(granted={"protectionLevel": 1}),
        asking(protectionLevel=3),
        "grant.protectionLevel",
        "3",
    ),
    (
        "jurisdiction",
        at(),
        asking(jurisdictions=["CN-BJ"]),
        "workload.jurisdictions",
        "CN-BJ, CN-GD",
    ),
    (
        "jurisdiction",
        at(granted={"dataClass": "general-4"}),
        asking(dataClass="general-4"),
        "workload.jurisdictions",
        "CN-GD",
    ),
    (
        "network-zone",
        at(),
        asking(networkZones=["internet-access"]),
        "grant.networkZones",
        "internet-access, public-network",
    ),
    (
        "dedicated-pool",
        at(granted={"protectionLevel": 4}),
        asking(protectionLevel=4),
        "grant.dedicatedPool",
        "true",
    ),
    (
        "not-allowed",
        at(granted={"dataClass": "important"}),
        asking(dataClass="important"),
        "grant.allowList",
        "ns/app",
    ),
    (
        "not-allowed",
        facts_of(site_with_capacity("m1", 5)),
        asking(),
        "grant.sites",
        "general-2, level 1",
    ),
    (
        "grant-expired",
        at(granted={"validUntil": "2026-01-01T00:00:00Z"}),
        asking(),
        "grant.validUntil",
        "2027-11-23T08:01:00Z",
    ),
    (
        "grant-expired",
        at(granted={"validFrom": "2027-01-01T00:00:00Z"}),
        asking(),
        "grant.validFrom",
        "2026-11-23T08:01:00Z",
    ),
    (
        "architecture",
        at(),
        asking(imagePlatforms=["linux/arm64"]),
        "workload.imagePlatforms",
        "linux/amd64, linux/arm64",
    ),
    (
        "cpu-vendor",
        at(nodeClasses=[{**nodes(5), "cpuVendor": "hygon"}], granted={"cpuVendors": ["kunpeng"]}),
        asking(),
        "grant.cpuVendors",
        "kunpeng, hygon",
    ),
    (
        "cpu-vendor",
        at(nodeClasses=[{**nodes(5), "cpuVendor": "hygon"}]),
        asking(placement={"cpuVendors": ["kunpeng"]}),
        "workload.cpuVendors",
        "kunpeng, hygon",
    ),
    (
        "taint",
        at({"taints": [{"key": "a", "value": "b"}]}),
        asking(),
        "workload.siteTolerations",
        "a=b:NoSchedule",
    ),
    (
        "taint",
        at({"taints": [{"key": "a", "effect": "NoExecute", "timeAdded": "2026-11-23T07:00:00Z"}]}),
        asking(placement={"siteTolerations": [{"key": "a", "tolerationSeconds": 30}]}),
        "workload.siteTolerations",
        "a=:NoExecute",
    ),
    (
        "quota",
        at(namespaces=[{"name": "ns", "containerMax": {"cpu": "500m"}}]),
        asking(
            manifests=[
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": "y"},
                    "spec": {
                        "containers": [
                            {"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
                        ]
                    },
                }
            ],
            demand=None,
        ),
        "site.namespaces",
        "",
    ),
    ("taint", at(nodeClasses=[TAINTED]), asking(), "workload.tolerations", "a=b:NoSchedule"),
    (
        "selector",
        at(),
        asking(placement={"siteSelector": {"matchLabels": {"a": "b"}}}),
        "workload.siteSelector",
        "",
    ),
    (
        "selector",
        at(),
        asking(of=tenant(siteSelector={"matchLabels": {"a": "b"}})),
        "tenant.siteSelector",
        "",
    ),
    ("selector", at(), asking(demand={"nodeSelector": {"a": "b"}}), "workload.nodeSelector", ""),
    (
        "selector",
        at(),
        asking(placement={"strategy": "Weighted", "weights": [{"site": "m2", "weight": 1}]}),
        "workload.weights",
        "m1: 1",
    ),
    (
        "site-group",
        at(),
        asking(placement={"siteGroups": [{"name": "far", "sites": ["m9"]}]}),
        "workload.siteGroups",
        "m1 in far",
    ),
    (
        "too-far",
        at(rtt=[{"to": "gz", "milliseconds": 50}]),
        asking(placement={"latency": [{"from": "gz", "withinMilliseconds": 20}]}),
        "workload.latency",
        "50 ms",
    ),
    (
        "latency-unknown",
        at(),
        asking(placement={"latency": [{"from": "gz", "withinMilliseconds": 20}]}),
        "site.rtt",
        "20 ms or less to gz",
    ),
    ("stale", at(observedAt="2026-11-22T08:00:00Z"), asking(), "site.report", "a report from now"),
    (
        "silent",
        at(conditions=[{"type": "Ready", "status": "False"}]),
        asking(),
        "site.report",
        "a report from now",
    ),
    ("cordoned", at({"cordon": True}), asking(), "site.cordon", "false"),
    ("no-executor", at(executor=False), asking(), "site.executor", "true"),
    (
        "api-kind",
        at(apiKinds=["apps/v1/Deployment"]),
        asking(manifests=[{"apiVersion": "x.io/v1", "kind": "Y", "metadata": {"name": "y"}}]),
        "site.apiKinds",
        "x.io/v1/Y",
    ),
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
    (
        "spread",
        at(),
        asking(placement={"affinity": [{"kind": "With", "selector": {"matchLabels": {"a": "b"}}}]}),
        "workload.affinity",
        "preferred",
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


def test_every_reason_has_a_row_above() -> None:
    told = {row[0] for row in OFFERS} | {"invalid"}  # what is not accepted says what to write
    assert set(REASONS) - told == set()


def test_what_must_be_changed_together_is_one_offer() -> None:
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


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ({"dataClass": "core"}, {"dataClass": "core"}),
        ({}, {"networkZones": ["classified"]}),
        ({"protectionLevel": 5}, {"protectionLevel": 5}),
    ],
)
def test_what_is_never_scheduled_has_no_change(granted: Raw, asked: Raw) -> None:
    fleet = Fleet([at(granted=granted)])
    assert suggest_changes(asking(**asked), fleet, decision_context(NOW, DEFAULT_TERMS)) == ()


def offered(asked: Demand, *raw: Raw) -> list[tuple[str, str, str]]:
    """Kind, from and to of each offer, where every site has a grant."""
    granted = grant(*(each["metadata"]["name"] for each in raw))
    fleet = Fleet([facts_of(each, granted) for each in raw])
    offers = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert all(each.verified for each in offers)
    return [(each.kind, each.from_, each.to) for each in offers]


def test_fewer_replicas_are_offered_where_a_spread_needs_some_at_least() -> None:
    raw = [site_with_capacity(f"m{place}", 1) for place in range(3)]
    asked = asking(20, placement=spread(minGroups=3))
    assert offered(asked, *raw)[0] == ("workload.replicas", "20", "3")


def test_a_bound_of_a_spread_is_moved_as_little_as_will_do() -> None:
    raw = [site_with_capacity(f"m{place}", 30) for place in range(3)]
    asked = asking(27, placement=spread(maxPerGroup=5))
    assert ("workload.spread.maxPerGroup", "5 (by site)", "9") in offered(asked, *raw)
    few = [site_with_capacity(f"m{place}", 1) for place in range(9)]
    asked = asking(7, placement=spread(maxGroups=1))
    assert ("workload.spread.maxGroups", "1 (by site)", "7") in offered(asked, *few)
    asked = asking(20, placement=spread(minGroups=12))
    assert ("workload.spread.minGroups", "12 (by site)", "3") in offered(asked, *raw)


def test_only_what_keeps_away_is_to_be_tolerated() -> None:
    taints = [
        {"key": "a", "value": "1", "effect": "NoSchedule"},
        {"key": "b", "effect": "PreferNoSchedule"},
        {"key": "c", "effect": "NoExecute"},
    ]
    borne = [{"key": "c", "operator": "Exists"}]
    asked = asking(placement={"siteTolerations": borne})
    raw = site_with_capacity("m1", 3, spec={"taints": taints})
    assert offered(asked, raw) == [("workload.siteTolerations", "", "a=1:NoSchedule")]
    asked = asking(demand={"tolerations": borne})
    raw = site("m1", {**nodes(3), "taints": taints})
    assert offered(asked, raw) == [("workload.tolerations", "", "a=1:NoSchedule")]


def test_nodes_with_room_are_opened_and_only_what_no_node_has_is_given_up() -> None:
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


def test_a_longer_round_trip_is_told_as_it_was_measured() -> None:
    raw = site("m1", nodes(3), rtt=[{"to": "gz", "milliseconds": 12.3456789}])
    asked = asking(placement={"latency": [{"from": "gz", "withinMilliseconds": 10}]})
    assert offered(asked, raw) == [("workload.latency", "10 ms", "12.3456789 ms")]


def centres(milliseconds: float, standby: int) -> list[Raw]:
    """Two sites of one metro, so far apart, and one elsewhere with so much room."""
    here, there = ({"location": {"province": p, "metro": p}} for p in ("CN-GD", "CN-GX"))
    pair = [site_with_capacity(name, 20, spec=here) for name in ("a", "b")]
    for each, other in zip(pair, ("b", "a"), strict=True):
        each["status"]["rtt"] = [{"to": other, "milliseconds": milliseconds}]
    return [*pair, site_with_capacity("c", standby, spec=there)]


def test_a_pair_and_its_standby_are_eased_as_little_as_will_do() -> None:
    def asked(**options: float) -> Demand:
        preset = {"preset": "two-places-three-centres", "presetOptions": options}
        return asking(10, placement=preset)

    far = offered(asked(pairWithinMilliseconds=2), *centres(7.25, 20))
    assert ("workload.presetOptions.pairWithinMilliseconds", "2", "7.25") in far
    small = offered(asked(standbyRatio=0.95), *centres(1, 6))
    assert ("workload.presetOptions.standbyRatio", "0.95", "0.6") in small


def test_a_spread_is_given_up_together_with_what_else_it_takes() -> None:
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
