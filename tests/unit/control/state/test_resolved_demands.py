"""A demand that is remembered is the one that would be resolved."""

from itertools import pairwise
from typing import Any

import pytest

from scheduler.control.ports.hub import (
    CLUSTER_POLICIES,
    POLICIES,
    TENANTS,
    WORKLOADS,
    ApiResource,
    WatchEvent,
)
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.state.resolved_demands import ResolvedDemands
from scheduler.model.demand.demand import Demand, NotAccepted
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, tenant_of_ns, workload

API = "kapok.dev/v1alpha1"
VERSION = iter(range(1, 1_000))


def put(loops: ControlLoops, resource: ApiResource, raw: Raw) -> None:
    meta = {"resourceVersion": str(next(VERSION)), "uid": "u", **raw["metadata"]}
    loops.objects.apply_event(resource, WatchEvent("MODIFIED", {**raw, "metadata": meta}))


def placed_at(raw: Raw, site: str, **status: Any) -> Raw:  # noqa: ANN401 - any JSON
    group = {"sites": [site], "replicas": 1, "generation": 1, "phase": "Running"}
    placement = {"generation": 1, "groups": [group]}
    return {**raw, "status": {"placement": placement, **status}}


def policy(kind: str, **placement: Any) -> Raw:  # noqa: ANN401 - any JSON
    name = (
        {"name": "wide"} if kind == "ClusterPlacementPolicy" else {"name": "p", "namespace": "ns"}
    )
    return {"apiVersion": API, "kind": kind, "metadata": name, "spec": {"placement": placement}}


def resolved(loops: ControlLoops, *evicted: str) -> Demand | NotAccepted:
    """The demand, which is the same with nothing remembered."""
    (one,) = loops.objects.workloads.values()
    found = resolve_demand(one, loops.objects, loops.quotas, evicted=evicted)
    known, loops.objects.demands = loops.objects.demands, ResolvedDemands()
    assert found == resolve_demand(one, loops.objects, loops.quotas, evicted=evicted)
    loops.objects.demands = known
    return found


def began(**spec: Any) -> tuple[ControlLoops, Raw]:  # noqa: ANN401 - any JSON
    loops, raw = ControlLoops(), workload(2, **spec)
    put(loops, TENANTS, tenant_of_ns())
    put(loops, POLICIES, policy("PlacementPolicy", strategy="Balanced"))
    put(loops, WORKLOADS, raw)
    return loops, raw


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"policyRef": {"name": "p"}},
        {"placement": {"siteGroups": [{"name": "a", "sites": ["m1"]}]}},
        {"placement": {"strategy": "Weighted", "weights": [{"site": "m1", "weight": 1}]}},
    ],
)
def test_what_runs_is_that_of_the_status(spec: Raw) -> None:
    loops, raw = began(**spec)
    first = resolved(loops)
    assert isinstance(first, Demand)
    assert not first.placed
    put(loops, WORKLOADS, placed_at(raw, "m1", lastGroup="a"))
    second = resolved(loops, "m2", "m1")
    assert isinstance(second, Demand)
    assert [one.site for one in second.placed] == ["m1"]
    assert (second.last_group, second.evicted) == ("a", ("m1", "m2"))
    put(loops, WORKLOADS, placed_at(raw, "m2"))
    third = resolved(loops)
    assert isinstance(third, Demand)
    assert [one.site for one in third.placed] == ["m2"]


def test_a_changed_object_that_applies_changes_the_demand() -> None:
    loops, raw = began(policyRef={"name": "p"})
    first = resolved(loops)
    put(loops, POLICIES, policy("PlacementPolicy", strategy="Duplicated"))
    second = resolved(loops)
    put(loops, CLUSTER_POLICIES, policy("ClusterPlacementPolicy", gang=True))
    third = resolved(loops)
    put(loops, TENANTS, tenant_of_ns(classes=["general-1"]))
    fourth = resolved(loops)
    put(loops, TENANTS, tenant_of_ns(quota={"cpu": "1"}))
    fifth = resolved(loops)
    put(loops, WORKLOADS, {**raw, "spec": {**raw["spec"], "priority": 7}})
    sixth = resolved(loops)
    found = [first, second, third, fourth, fifth, sixth]
    assert all(one != other for one, other in pairwise(found))


def test_labels_that_a_cluster_policy_selects_count() -> None:
    loops, raw = began()
    wide = policy("ClusterPlacementPolicy", gang=True)
    wide["spec"]["workloadSelector"] = {"matchLabels": {"tier": "a"}}
    put(loops, CLUSTER_POLICIES, wide)
    first = resolved(loops)
    labelled = {**raw["metadata"], "labels": {"tier": "a"}}
    put(loops, WORKLOADS, {**raw, "metadata": labelled})
    assert resolved(loops) != first
