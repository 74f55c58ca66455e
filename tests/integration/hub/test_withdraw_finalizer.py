"""The finalizer kapok.dev/withdraw: set by the hub at a creation, and kept until the deletion."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]

from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import WORKLOADS, NotFound, Object
from scheduler.control.status.finalizer import FINALIZER, keep_finalizer
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.options import server_options
from scheduler.runtime.packaged_files import packaged_folder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OTHER = "example.com/other"
POLICY, BINDING = yaml.safe_load_all(
    (packaged_folder("manifests") / "admission/withdraw-finalizer.yaml").read_text(encoding="utf-8")
)


def workload(name: str, **metadata: object) -> Object:
    return {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"dataClass": "general-1", "demand": {"replicas": 1, "requests": {"cpu": "1"}}},
    }


@asynccontextmanager
async def embedded_hub(folder: Path) -> AsyncIterator[HubClient]:
    options = server_options(
        data_dir=folder, port=0, max_objects=100, max_bytes=10**7, on_fault=pytest.fail
    )
    async with serve(options) as server, open_hub(server.kubeconfig_path) as client:
        yield client


def finalizers_of(body: Object) -> list[str]:
    return list(body["metadata"].get("finalizers", []))


async def test_every_write_that_leaves_it_out_gets_it_until_the_object_is_deleted(
    tmp_path: Path,
) -> None:
    async with embedded_hub(tmp_path) as hub:
        created = await hub.create(WORKLOADS, workload("w"))
        assert finalizers_of(created) == [FINALIZER]
        version = created["metadata"]["resourceVersion"]
        path = WORKLOADS.path("default", "w")
        replaced = await hub.raw("PUT", path, body=workload("w", resourceVersion=version))
        assert finalizers_of(replaced) == [FINALIZER]
        for given, expected in ((None, [FINALIZER]), ([OTHER], [OTHER, FINALIZER])):
            patch = {"metadata": {"finalizers": given}}
            patched = await hub.merge_patch(WORKLOADS, "w", patch, namespace="default")
            assert finalizers_of(patched) == expected
        status = {"status": {"phase": "Placed"}}
        written = await hub.merge_patch(
            WORKLOADS, "w", status, namespace="default", subresource="status"
        )
        assert finalizers_of(written) == [OTHER, FINALIZER]
        await hub.delete(WORKLOADS, "w", "default")
        removed = await hub.merge_patch(
            WORKLOADS, "w", {"metadata": {"finalizers": [OTHER]}}, namespace="default"
        )
        assert finalizers_of(removed) == [OTHER]
        await hub.merge_patch(
            WORKLOADS, "w", {"metadata": {"finalizers": None}}, namespace="default"
        )
        with pytest.raises(NotFound):
            await hub.get(WORKLOADS, "w", "default")


async def test_an_applied_object_has_it_and_nobody_applies_it(tmp_path: Path) -> None:
    async with embedded_hub(tmp_path) as hub:
        for _ in range(2):
            body = await hub.apply(WORKLOADS, workload("w"), field_manager="somebody")
            assert finalizers_of(body) == [FINALIZER]
            [entry] = body["metadata"]["managedFields"]
            assert "f:metadata" not in entry["fieldsV1"]


def is_changed_by_policy(body: Object) -> bool:
    """Whether the policy's conditions hold, evaluated as a real API server does."""
    environment = cel.NewEnv(variables={"object": cel.Type.DYN})
    return all(
        environment.compile(one["expression"]).eval(data={"object": body}).value()
        for one in POLICY["spec"]["matchConditions"]
    )


@pytest.mark.parametrize("finalizers", [None, [], [OTHER], [FINALIZER], [OTHER, FINALIZER]])
@pytest.mark.parametrize("deleted", [{}, {"deletionTimestamp": "2026-11-30T08:00:00Z"}])
def test_the_policy_for_real_clusters_changes_what_the_embedded_hub_changes(
    finalizers: list[str] | None, deleted: dict[str, Any]
) -> None:
    metadata = {**deleted, **({} if finalizers is None else {"finalizers": finalizers})}
    kept = workload("w", **metadata)
    keep_finalizer(kept)
    assert is_changed_by_policy(workload("w", **metadata)) == (kept != workload("w", **metadata))
    assert bool(deleted) or finalizers_of(kept)[-1] == FINALIZER


def test_the_policy_is_valid_and_sets_the_same_finalizer() -> None:
    for one in (POLICY, BINDING):
        kubernetes_validate.validate(one, "1.36", strict=True)
        assert one["metadata"]["name"] == BINDING["spec"]["policyName"]
    [mutation] = POLICY["spec"]["mutations"]
    assert mutation["jsonPatch"]["expression"].count(f'"{FINALIZER}"') == 2
    # A writer never waits for it; without it the scheduler writes the finalizer itself.
    assert POLICY["spec"]["failurePolicy"] == "Ignore"
