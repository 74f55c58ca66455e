"""Orders pin what was decided, and what runs unchanged is not restarted for it."""

from typing import Any

import pytest

from scheduler.control.orders.pinning import (
    ARCHITECTURE_LABEL,
    DETECTED_VENDOR_LABEL,
    VENDOR_LABEL,
    are_templates_changed,
    pin_of,
    with_pin,
)
from scheduler.control.ports.hub import WORKLOADS
from scheduler.model.decode import decode_as
from scheduler.model.kinds.workload import NodePin, Workload, WorkloadSpec
from tests.support.control_loops import ControlLoops
from tests.support.node_selector import may_run
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, facts_of, grant, nodes, site, workload
from tests.support.sites import demand as accepted_demand

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
PIN = NodePin(platforms=("amd64",), labels=(ARCHITECTURE_LABEL,))


def deployed(replicas: int = 2, image: str = "i:1", placement: Raw | None = None) -> Raw:
    made = workload(name="app", placement=placement)
    manifest = of_kind("apps/v1", "Deployment", replicas=1, template=template())
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
    made["spec"] |= {"replicas": replicas, "manifests": [manifest]}
    del made["spec"]["demand"], made["status"]
    return made


async def settle(loops: ControlLoops) -> None:
    for _ in range(4):
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1.0)


async def group(loops: ControlLoops) -> dict[str, Any]:
    found = await loops.hub.get(WORKLOADS, "app", "ns")
    (one,) = found["status"]["placement"]["groups"]
    return dict(one)


async def edit(loops: ControlLoops, change: Raw) -> None:
    await loops.hub.merge_patch(WORKLOADS, "app", {"spec": change}, namespace="ns")
    await settle(loops)


def ordered_pod(loops: ControlLoops) -> dict[str, Any]:
    (order,) = loops.dispatcher.plans["m1"].orders.values()
    manifest: Any = order.manifests[0]
    return dict(manifest["spec"]["template"]["spec"])


async def test_a_new_order_is_pinned_and_scaling_changes_neither_pin_nor_template() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, deployed()):
        await settle(loops)
        first, pod = await group(loops), ordered_pod(loops)
        assert first["pin"] == {"platforms": ["amd64"], "labels": [ARCHITECTURE_LABEL]}
        assert may_run(pod, {ARCHITECTURE_LABEL: "amd64"})
        assert not may_run(pod, {ARCHITECTURE_LABEL: "arm64"})
        await edit(loops, {"replicas": 3})
        assert (await group(loops))["replicas"] == 3
        assert ordered_pod(loops) == pod


async def test_what_an_earlier_version_ordered_is_pinned_when_its_template_changes() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, deployed()):
        await settle(loops)
        await unpin(loops)
        bare = ordered_pod(loops)
        assert "affinity" not in bare
        await edit(loops, {"replicas": 3})
        assert (await group(loops))["replicas"] == 3
        assert "pin" not in await group(loops)
        assert ordered_pod(loops) == bare
        await edit(loops, deployed(3, image="i:2")["spec"])
        assert (await group(loops))["pin"]["platforms"] == ["amd64"]
        assert "affinity" in ordered_pod(loops)


async def unpin(loops: ControlLoops) -> None:
    """Makes the status one that a version before pins wrote."""
    found = await loops.hub.get(WORKLOADS, "app", "ns")
    groups = [
        {key: value for key, value in each.items() if key != "pin"}
        for each in found["status"]["placement"]["groups"]
    ]
    placement = {**found["status"]["placement"], "groups": groups, "orders": {}}
    patch = {"status": {"placement": {**placement, "orders": None}}}
    await loops.hub.merge_patch(WORKLOADS, "app", patch, namespace="ns", subresource="status")
    await settle(loops)


async def test_other_platforms_pin_running_work_again() -> None:
    loops = ControlLoops()
    async with loops.started(SITE, deployed()):
        await settle(loops)
        await edit(loops, {"imagePlatforms": ["linux/amd64", "linux/arm64"]})
        assert (await group(loops))["pin"]["platforms"] == ["amd64", "arm64"]
        assert may_run(ordered_pod(loops), {ARCHITECTURE_LABEL: "arm64"})


def with_vendor(vendor: str, **labels: str) -> Raw:
    return {**nodes(1), "cpuVendor": vendor, "labels": {ARCHITECTURE_LABEL: "amd64", **labels}}


@pytest.mark.parametrize(
    ("classes", "form"),
    [
        ([with_vendor("hygon", **{VENDOR_LABEL: "hygon"})], (VENDOR_LABEL,)),
        (
            [with_vendor("hygon", **{DETECTED_VENDOR_LABEL: "hygon"})],
            (VENDOR_LABEL, DETECTED_VENDOR_LABEL),
        ),
        (
            [{**with_vendor("hygon"), "labelsLeftOut": [DETECTED_VENDOR_LABEL]}],
            (VENDOR_LABEL, DETECTED_VENDOR_LABEL),
        ),
        ([with_vendor("hygon")], ()),
        ([{**with_vendor("hygon"), "hasMoreLabels": True}], ()),
        ([with_vendor("hygon", **{VENDOR_LABEL: "hygon"}), with_vendor("hygon")], ()),
        (
            [with_vendor("hygon", **{VENDOR_LABEL: "hygon"}), with_vendor("intel")],
            (VENDOR_LABEL,),
        ),
    ],
)
def test_a_vendor_is_required_only_by_labels_that_the_counted_nodes_carry(
    classes: list[Raw], form: tuple[str, ...]
) -> None:
    demand = accepted_demand(workload(placement={"cpuVendors": ["hygon"]}))
    pin = pin_of(demand, facts_of(site("m1", *classes), grant("m1")))
    assert pin.cpu_vendors == ("hygon",)
    assert pin.labels[1:] == form


async def test_a_site_whose_nodes_lack_the_label_is_named() -> None:
    loops = ControlLoops()
    bare = site("m1", {**nodes(8), "cpuVendor": "hygon"}, observedAt="2026-11-24T08:00:00Z")
    async with loops.started(bare, deployed(placement={"cpuVendors": ["hygon"]})):
        await settle(loops)
        found = await loops.hub.get(WORKLOADS, "app", "ns")
        (condition,) = [c for c in found["status"]["conditions"] if c["type"] == "NotPinned"]
        assert condition["message"] == (
            "nodes of m1 carry none of feature.node.kubernetes.io/cpu-model.vendor_id,"
            " kapok.dev/cpu-vendor, so pods there may run on any CPU vendor"
        )


def spec(manifest: Raw, **demand: object) -> WorkloadSpec:
    return decode_as(workload(manifests=[manifest], demand=demand), Workload).spec


def test_templates_of_unknown_kinds_are_pinned_by_path() -> None:
    manifest = of_kind("example.org/v1", "Farm", workers=[{"template": template()}, {"size": 2}])
    unread = with_pin([manifest], PIN, spec(manifest))
    assert unread == [manifest]
    paths = ["spec.workers[*].template"]
    (pinned,) = with_pin([manifest], PIN, spec(manifest, podTemplatePaths=paths))
    pod = pinned["spec"]["workers"][0]["template"]["spec"]
    assert not may_run(pod, {ARCHITECTURE_LABEL: "arm64"})


def test_tolerations_of_the_demand_reach_the_pods_that_it_describes() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    own = {"key": "own", "operator": "Exists"}
    manifest = of_kind("apps/v1", "Deployment", template=template(tolerations=[own]))
    (pinned,) = with_pin([manifest], PIN, spec(manifest, tolerations=tolerations))
    assert pinned["spec"]["template"]["spec"]["tolerations"] == [own, *tolerations]
    (again,) = with_pin([pinned], PIN, spec(manifest, tolerations=tolerations))
    assert again == pinned


def test_only_a_change_of_every_template_restarts_all_pods_anyway() -> None:
    one, other = (of_kind("apps/v1", "Deployment", template=template(cpu)) for cpu in (1, 2))
    kept = {**of_kind("batch/v1", "Job", template=template()), "metadata": {"name": "kept"}}

    def spec_of(*manifests: Raw) -> WorkloadSpec:
        return decode_as(workload(manifests=list(manifests)), Workload).spec

    assert are_templates_changed(spec_of(one), spec_of(other))
    assert not are_templates_changed(spec_of(one, kept), spec_of(other, kept))
    assert not are_templates_changed(spec_of(one), spec_of(one))
