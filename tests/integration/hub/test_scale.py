"""The scale of a Workload whose replicas are unset, and an autoscaler that scales it."""

from pathlib import Path
from typing import Any

import pytest

from scheduler.control.autoscaled_workloads import AUTOSCALERS
from scheduler.control.ports.hub import WORKLOADS, Busy, Object
from tests.support.proxied_hub import ProxiedHub, proxied_hub, until, workload
from tests.support.wire_hub import deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATH = WORKLOADS.path("default", "w") + "/scale"
AUTOSCALER: Object = {
    "apiVersion": AUTOSCALERS.api_version,
    "kind": AUTOSCALERS.kind,
    "metadata": {"name": "scales-w", "namespace": "default"},
    "spec": {
        "scaleTargetRef": {"apiVersion": WORKLOADS.api_version, "kind": "Workload", "name": "w"},
        "minReplicas": 3,
        "maxReplicas": 5,
    },
}


def of_manifest(replicas: int) -> Object:
    """A Workload that has its number in a Deployment."""
    body = workload("w")
    del body["spec"]["demand"]
    body["spec"]["manifests"] = [deployment(replicas=replicas)]
    return body


async def scale(hub: ProxiedHub) -> dict[str, Any]:
    """The Scale; {} while the server cannot read it."""
    try:
        return await hub.client.raw("GET", PATH)
    except Busy as error:
        if "the spec replicas field" not in str(error):
            raise
        return {}


async def placed_replicas(hub: ProxiedHub) -> int:
    """The replicas at all sites."""
    placement = (await hub.status("w")).get("placement") or {}
    return sum(one.get("replicas", 0) for one in placement.get("groups", []))


async def test_a_write_of_the_scale_sets_replicas_that_are_unset(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        hub.start()
        await hub.client.create(WORKLOADS, of_manifest(1))
        await until(lambda: hub.is_placed("w"))
        assert await scale(hub) == {}
        await hub.client.merge_patch(
            WORKLOADS, "w", {"spec": {"replicas": 2}}, namespace="default", subresource="scale"
        )

        async def has_two() -> bool:
            return await placed_replicas(hub) == 2

        await until(has_two)
        found = await scale(hub)
        assert found["spec"]["replicas"] == 2
        assert found["status"]["selector"]


@pytest.mark.soak
async def test_an_autoscaler_finds_the_number_of_the_manifest_and_scales_from_it(
    tmp_path: Path, server: Path | None
) -> None:
    """A real controller manager raises it to the least number; the embedded hub has none."""
    async with proxied_hub(tmp_path, server=server) as hub:
        hub.start()
        await hub.client.create(WORKLOADS, of_manifest(2))
        await until(lambda: hub.is_placed("w"))
        await hub.client.create(AUTOSCALERS, AUTOSCALER)
        try:
            number = 2 if server is None else 3

            async def is_scaled() -> bool:
                found = await scale(hub)
                return bool(found) and found["spec"]["replicas"] == number

            await until(is_scaled, within_seconds=90)
            if server is not None:

                async def has_three() -> bool:
                    return await placed_replicas(hub) == number

                await until(has_three)
        finally:
            await hub.client.delete(AUTOSCALERS, "scales-w", "default")
