"""A manifest that its kind's schema refuses is not placed; one of an unknown kind is.

The schemas are those of the embedded hub; the queue, the worker and the reconciler are the real
ones.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from agents.protocol.orders import ORDER_LABEL
from agents.protocol.topics import order_token
from scheduler.apiserver.discovery.openapi import make_documents
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.control.orders.identity import pod_selector
from scheduler.control.ports.hub import WORKLOADS
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.hub.schema.manifest_checks import compile_kinds, find_problem
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, nodes, site, workload
from tests.support.wire_hub import config_map, deployment, job

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
KINDS = {
    path: compile_kinds(msgspec.json.decode(data))
    for path, data in make_documents(core_resources()).items()
}


def problem_of(manifest: Mapping[str, Any]) -> str:
    version = manifest["apiVersion"]
    kinds = KINDS.get(f"apis/{version}" if "/" in version else f"api/{version}", {})
    node = kinds.get(manifest["kind"])
    return find_problem(node, dict(manifest)) if node else ""


class CoreSchemas:
    """Schemas that are ready, with a count of checks."""

    def __init__(self) -> None:
        self.state, self.checked = "1", 0
        self.asked: frozenset[str] = frozenset()

    async def refresh(self, versions: frozenset[str]) -> str:
        self.asked = versions
        return self.state

    def find_problem(self, manifest: Mapping[str, Any]) -> str:
        self.checked += 1
        return problem_of(manifest)


def container(**fields: object) -> Raw:
    made = deployment()
    made["spec"]["template"]["spec"]["containers"][0] |= fields
    return made


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (deployment(), ""),
        (job(), ""),
        (config_map(a="1"), ""),
        (container(resources={"requests": {"cpu": 1, "memory": "1Gi"}}), ""),
        (container(env=None, ports=[{"containerPort": 80}]), ""),
        ({**deployment(), "status": {"of": "another cluster"}}, ""),
        ({"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"any": 1}}, ""),
        (
            container(imagePulPolicy="Always"),
            'unknown field "spec.template.spec.containers[0].imagePulPolicy"',
        ),
        ({**deployment(), "sepc": {}}, 'unknown field "sepc"'),
        ({**config_map(), "spec": {}}, 'unknown field "spec"'),
        (container(image=""), "spec.template.spec.containers[0].image: Required value"),
        (container(image=None), "spec.template.spec.containers[0].image: Required value"),
        (container(resources=[]), "of type object"),
        ({**deployment(), "spec": {"template": {}}}, "spec.selector: Required value"),
    ],
)
def test_a_schema_says_what_it_refuses(manifest: Raw, problem: str) -> None:
    before = msgspec.json.encode(manifest)
    found = problem_of(manifest)
    assert found == problem if not problem.startswith("of type") else problem in found
    assert msgspec.json.encode(manifest) == before


def test_a_custom_resource_is_judged_by_what_no_webhook_can_mend() -> None:
    properties = {"size": {"type": "string"}, "any": {"type": "object"}, "must": {"type": "string"}}
    spec = {"type": "object", "required": ["must"], "properties": properties}
    schema = {
        "type": "object",
        "properties": {"spec": spec},
        "x-kubernetes-group-version-kind": [{"group": "e.com", "version": "v1", "kind": "Thing"}],
    }
    node = compile_kinds({"components": {"schemas": {"com.e.v1.Thing": schema}}})["Thing"]
    thing = {"apiVersion": "e.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    assert find_problem(node, {**thing, "spec": {"size": "s", "any": {"x": 1}}}) == ""
    assert find_problem(node, {**thing, "spec": {"siez": "s"}}) == 'unknown field "spec.siez"'
    assert "must be of type string" in find_problem(node, {**thing, "spec": {"size": 1}})


def wanting(manifest: Raw) -> Raw:
    made = workload(manifests=[manifest])
    del made["spec"]["demand"]
    return made


async def test_a_refused_manifest_is_named_and_not_placed_until_it_is_mended() -> None:
    loops, schemas = ControlLoops(), CoreSchemas()
    loops.reconciler.manifest_checks = ManifestChecks(schemas)
    async with loops.started(SITE, wanting(container(image=""))):
        await loops.clock.settle()
        status = (await loops.hub.get(WORKLOADS, "app", namespace="ns"))["status"]
        accepted = {each["type"]: each for each in status["conditions"]}["Accepted"]
        assert (accepted["status"], accepted["reason"]) == ("False", "ManifestRefused")
        assert accepted["message"] == (
            "Deployment web: spec.template.spec.containers[0].image: Required value"
        )
        assert (status["phase"], loops.ordered()) == ("Refused", set())
        edited = {"spec": wanting(deployment())["spec"]}
        await loops.hub.merge_patch(WORKLOADS, "app", edited, namespace="ns")
        loops.read_hub()
        await loops.clock.settle()
        await loops.clock.advance(1)
        assert await loops.phase("app") == "Placed"
        assert schemas.checked == 2, "equal manifests are checked once"


async def test_after_a_start_a_refused_manifest_stays_refused_until_it_is_checked() -> None:
    checks = ManifestChecks(CoreSchemas())
    loops = ControlLoops()
    async with loops.started(SITE, wanting(deployment())):
        [found] = loops.objects.workloads.values()
        assert checks.refusal_of(found) is None, "not checked, and never refused"
        await checks.check(found)
        assert checks.refusal_of(found) is None
    refused = wanting(deployment())
    refused["status"]["conditions"] = [
        {
            "type": "Accepted",
            "status": "False",
            "reason": "ManifestRefused",
            "message": "as before",
            "lastTransitionTime": "2026-11-24T08:00:00Z",
        }
    ]
    loops = ControlLoops()
    async with loops.started(SITE, refused):
        [found] = loops.objects.workloads.values()
        refusal = checks.refusal_of(found)
        assert refusal is None, "this process has checked equal manifests"
        fresh = ManifestChecks(CoreSchemas()).refusal_of(found)
        assert fresh is not None
        assert fresh.message == "as before"


async def test_manifests_are_checked_again_when_a_schema_changes() -> None:
    schemas = CoreSchemas()
    checks, loops = ManifestChecks(schemas), ControlLoops()
    async with loops.started(SITE, wanting(deployment())):
        [found] = loops.objects.workloads.values()
        for state, checked in (("1", 1), ("1", 1), ("2", 2)):
            schemas.state = state
            await checks.check(found)
            assert schemas.checked == checked


async def test_the_status_selects_the_pods_as_agents_label_them() -> None:
    assert pod_selector("h/ns/app/1") == f"{ORDER_LABEL}={order_token('h/ns/app/1')}"
    loops = ControlLoops()
    async with loops.started(SITE, wanting(deployment())):
        await loops.clock.settle()
        status = (await loops.hub.get(WORKLOADS, "app", namespace="ns"))["status"]
        [found] = loops.objects.workloads.values()
        assert status["selector"] == pod_selector(loops.order_sync.order_id(found))
