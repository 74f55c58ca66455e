"""What the loops do with manifests: names that are given up, fields that are not applied, records.

The queue, the worker, the reconciler and all that they use are the real ones.
"""

from typing import Any

from scheduler.control.ports.hub import WORKLOADS
from tests.support.control_loops import ControlLoops
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
SHARED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}}


def wanting(name: str, *manifests: Raw, **pod: Any) -> Raw:  # noqa: ANN401 - fields of a pod
    web = of_kind("apps/v1", "Deployment", replicas=1, template=template(**pod))
    web["metadata"]["name"] = name
    made = workload(name=name, manifests=[web, *manifests])
    del made["spec"]["demand"]
    return made


async def test_a_refused_workload_holds_no_names() -> None:
    loops = ControlLoops()
    refused = wanting("a", SHARED, nodeSelector={"no": "where"})
    async with loops.started(SITE, refused, wanting("b", SHARED)):
        await loops.clock.settle()
        await loops.clock.advance(1)
        assert await loops.phase("a") == "Refused"
        assert await loops.phase("b") == "Placed"
        edited = wanting("a", SHARED)["spec"]
        await loops.hub.merge_patch(WORKLOADS, "a", {"spec": edited}, namespace="ns")
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1)
        status = (await loops.hub.get(WORKLOADS, "a", namespace="ns"))["status"]
        assert "already belongs to workload ns/b" in status["reason"]
        assert loops.ordered() == {"b"}


async def test_records_hold_nothing_of_another_cluster() -> None:
    loops = ControlLoops()
    owned = {**SHARED, "metadata": {"name": "shared", "ownerReferences": [{"uid": "1"}]}}
    async with loops.started(SITE, wanting("a", owned)):
        await loops.clock.settle()
        status = (await loops.hub.get(WORKLOADS, "a", namespace="ns"))["status"]
        removed = {each["type"]: each for each in status["conditions"]}["FieldsRemoved"]
        assert "spec.manifests[1].metadata.ownerReferences" in removed["message"]
        assert "ownerReferences" not in repr(loops.recorder.last_accepted("ns/a"))
        edited = wanting("a", SHARED)["spec"]
        await loops.hub.merge_patch(WORKLOADS, "a", {"spec": edited}, namespace="ns")
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1)
        status = (await loops.hub.get(WORKLOADS, "a", namespace="ns"))["status"]
        assert "FieldsRemoved" not in {each["type"] for each in status["conditions"]}
