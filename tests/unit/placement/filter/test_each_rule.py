"""Each hard rule: a site that it refuses, and the change after which the engine places the work.

A new rule has its row, or rows, in the table here.
"""

import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.filter.rules import all_rules, rule_name
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.one_site import asking, asking_within, at, tenant
from tests.support.sites import NOW, facts_of, grant, nodes, site_with_capacity

TAINTED = {**nodes(5), "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}
WINDOWS = {**nodes(5), "labels": {"kubernetes.io/os": "windows"}}
ISSUER = "cert-manager.io/v1/ClusterIssuer"
ISSUER_OBJECT = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "ClusterIssuer",
    "metadata": {"name": "ca"},
}
CASES: list[tuple[str, SiteFacts, Demand, str, str]] = [
    # rule, site, workload; kind and new value of the change, both empty where no change would do
    (
        "data-class",
        at(),
        asking(dataClass="general-4", jurisdictions=["CN-GD"]),
        "grant.dataClass",
        "general-4",
    ),
    ("data-class", at(), asking(of=tenant(classes=["general-1"])), "tenant.classes", "general-2"),
    ("data-class-missing", at(), asking(dataClass=None), "", ""),
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
        "has-grant",
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
        "operating-system",
        at(nodeClasses=[WINDOWS]),
        asking(imagePlatforms=["linux/amd64"]),
        "workload.imagePlatforms",
        "linux/amd64, windows/amd64",
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
        "taint-time",
        at({"taints": [{"key": "a", "effect": "NoExecute", "timeAdded": "2026-11-23T07:00:00Z"}]}),
        asking(placement={"siteTolerations": [{"key": "a", "tolerationSeconds": 30}]}),
        "workload.siteTolerations",
        "a=:NoExecute",
    ),
    (
        "site-limits",
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
    ("node-taint", at(nodeClasses=[TAINTED]), asking(), "workload.tolerations", "a=b:NoSchedule"),
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
    (
        "node-selector",
        at(),
        asking(demand={"nodeSelector": {"a": "b"}}),
        "workload.nodeSelector",
        "",
    ),
    (
        "weighted",
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
    ("stale", at(observedAt="2026-11-22T08:00:00Z"), asking(), "site.report", "a current report"),
    (
        "silent",
        at(conditions=[{"type": "Ready", "status": "False"}]),
        asking(),
        "site.report",
        "a current report",
    ),
    (
        "maintenance",
        at({"maintenance": [{"from": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}]}),
        asking(),
        "site.maintenance",
        "",
    ),
    (
        "energy-limit",
        at({"energy": {"pue": 1.31, "pueOrigin": "measured"}}),
        asking_within({"measure": "pue", "limit": 1.3}),
        "site.energy.pue",
        "1.3",
    ),
    (
        "energy-limit",
        at({"energy": {"greenShare": 0.9}}),  # without evidence it does not count
        asking_within({"measure": "renewable-share", "limit": 0.3}),
        "site.energy.measurements",
        "0.3",
    ),
    ("cordoned", at({"cordon": True}), asking(), "site.cordon", "false"),
    ("no-executor", at(executor=False), asking(), "site.executor", "true"),
    (
        "api-kind",
        at(apiKinds=[ISSUER], clusterKinds=[ISSUER]),
        asking(of=tenant(), manifests=[ISSUER_OBJECT]),
        "tenant.clusterKinds",
        ISSUER,
    ),
    (
        "api-kind",
        at(apiKinds=["apps/v1/Deployment"]),
        asking(manifests=[{"apiVersion": "x.io/v1", "kind": "Y", "metadata": {"name": "y"}}]),
        "site.apiKinds",
        "x.io/v1/Y",
    ),
    (
        "companion",
        at(),
        asking(placement={"affinity": [{"kind": "With", "selector": {"matchLabels": {"a": "b"}}}]}),
        "workload.affinity",
        "preferred",
    ),
    ("data-class", at(granted={"dataClass": "core"}), asking(dataClass="core"), "", ""),
    ("network-zone", at(), asking(networkZones=["classified"]), "", ""),
    (
        "protection-level",
        at(granted={"protectionLevel": 5}),
        asking(protectionLevel=5),
        "",
        "",
    ),
]


@pytest.mark.parametrize(
    ("rule", "facts", "asked", "kind", "becomes"), CASES, ids=lambda each: str(each)[:40]
)
def test_a_rule_refuses_a_site_says_why_and_has_a_fix_that_the_engine_verified(
    rule: str, facts: SiteFacts, asked: Demand, kind: str, becomes: str
) -> None:
    fleet = Fleet([facts])
    (slug,) = {each.reason for each in all_rules() if rule_name(each) == rule}
    assert set(choose(asked, fleet, now=NOW).reasons) == {slug}
    (site,) = explain(asked, fleet, now=NOW).sites
    refusing = {each.rule: each.sentence for each in site.verdicts if each.passed is False}
    assert refusing.get(rule)
    offers = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))
    assert all(each.verified for each in offers)
    if kind:
        assert (kind, becomes) in [(each.kind, each.to) for each in offers]
    else:
        assert offers == ()


def test_every_rule_has_a_row_above() -> None:
    assert {row[0] for row in CASES} == {rule_name(rule) for rule in all_rules()}


def test_of_a_site_that_never_reported_nothing_is_said_about_its_nodes() -> None:
    unknown = site_with_capacity("m1", 5)
    del unknown["status"]
    (site,) = explain(asking(), Fleet([facts_of(unknown, grant("m1"))]), now=NOW).sites
    refusing = {one.rule: one.sentence for one in site.verdicts if one.passed is False}
    assert refusing["architecture"] == "m1 never reported, so what is there is not known"
    reported = at(nodeClasses=[])
    (site,) = explain(asking(), Fleet([reported]), now=NOW).sites
    refusing = {one.rule: one.sentence for one in site.verdicts if one.passed is False}
    assert refusing["architecture"] == "m1 has no nodes; the images run on amd64"
