"""Autoscalers, disruption budgets and quotas of simulated clusters, without an API server."""

from typing import Any

import pytest

from scheduler.simulation.cluster.controllers.autoscalers import LOAD_ANNOTATION
from scheduler.simulation.cluster.description import NodeDescription
from scheduler.simulation.cluster.objects import (
    AUTOSCALERS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    RESOURCE_QUOTAS,
)
from scheduler.simulation.cluster.plan import Patch
from tests.support.fake_cluster import FakeCluster, deployment

WEB = ("city", "web")


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(NodeDescription(name="node", count=3))
    made.apply(deployment("web", 2, cpu="500m"))
    made.settle(5)
    return made


def _autoscaler(load: str, *, target: dict[str, Any] | None = None, **spec: object) -> Any:  # noqa: ANN401 - an object
    wanted = target or {"type": "Utilization", "averageUtilization": 50}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": wanted}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "city", "annotations": {LOAD_ANNOTATION: load}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [metric],
            **spec,
        },
    }


def _replicas(cluster: FakeCluster) -> int:
    return int(cluster.objects[DEPLOYMENTS, WEB]["spec"]["replicas"])


@pytest.mark.parametrize(
    ("load", "spec", "replicas"),
    [
        ("cpu=1500m", {}, 6),
        ("cpu=500m", {}, 2),
        ("cpu=9", {}, 10),
        ("cpu=9", {"maxReplicas": 4}, 4),
        ("cpu=10m", {"minReplicas": 2}, 2),
        ("cpu=10m", {}, 1),
        ("cpu=1500m", {"target": {"type": "AverageValue", "averageValue": "300m"}}, 5),
    ],
    ids=str,
)
def test_an_autoscaler_brings_its_target_to_the_load_within_its_bounds(
    cluster: FakeCluster, load: str, spec: dict[str, Any], replicas: int
) -> None:
    cluster.apply(_autoscaler(load, **spec))
    cluster.settle(60)
    assert _replicas(cluster) == replicas
    assert len(cluster.pods("web")) == replicas
    status = cluster.status(AUTOSCALERS, "web")
    assert (status["currentReplicas"], status["desiredReplicas"]) == (replicas, replicas)
    written = [one for one in cluster.writes if isinstance(one, Patch) and one.name == WEB]
    assert {one.subresource for one in written if "replicas" in one.body.get("spec", {})} <= {
        "scale"
    }


def test_a_load_that_falls_scales_down_only_after_the_window(cluster: FakeCluster) -> None:
    cluster.apply(_autoscaler("cpu=1500m"))
    cluster.settle(60)
    annotations = {"metadata": {"annotations": {LOAD_ANNOTATION: "cpu=500m"}}}
    cluster.patch(AUTOSCALERS, WEB, annotations)
    cluster.settle(120)
    assert _replicas(cluster) == 6
    cluster.settle(300)
    assert _replicas(cluster) == 2


@pytest.mark.parametrize(
    ("load", "target", "reason"),
    [
        ("", {}, "FailedGetResourceMetric"),
        ("memory=1Gi", {}, "FailedGetResourceMetric"),
        ("cpu=much", {}, "FailedGetResourceMetric"),
        ("cpu=1", {"kind": "Deployment", "name": "other"}, "FailedGetScale"),
        ("cpu=1", {"kind": "Engine", "name": "web"}, "FailedGetScale"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_scales_nothing_and_says_so(
    cluster: FakeCluster, load: str, target: dict[str, str], reason: str
) -> None:
    spec = {"scaleTargetRef": target} if target else {}
    cluster.apply(_autoscaler(load, **spec))
    cluster.settle(60)
    assert _replicas(cluster) == 2
    conditions = cluster.status(AUTOSCALERS, "web")["conditions"]
    assert reason in {one["reason"] for one in conditions if one["status"] == "False"}


@pytest.mark.parametrize(
    ("spec", "expected", "desired", "allowed"),
    [
        ({"minAvailable": 1}, 2, 1, 1),
        ({"minAvailable": "100%"}, 2, 2, 0),
        ({"maxUnavailable": 1}, 2, 1, 1),
        ({"maxUnavailable": "25%"}, 2, 1, 1),
        ({}, 0, 0, 0),
    ],
    ids=str,
)
def test_a_budget_counts_the_disruptions_that_it_allows(
    cluster: FakeCluster, spec: dict[str, Any], expected: int, desired: int, allowed: int
) -> None:
    cluster.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "city"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        }
    )
    cluster.settle()
    status = cluster.status(DISRUPTION_BUDGETS, "web")
    assert status["currentHealthy"] == 2
    assert (status.get("expectedPods", 0), status.get("desiredHealthy", 0)) == (expected, desired)
    assert status.get("disruptionsAllowed", 0) == allowed


def test_a_quota_counts_what_the_pods_of_its_namespace_use(cluster: FakeCluster) -> None:
    hard = {"pods": "9", "requests.cpu": "4", "limits.cpu": "8", "count/secrets": "3"}
    meta = {"name": "q", "namespace": "city"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}
    cluster.apply(quota)
    cluster.settle()
    status = cluster.status(RESOURCE_QUOTAS, "q")
    assert status["used"] == {"pods": "2", "requests.cpu": "1000m", "limits.cpu": "0m"}
    assert status["hard"] == hard
    cluster.apply(deployment("web", 3, cpu="500m"))
    cluster.settle(5)
    assert cluster.status(RESOURCE_QUOTAS, "q")["used"]["pods"] == "3"


def test_a_quota_of_a_scope_has_no_figures(cluster: FakeCluster) -> None:
    meta = {"name": "q", "namespace": "city"}
    spec = {"hard": {"pods": "9"}, "scopes": ["BestEffort"]}
    cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec})
    cluster.settle()
    assert not cluster.status(RESOURCE_QUOTAS, "q").get("used")
