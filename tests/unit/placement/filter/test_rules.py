"""Each hard rule: a table of what it lets through, through the whole decision."""

from typing import Any

import pytest

from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.kinds import SiteGrant, Workload
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.filter import rules
from scheduler.placement.filter.rules import all_rules, rule_name
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    workload,
)


def refusal(site_raw: Raw, asked: Raw, *grants: Raw) -> str:
    """The reason that the one site is refused for; empty when it is admitted."""
    fleet = fleet_of(site_raw, grants=grants or (grant("m1"),))
    decision = choose(demand(asked), fleet, now=NOW)
    assert (decision.phase == "Placed") == (not decision.reasons)
    return ",".join(decision.reasons)


def weighted(**weights: int) -> Raw:
    named = [{"site": site, "weight": weight} for site, weight in weights.items()]
    return {"strategy": "Weighted", "weights": named}


M1 = site_with_capacity("m1", 4)
NO_EXECUTE = {"key": "a", "effect": "NoExecute", "timeAdded": "2026-11-23T08:00:00Z"}


@pytest.mark.parametrize(
    ("granted", "asked", "reason"),
    [
        ({"dataClass": "general-2"}, {"dataClass": "general-2"}, ""),
        (
            {"dataClass": "general-2"},
            {"dataClass": "general-3", "jurisdictions": ["CN"]},
            "data-class",
        ),
        (
            {"dataClass": "core", "protectionLevel": 5, "dedicatedPool": True},
            {"dataClass": "core"},
            "data-class",
        ),
        ({}, {"dataClass": None}, "data-class-missing"),
        ({}, {"protectionLevel": 3}, ""),
        ({}, {"protectionLevel": 4}, "protection-level"),
        ({"protectionLevel": 4}, {"protectionLevel": 4}, "dedicated-pool"),
        ({"protectionLevel": 4, "dedicatedPool": True}, {"protectionLevel": 4}, ""),
        ({"protectionLevel": 5, "dedicatedPool": True}, {"protectionLevel": 5}, "protection-level"),
        ({}, {"networkZones": ["public-network"]}, ""),
        ({}, {"networkZones": ["public-network", "internet-access"]}, "network-zone"),
        ({"networkZones": ["classified"]}, {"networkZones": ["classified"]}, "network-zone"),
        ({}, {"jurisdictions": ["CN"]}, ""),
        ({}, {"jurisdictions": ["CN-GD"]}, ""),
        ({}, {"jurisdictions": ["CN-GX", "HK"]}, "jurisdiction"),
        ({"jurisdiction": "HK"}, {"jurisdictions": ["CN"]}, "jurisdiction"),
        ({"jurisdiction": "HK"}, {"jurisdictions": ["HK"]}, ""),
        ({"jurisdiction": "MO"}, {"jurisdictions": ["CN"]}, "jurisdiction"),
        ({"jurisdiction": ""}, {"jurisdictions": ["CN"]}, "jurisdiction"),
        ({"jurisdiction": "HK"}, {"dataClass": "general-3"}, "jurisdiction"),
        ({"dataClass": "general-4"}, {"dataClass": "general-4"}, "jurisdiction"),
        ({"dataClass": "general-4"}, {"dataClass": "general-4", "jurisdictions": ["CN-GD"]}, ""),
        ({"dataClass": "important"}, {"dataClass": "important"}, "not-allowed"),
        ({"dataClass": "important", "allowList": ["ns/app"]}, {"dataClass": "important"}, ""),
        ({"dataClass": "important", "allowList": ["ns"]}, {"dataClass": "important"}, ""),
        (
            {"dataClass": "important", "allowList": ["ns/other"]},
            {"dataClass": "important"},
            "not-allowed",
        ),
        (
            {"dataClass": "important", "allowList": ["ns"], "jurisdiction": "MO"},
            {"dataClass": "important"},
            "jurisdiction",
        ),
        ({"validUntil": "2026-11-23T08:01:00Z"}, {}, "grant-expired"),
        ({"validUntil": "2026-11-23T08:01:01Z"}, {}, ""),
        ({"validFrom": "2026-11-23T08:01:01Z"}, {}, "grant-expired"),
        ({"validFrom": "2026-11-23T08:01:00Z"}, {}, ""),
        ({"cpuVendors": ["kunpeng"]}, {}, "cpu-vendor"),
    ],
    ids=str,
)
def test_a_grant_allows_what_it_says_and_no_more(granted: Raw, asked: Raw, reason: str) -> None:
    assert refusal(M1, workload(**asked), grant("m1", **granted)) == reason


@pytest.mark.parametrize(("written", "right"), [("CN-HK", "HK"), ("CN-MO", "MO")])
def test_a_grant_for_a_jurisdiction_of_its_own_is_refused_with_the_form_to_write(
    written: str, right: str
) -> None:
    with pytest.raises(NotReadable, match=f"jurisdiction {written}: write {right}"):
        decode_as(grant("m1", jurisdiction=written), SiteGrant)


def test_a_site_without_any_grant_takes_nothing() -> None:
    assert refusal(M1, workload(), grant("other")) == "not-allowed"


@pytest.mark.parametrize(
    ("kind", "by", "theirs", "reason"),
    [
        ("With", "site", "m1", ""),
        ("With", "site", "m2", "spread"),
        ("With", "metro", "m2", ""),
        ("With", "city", "m2", "spread"),
        ("Apart", "site", "m1", "spread"),
        ("Apart", "site", "m2", ""),
        ("Apart", "metro", "m2", "spread"),
        ("Apart", "city", "m2", "spread"),
    ],
)
def test_companions_run_together_or_apart_and_an_unknown_place_is_neither(
    kind: str, by: str, theirs: str, reason: str
) -> None:
    mine, other = (
        site(name, nodes(4), spec={"location": {"metro": "gz"}}) for name in ("m1", "m2")
    )
    other["spec"]["cordon"] = True
    mate = decode_as(workload(name="mate", labels={"a": "b"}, placed={theirs: 1}), Workload)
    rule = {"kind": kind, "by": by, "selector": {"matchLabels": {"a": "b"}}}
    asked = demand(workload(placement={"affinity": [rule]}), others=[mate])
    sites = explain(asked, fleet_of(mine, other), now=NOW).sites
    verdicts = next(each for each in sites if each.name == "m1").verdicts
    assert ",".join(each.reason for each in verdicts if each.passed is False) == reason


def test_two_grants_are_not_added_up() -> None:
    high = grant("m1", name="a", dataClass="general-4", networkZones=[])
    zone = grant("m1", name="b", dataClass="general-1")
    asked = workload(dataClass="general-3", networkZones=["public-network"])
    assert refusal(M1, asked, high, zone) == "network-zone"


def test_one_grant_that_holds_is_enough() -> None:
    lapsed = grant("m1", name="a", validUntil="2020-01-01T00:00:00Z")
    assert refusal(M1, workload(), lapsed, grant("m1", name="b")) == ""


@pytest.mark.parametrize(
    ("spec", "status", "asked", "reason"),
    [
        ({}, {"observedAt": "2026-11-23T07:56:00Z"}, {}, ""),
        ({}, {"observedAt": "2026-11-23T07:55:59Z"}, {}, "stale"),
        ({}, {"observedAt": None}, {}, "stale"),
        ({}, {"observedAt": "2026-11-23T08:02:00Z"}, {}, ""),
        ({}, {"observedAt": "2026-11-23T08:02:01Z"}, {}, "stale"),
        ({}, {"observedAt": "2026-11-24T08:00:00Z"}, {}, "stale"),
        ({}, {"conditions": [{"type": "Ready", "status": "Unknown"}]}, {}, "silent"),
        ({}, {"conditions": [{"type": "Ready", "status": "False"}]}, {}, "silent"),
        ({}, {"conditions": [{"type": "Ready", "status": "True"}]}, {}, ""),
        ({"cordon": True}, {}, {}, "cordoned"),
        ({}, {}, {"placement": {"strategy": "Weighted"}}, ""),
        ({}, {}, {"placement": weighted(m1=1)}, ""),
        ({}, {}, {"placement": weighted(m1=0, m2=1)}, "selector"),
        ({}, {}, {"placement": weighted(m2=1)}, "selector"),
        ({}, {}, {"placement": {**weighted(m2=1), "strategy": "Balanced"}}, ""),
        ({}, {"executor": False}, {}, "no-executor"),
        ({}, {"apiKinds": []}, {}, "no-executor"),
        ({}, {}, {"imagePlatforms": ["linux/arm64"]}, "architecture"),
        ({}, {}, {"imagePlatforms": ["linux/arm64", "linux/amd64"]}, ""),
        ({"taints": [{"key": "a"}]}, {}, {}, "taint"),
        ({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}, {}, {}, ""),
        (
            {"taints": [{"key": "a", "value": "x"}]},
            {},
            {"placement": {"siteTolerations": [{"key": "a", "value": "x"}]}},
            "",
        ),
        (
            {"taints": [{"key": "a", "value": "x"}]},
            {},
            {"placement": {"siteTolerations": [{"key": "a", "value": "y"}]}},
            "taint",
        ),
        (
            {"taints": [{"key": "a", "effect": "NoExecute"}]},
            {},
            {"placement": {"siteTolerations": [{"operator": "Exists"}]}},
            "",
        ),
        (
            {"taints": [NO_EXECUTE]},
            {},
            {"placement": {"siteTolerations": [{"key": "a", "tolerationSeconds": 61}]}},
            "",
        ),
        (
            {"taints": [NO_EXECUTE]},
            {},
            {"placement": {"siteTolerations": [{"key": "a", "tolerationSeconds": 60}]}},
            "taint",
        ),
        (
            {"taints": [NO_EXECUTE]},
            {},
            {
                "placement": {
                    "siteTolerations": [{"key": "a"}, {"key": "a", "tolerationSeconds": 0}]
                }
            },
            "taint",
        ),
    ],
    ids=str,
)
def test_only_a_site_that_is_ready_takes_new_work(
    spec: Raw, status: Raw, asked: Raw, reason: str
) -> None:
    found = site("m1", nodes(4), spec=spec)
    found["status"] |= status
    assert refusal(found, workload(**asked)) == reason


@pytest.mark.parametrize(
    ("node", "asked", "reason"),
    [
        ({"labels": {"gpu": "yes"}}, {"nodeSelector": {"gpu": "yes"}}, ""),
        ({"labels": {"gpu": "no"}}, {"nodeSelector": {"gpu": "yes"}}, "selector"),
        ({"gpuModel": "A100"}, {"gpuModels": ["A100"]}, ""),
        ({"gpuModel": "T4"}, {"gpuModels": ["A100"]}, "selector"),
        ({"taints": [{"key": "x", "effect": "NoSchedule"}]}, {}, "taint"),
        ({"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}, {}, ""),
        (
            {"taints": [{"key": "x", "effect": "NoSchedule"}]},
            {"tolerations": [{"key": "x", "operator": "Exists"}]},
            "",
        ),
    ],
    ids=str,
)
def test_a_site_whose_nodes_admit_no_pod_is_refused_and_not_called_full(
    node: Raw, asked: Raw, reason: str
) -> None:
    kind = {
        "architecture": "amd64",
        "free": [{"count": 2, "cpu": "4", "memory": "8Gi", "pods": 50}],
    }
    there = site("m1", kind | node)
    need = {"replicas": 1, "requests": {"cpu": "1"}} | asked
    assert refusal(there, workload(demand=need)) == reason
    if reason:
        decision = choose(
            demand(workload(demand=need)), fleet_of(there, grants=(grant("m1"),)), now=NOW
        )
        assert decision.phase == "Refused"


@pytest.mark.parametrize(
    ("operator", "key", "names", "passes"),
    [
        ("In", "rack", ["a", "b"], True),
        ("In", "rack", ["c"], False),
        ("In", "none", ["a"], False),
        ("NotIn", "rack", ["c"], True),
        ("NotIn", "rack", ["a"], False),
        ("NotIn", "none", ["a"], True),
        ("Exists", "rack", [], True),
        ("Exists", "none", [], False),
        ("DoesNotExist", "rack", [], False),
        ("DoesNotExist", "none", [], True),
        ("In", "kapok.dev/tier", ["edge"], True),
    ],
    ids=str,
)
def test_selectors_have_the_operators_of_kubernetes(
    operator: str, key: str, names: list[str], *, passes: bool
) -> None:
    expression = {"key": key, "operator": operator, "values": names}
    asked = workload(placement={"siteSelector": {"matchExpressions": [expression]}})
    reason = refusal(site_with_capacity("m1", 4, labels={"rack": "a"}), asked)
    assert reason == ("" if passes else "selector")


def test_a_label_cannot_contradict_the_site() -> None:
    liar = site_with_capacity("m1", 4, spec={"tier": "edge"}, labels={"kapok.dev/tier": "central"})
    asked = workload(placement={"siteSelector": {"matchLabels": {"kapok.dev/tier": "central"}}})
    assert refusal(liar, asked) == "selector"


def test_an_empty_selector_matches_all_and_an_empty_group_nothing() -> None:
    assert refusal(M1, workload(placement={"siteSelector": {}})) == ""
    assert refusal(M1, workload(placement={"siteGroups": [{"name": "a"}]})) == "site-group"
    everywhere = {"siteGroups": [{"name": "a", "siteSelector": {}}]}
    assert refusal(M1, workload(placement=everywhere)) == ""


@pytest.mark.parametrize(
    ("rtt", "place", "reason"),
    [
        ({"core": 20}, "core", ""),
        ({"core": 20.1}, "core", "too-far"),
        ({"other": 1}, "core", "latency-unknown"),
        ({}, "m1", ""),
        ({"core": 5, "core2": 20}, "metro:gz", ""),
        ({"core": 5, "core2": 21}, "metro:gz", "too-far"),
        ({"core": 5}, "metro:gz", "latency-unknown"),
        ({"core": 5}, "metro:nowhere", "latency-unknown"),
    ],
    ids=str,
)
def test_the_longest_known_round_trip_counts_and_unknown_ones_refuse(
    rtt: Raw, place: str, reason: str
) -> None:
    peers = [
        site(name, spec={"location": {"metro": "gz"}, "cordon": True}) for name in ("core", "core2")
    ]
    mine = site("m1", nodes(4), rtt=[{"to": to, "milliseconds": ms} for to, ms in rtt.items()])
    asked = workload(placement={"latency": [{"from": place, "withinMilliseconds": 20}]})
    fleet = fleet_of(mine, *peers)
    explained = explain(demand(asked), fleet, now=NOW).sites
    verdicts = next(each for each in explained if each.name == "m1").verdicts
    assert ",".join(each.reason for each in verdicts if each.passed is False) == reason


def test_a_kind_that_the_cluster_does_not_serve_is_named() -> None:
    asked = workload()
    del asked["spec"]["demand"]
    asked["spec"]["manifests"] = [
        {"apiVersion": "volcano.sh/v1", "kind": "Queue", "metadata": {"name": "q"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},
    ]
    assert refusal(M1, asked) == "api-kind"
    served = site("m1", nodes(1), apiKinds=["volcano.sh/v1/Queue"])
    assert refusal(served, asked) == ""


def test_vendors_of_workload_and_grant_must_both_permit_a_node() -> None:
    mixed = site("m1", {**nodes(2), "cpuVendor": "kunpeng"}, {**nodes(3), "cpuVendor": "hygon"})
    granted = grant("m1", cpuVendors=["hygon", "phytium"])
    assert refusal(mixed, workload(placement={"cpuVendors": ["hygon"]}), granted) == ""
    assert refusal(mixed, workload(placement={"cpuVendors": ["kunpeng"]}), granted) != ""
    assert refusal(mixed, workload(4), granted) == "full"


def named(name: str, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    made = grant("m1", **spec)
    made["metadata"]["name"] = name
    return made


def test_of_several_grants_any_may_permit_a_node() -> None:
    hygon = site("m1", {**nodes(3), "cpuVendor": "hygon"})
    first, second = named("a", cpuVendors=["kunpeng"]), named("b", cpuVendors=["hygon"])
    for grants in ((first, second), (second, first)):
        fleet = fleet_of(hygon, grants=grants)
        assert choose(demand(workload(3)), fleet, now=NOW).phase == "Placed"


def test_a_further_grant_never_takes_room_away() -> None:
    kunpeng, hygon = {**nodes(1), "cpuVendor": "kunpeng"}, {**nodes(4), "cpuVendor": "hygon"}
    narrow, other = named("a", cpuVendors=["kunpeng"]), named("b", cpuVendors=["hygon"])
    for grants, room in (
        ((narrow,), 1),
        ((other,), 4),
        ((narrow, other), 5),
        ((narrow, named("b")), 5),
        ((named("b"), narrow, other), 5),
    ):
        fleet = fleet_of(site("m1", kunpeng, hygon), grants=grants)
        assert choose(demand(workload(room)), fleet, now=NOW).phase == "Placed"
        assert choose(demand(workload(room + 1)), fleet, now=NOW).phase == "Waiting"


def test_the_nodes_that_count_depend_on_the_architecture_of_each_workload() -> None:
    arm = {**nodes(1), "architecture": "arm64", "cpuVendor": "kunpeng"}
    both = site("m1", arm, {**nodes(3), "cpuVendor": "hygon"})
    grants = (named("a", cpuVendors=["kunpeng"]), named("b", cpuVendors=["hygon"]))
    fleet = fleet_of(both, grants=grants)
    for platform, replicas in (("linux/amd64", 3), ("linux/arm64", 1)) * 2:
        asked = demand(workload(replicas, imagePlatforms=[platform]))
        assert choose(asked, fleet, now=NOW).phase == "Placed"
        more = demand(workload(replicas + 1, imagePlatforms=[platform]))
        assert choose(more, fleet, now=NOW).phase == "Waiting"


def test_a_grant_that_ended_permits_no_vendor() -> None:
    hygon = site("m1", {**nodes(3), "cpuVendor": "hygon"})
    ended = named("b", cpuVendors=["hygon"], validUntil="2026-01-01T00:00:00Z")
    fleet = fleet_of(hygon, grants=(named("a", cpuVendors=["kunpeng"]), ended))
    explained = explain(demand(workload()), fleet, now=NOW)
    assert explained.decision.reasons == {"cpu-vendor": 1}
    sentences = {each.reason: each.sentence for each in explained.sites[0].verdicts}
    assert sentences["cpu-vendor"] == "m1 has hygon; permitted: kunpeng"


def test_a_grant_that_does_not_allow_the_class_permits_no_vendor() -> None:
    hygon = site("m1", {**nodes(3), "cpuVendor": "hygon"})
    public = named("b", cpuVendors=["hygon"], dataClass="general-1")
    for grants in (
        (named("a", cpuVendors=["kunpeng"]), public),
        (public, named("c", cpuVendors=["kunpeng"])),
    ):
        fleet = fleet_of(hygon, grants=grants)
        assert choose(demand(workload(dataClass="general-1")), fleet, now=NOW).phase == "Placed"
        explanation = explain(demand(workload()), fleet, now=NOW)
        assert explanation.decision.reasons == {"cpu-vendor": 1}
        sentences = {each.reason: each.sentence for each in explanation.sites[0].verdicts}
        assert sentences["cpu-vendor"] == "m1 has hygon; permitted: kunpeng"


def test_a_pod_that_a_limit_range_refuses_is_not_sent() -> None:
    capped = {"name": "ns", "podMax": {"cpu": "500m"}}
    found = site("m1", nodes(4), namespaces=[capped])
    assert refusal(found, workload()) == "quota"
    other = site("m1", nodes(4), namespaces=[{**capped, "name": "elsewhere"}])
    assert refusal(other, workload()) == ""


def test_the_first_reasons_are_counted_once_per_site() -> None:
    far = site("m2", nodes(9), spec={"cordon": True, "taints": [{"key": "a"}]})
    fleet = fleet_of(M1, far, site_with_capacity("m3", 1))
    decision = choose(demand(workload(9)), fleet, now=NOW)
    assert decision.line == "0/3 sites are feasible: 2 full, 1 taint"
    assert decision.phase == "Waiting"


def test_every_rule_names_for_every_site_the_reason_and_the_wake_event() -> None:
    fleet = fleet_of(M1, site("m2", nodes(1, cpu="0"), spec={"cordon": True}))
    for each in explain(demand(workload()), fleet, now=NOW).sites:
        assert [verdict.rule for verdict in each.verdicts[:-1]] == [
            rule_name(rule) for rule in all_rules()
        ]
        assert all(verdict.sentence for verdict in each.verdicts)
    assert all(rule.wake_events for rule in all_rules())


def test_a_rule_whose_reason_is_not_listed_names_the_file_to_edit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "REASONS", {})
    with pytest.raises(LookupError, match=r"add it to scheduler/model/reasons\.py"):
        all_rules.__wrapped__()
