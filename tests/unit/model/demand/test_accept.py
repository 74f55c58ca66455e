from typing import Any, TypeVar

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.tenancy import QuotaUsage
from scheduler.model.kinds.fields import Part
from scheduler.model.kinds.kinds import (
    ClusterPlacementPolicy,
    DataClassScheme,
    PlacementPolicy,
    Tenant,
    Workload,
)
from scheduler.model.manifests.manifests import read_manifests, with_replicas
from tests.support.sites import Raw, workload

Of = TypeVar("Of", bound=Part)


def of(raw: Raw, **context: Any) -> Any:  # noqa: ANN401 - a Demand or a NotAccepted
    return demand_of(decode_as(raw, Workload), **context)


def deployment(
    name: str = "web", replicas: int = 4, *, of_kind: str = "Deployment", cpu: str = "500m"
) -> Raw:
    pod = {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": of_kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {"metadata": {}, "spec": pod}},
    }


def with_manifests(*manifests: Raw) -> Raw:
    raw = workload()
    del raw["spec"]["demand"]
    raw["spec"]["manifests"] = list(manifests)
    return raw


def test_replicas_and_requests_are_read_from_the_one_scalable_manifest() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    found = of(with_manifests(deployment(), service))
    assert isinstance(found, Demand)
    assert (found.replicas, found.requests) == (4, {"cpu": 500, "pods": 1})
    assert found.api_kinds == ("apps/v1/Deployment",)


def test_spec_replicas_overrides_the_manifest() -> None:
    assert (
        of(
            {
                **with_manifests(deployment()),
                "spec": {**with_manifests(deployment())["spec"], "replicas": 9},
            }
        ).replicas
        == 9
    )


def test_two_deployments_are_one_set_and_cannot_be_scaled() -> None:
    both = with_manifests(deployment("a"), deployment("b"))
    assert len(of(both).unit) == 2
    both["spec"]["replicas"] = 3
    refused = of(both)
    assert isinstance(refused, NotAccepted)
    assert "exactly one scalable manifest" in refused.message


def test_a_manifest_cannot_ask_more_replicas_than_a_workload_may() -> None:
    endless = deployment()
    endless["spec"]["replicas"] = 10**30
    refused = of(with_manifests(endless))
    assert isinstance(refused, NotAccepted)
    assert "from 0 to 1000000" in refused.message


def test_with_replicas_changes_the_scalable_manifest_only() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    scaled = with_replicas([service, deployment()], 7)
    assert scaled[1]["spec"]["replicas"] == 7
    assert scaled[0] == service
    assert read_manifests(scaled).replicas == 7


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (
            {"kind": "Deployment", "metadata": {"name": "x"}},
            "not a Kubernetes object, it has no apiVersion",
        ),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "no metadata.name"),
        (
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "x", "namespace": "other"},
            },
            "names namespace other",
        ),
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "x"},
                "data": {"k": "dg=="},
            },
            "has inline data",
        ),
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}},
            "cluster-scoped",
        ),
        (deployment(replicas=-1), "spec.replicas is -1"),
        (deployment(cpu="1.5.2"), "cpu: '1.5.2' is not a quantity"),
        (deployment(cpu="-1"), "cpu: '-1' is negative"),
    ],
)
def test_a_bad_manifest_is_refused_by_name(manifest: Raw, message: str) -> None:
    refused = of(with_manifests(manifest))
    assert isinstance(refused, NotAccepted)
    assert message in refused.message


def test_manifests_are_bounded() -> None:
    big = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "data": {"k": "x" * 1_000_001},
    }
    refused = of(with_manifests(big))
    assert isinstance(refused, NotAccepted)
    assert "at most 1000000" in refused.message


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"jurisdictions": ["CN-HK"]}, "jurisdiction", "write HK"),
        (
            {"placement": {"siteGroups": [{"name": "a", "sites": ["m1"]}, {"name": "a"}]}},
            "invalid",
            "siteGroups: a is listed twice",
        ),
        (
            {
                "placement": {
                    "strategy": "Weighted",
                    "weights": [{"site": "m1", "weight": 1}, {"site": "m2", "weight": 0}],
                    "spread": [{"by": "province", "minGroups": 2}],
                }
            },
            "spread",
            "name 1 sites, minGroups is 2",
        ),
        (
            {
                "placement": {
                    "siteGroups": [{"name": "a", "sites": ["m1", "m2"]}],
                    "spread": [{"by": "province", "maxPerGroup": 5}],
                }
            },
            "spread",
            "the 2 sites of weights and siteGroups, at most 5 in each group, do not hold 12",
        ),
        (
            {"placement": {"spread": [{"by": "site", "minGroups": 3, "maxGroups": 2}]}},
            "spread",
            "minGroups 3",
        ),
        (
            {"placement": {"spread": [{"by": "site", "minGroups": 13}]}},
            "spread",
            "cannot be spread over 13",
        ),
        (
            {"placement": {"spread": [{"by": "site", "maxGroups": 2, "maxPerGroup": 5}]}},
            "spread",
            "hold 10 replicas, not 12",
        ),
        (
            {"placement": {"strategy": "Weighted", "weights": [{"site": "m1", "weight": 0}]}},
            "invalid",
            "every weight is 0",
        ),
        (
            {"schedule": {"earliest": "2026-01-02T00:00:00Z", "deadline": "2026-01-01T00:00:00Z"}},
            "deadline",
            "not after earliest",
        ),
        (
            {"placement": {"siteSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "invalid",
            "spec.placement.siteSelector: a In needs values",
        ),
        (
            {
                "placement": {
                    "siteGroups": [
                        {
                            "name": "near",
                            "siteSelector": {
                                "matchExpressions": [
                                    {"key": "a", "operator": "Exists", "values": ["1"]}
                                ]
                            },
                        }
                    ]
                }
            },
            "invalid",
            "spec.placement.siteGroups (near): a Exists takes no values",
        ),
        (
            {
                "placement": {
                    "spread": [{"by": "site", "maxGroups": 1}, {"by": "province", "minGroups": 2}]
                }
            },
            "spread",
            "minGroups 2 by province is more than maxGroups 1 by site allows",
        ),
        (
            {
                "placement": {
                    "preset": "same-city-active-active",
                    "spread": [{"by": "site", "minGroups": 3}],
                }
            },
            "spread",
            "minGroups 3 by site is more than maxGroups 2 by site allows",
        ),
        (
            {"placement": {"strategy": "Duplicated", "spread": [{"by": "city", "maxPerGroup": 5}]}},
            "spread",
            "Duplicated places 12 replicas at each site, maxPerGroup allows 5",
        ),
        (
            {
                "placement": {
                    "siteSelector": {
                        "matchLabels": {"a": "1"},
                        "matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "3"]}],
                    }
                }
            },
            "selector",
            "no site can have a in (1) and in (2, 3)",
        ),
        ({"policyRef": {"name": "nowhere"}}, "invalid", "there is no PlacementPolicy nowhere"),
    ],
)
def test_a_request_that_can_never_be_met_is_not_accepted(
    spec: Raw, reason: str, message: str
) -> None:
    refused = of(workload(12, **spec))
    assert isinstance(refused, NotAccepted)
    assert refused.reason == reason
    assert message in refused.message


def test_replicas_at_a_site_without_weight_count_in_a_spread() -> None:
    placement = {
        "strategy": "Weighted",
        "weights": [{"site": "m1", "weight": 1}],
        "spread": [{"by": "site", "minGroups": 2}],
    }
    assert isinstance(of(workload(4, placement=placement)), NotAccepted)
    assert isinstance(of(workload(4, placement=placement, placed={"m2": 1})), Demand)


def test_a_workload_without_anything_to_run_is_not_accepted() -> None:
    raw = workload()
    del raw["spec"]["demand"]
    refused = of(raw)
    assert isinstance(refused, NotAccepted)
    assert refused.message == "spec: nothing to run; write manifests or demand"


def kind(of_type: type[Of], name: str, spec: Raw, namespace: str = "") -> Of:
    return decode_as({"metadata": {"name": name, "namespace": namespace}, "spec": spec}, of_type)


def test_inline_values_win_over_the_policy_and_hard_rules_of_both_add_up() -> None:
    policy = kind(
        PlacementPolicy,
        "p",
        {
            "placement": {
                "strategy": "Balanced",
                "gang": True,
                "siteSelector": {"matchLabels": {"a": "1"}},
                "spread": [{"by": "province"}],
            }
        },
        "ns",
    )
    raw = workload(
        policyRef={"name": "p"},
        placement={"strategy": "Weighted", "siteSelector": {"matchLabels": {"b": "2"}}},
    )
    found = of(raw, policies=[policy])
    assert (found.strategy, found.gang) == ("Weighted", True)
    assert found.site_selectors[0].match_labels == {"a": "1", "b": "2"}
    assert len(found.spread) == 1


def test_an_active_pair_needs_two_replicas() -> None:
    asked = workload(1, placement={"preset": "two-places-three-centres"})
    assert isinstance(of(asked), NotAccepted)
    asked["spec"]["demand"]["replicas"] = 2
    assert isinstance(of(asked), Demand)


def test_policies_that_contradict_the_workload_are_not_accepted() -> None:
    asked = workload(placement={"siteSelector": {"matchLabels": {"a": "1"}}})
    other = {"placement": {"siteSelector": {"matchLabels": {"a": "2"}}}}
    asked["spec"]["policyRef"] = {"name": "p"}
    for context in (
        {"policies": [kind(PlacementPolicy, "p", other, "ns")]},
        {
            "policies": [kind(PlacementPolicy, "p", {}, "ns")],
            "cluster_policies": [kind(ClusterPlacementPolicy, "c", other)],
        },
    ):
        refused = of(asked, **context)
        assert isinstance(refused, NotAccepted)
        assert (refused.reason, refused.condition) == ("selector", "SelectorImpossible")


def test_a_cluster_policy_adds_rules_and_takes_none_away() -> None:
    cluster = kind(
        ClusterPlacementPolicy,
        "c",
        {
            "placement": {
                "strategy": "Duplicated",
                "siteTolerations": [{"operator": "Exists"}],
                "latency": [{"from": "gz", "withinMilliseconds": 5}],
            }
        },
    )
    found = of(workload(), cluster_policies=[cluster])
    assert found.strategy == "CostOptimal"
    assert found.site_tolerations == ()
    assert len(found.latency) == 1


def test_a_class_that_the_scheme_does_not_list_keeps_its_built_in_rule() -> None:
    scheme = kind(
        DataClassScheme, "default", {"classes": [{"name": "general-2", "protectionLevel": 2}]}
    )
    assert of(workload(), scheme=scheme).protection_level == 2
    assert of(workload(dataClass="important"), scheme=scheme).allow_list_only


def test_the_scheme_may_name_a_class_for_the_unlabelled() -> None:
    raw = workload()
    del raw["spec"]["dataClass"]
    assert of(raw).data_class is None
    scheme = kind(DataClassScheme, "default", {"unlabelled": "important"})
    assert of(raw, scheme=scheme).data_class == "important"


def test_a_tenant_bounds_priority_class_and_quota() -> None:
    tenant = kind(
        Tenant,
        "t",
        {"namespaces": ["ns"], "classes": ["general-1"], "maxPriority": 10, "quota": {"cpu": "4"}},
    )
    found = of(workload(), tenants=[tenant], usage=QuotaUsage(used={"cpu": 1500}))
    assert found.class_not_allowed
    assert found.quota_left == {"cpu": 2500}
    refused = of(workload(priority=11), tenants=[tenant])
    assert isinstance(refused, NotAccepted)
    assert "write 10 or less" in refused.message


def test_images_without_a_platform_are_amd64() -> None:
    assert of(workload()).architectures == ("amd64",)
    assert of(workload(imagePlatforms=["linux/arm64", "windows/amd64"])).architectures == (
        "arm64",
        "windows/amd64",
    )


def test_stateful_sets_fail_over_by_hand() -> None:
    assert of(with_manifests(deployment(of_kind="StatefulSet"))).failover_mode == "Manual"
    assert of(with_manifests(deployment())).failover_mode == "Automatic"
