"""On a hub a workload without a Tenant is not placed; what runs already is kept and reported."""

from typing import Any

from scheduler.control.ports.hub import TENANTS, WORKLOADS
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, site_with_capacity, tenant_of_ns, workload


async def settle(loops: ControlLoops) -> None:
    for _ in range(20):
        loops.read_hub()
        await loops.clock.advance(1.0)


async def condition(loops: ControlLoops, name: str, kind: str) -> dict[str, Any]:
    found = (await loops.workload(name))["status"].get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def running(name: str) -> Raw:
    """A workload of the version before, which runs and has no Tenant."""
    raw = workload(2, name=name, placed={"m1": 2})
    raw["status"] |= {"phase": "Running", "observedGeneration": 1, "epoch": 1}
    raw["metadata"]["generation"] = 1
    return raw


async def test_new_work_is_refused_until_a_tenant_lists_its_namespace() -> None:
    loops = ControlLoops(has_tenant=False)
    async with loops.started(site_with_capacity("m1", 5), workload(name="a", priority=10**9)):
        await settle(loops)
        status = (await loops.workload("a"))["status"]
        assert (status["phase"], status.get("placement", {}).get("groups", [])) == ("Refused", [])
        assert status["reason"].startswith("no-tenant: no Tenant lists namespace ns; ")
        assert (await condition(loops, "a", "Accepted"))["reason"] == "NoTenant"
        assert loops.ordered() == set()
        await loops.hub.create(TENANTS, tenant_of_ns())
        await settle(loops)
        assert await loops.phase("a") == "Placed"
        assert (await condition(loops, "a", "Accepted"))["status"] == "True"


async def test_what_runs_without_a_tenant_is_kept_and_reported_and_scales_no_further() -> None:
    loops = ControlLoops(has_tenant=False)
    async with loops.started(site_with_capacity("m1", 9), running("old")):
        await settle(loops)
        assert loops.ordered() == {"old"}
        assert (await condition(loops, "old", "Accepted"))["reason"] == "NoTenant"
        patch = {"spec": {"demand": {"replicas": 5}}, "metadata": {"generation": 2}}
        await loops.hub.merge_patch(WORKLOADS, "old", patch, namespace="ns")
        await settle(loops)
        groups = (await loops.workload("old"))["status"]["placement"]["groups"]
        assert [(one["sites"], one["replicas"]) for one in groups] == [(["m1"], 2)]
        assert loops.ordered() == {"old"}


async def test_a_second_tenant_of_a_namespace_withdraws_nothing_and_places_nothing() -> None:
    loops = ControlLoops()
    async with loops.started(site_with_capacity("m1", 9), workload(name="a")):
        await settle(loops)
        assert await loops.phase("a") == "Placed"
        await loops.hub.create(TENANTS, tenant_of_ns(name="another"))
        await loops.hub.create(WORKLOADS, workload(name="b"))
        await settle(loops)
        assert loops.ordered() == {"a"}
        assert (await condition(loops, "a", "Accepted"))["reason"] == "SeveralTenants"
        assert await loops.phase("b") == "Refused"
        await loops.hub.delete(TENANTS, "another")
        await settle(loops)
        assert (await condition(loops, "a", "Accepted"))["status"] == "True"
        assert loops.ordered() == {"a", "b"}
