"""The life of a workload on any hub: created, updated, scaled, moved, deleted, and disturbed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.control.ports.hub import SITES, WORKLOADS, HubError, NotFound
from tests.support.proxied_hub import ProxiedHub, proxied_hub, until, workload
from tests.support.wire_hub import deployment

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(300)]


async def is_running(hub: ProxiedHub, name: str, replicas: int = 1) -> bool:
    status = await hub.status(name)
    return status.get("phase") == "Running" and status.get("ready") == replicas


def runs(hub: ProxiedHub, name: str, replicas: int = 1) -> Callable[[], Awaitable[bool]]:
    return lambda: is_running(hub, name, replicas)


async def is_gone(hub: ProxiedHub, name: str) -> bool:
    try:
        await hub.client.get(WORKLOADS, name, "default")
    except NotFound:
        return True
    return False


async def patch(hub: ProxiedHub, name: str, **spec: Any) -> None:  # noqa: ANN401 - JSON
    await hub.client.merge_patch(WORKLOADS, name, {"spec": spec}, namespace="default")


def with_settings(name: str, level: str) -> dict[str, Any]:
    """A workload of one replica, with a ConfigMap beside it."""
    made: dict[str, Any] = workload(name)
    del made["spec"]["demand"]
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    made["spec"]["manifests"] = [
        {**manifest, "data": {"level": level}},
        deployment(name, replicas=1),
    ]
    return made


async def test_a_workload_is_created_updated_scaled_and_deleted(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        await hub.client.create(WORKLOADS, with_settings("w", "info"))
        await until(runs(hub, "w"))
        first = (await hub.status("w"))["placement"]["generation"]
        # An update while watches are cut and one expires.
        hub.proxy.faults.expired_watches = 1
        hub.proxy.cut_watches()
        await patch(hub, "w", **with_settings("w", "debug")["spec"])

        async def has_new_content() -> bool:
            contents = hub.site.contents.values()
            return any(one.manifests[0].get("data") == {"level": "debug"} for one in contents)

        await until(has_new_content)
        assert (await hub.status("w"))["placement"]["generation"] > first
        await until(runs(hub, "w"))
        # Scaled over /scale, and edited again before that is placed.
        hub.proxy.faults.delay_seconds = 0.05
        await patch(hub, "w", replicas=3)
        await patch(hub, "w", replicas=2)
        await until(runs(hub, "w", 2))
        hub.proxy.faults.clear()
        await hub.client.delete(WORKLOADS, "w", "default")
        await until(lambda: is_gone(hub, "w"))
        assert not hub.site.contents


async def test_a_workload_leaves_a_site_that_is_drained_and_comes_back(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        await hub.client.create(WORKLOADS, with_settings("w", "info"))
        await until(runs(hub, "w"))
        taint = {"key": "repair", "effect": "NoExecute"}
        await hub.client.merge_patch(SITES, "site-a", {"spec": {"taints": [taint]}})

        async def has_left() -> bool:
            return not (await hub.status("w")).get("replicas")

        await until(has_left)
        await hub.client.merge_patch(SITES, "site-a", {"spec": {"taints": None}})
        await until(runs(hub, "w"))


async def test_of_two_workloads_that_claim_one_object_the_second_is_refused_by_name(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        for name in ("first", "second"):
            made = with_settings(name, "info")
            made["spec"]["manifests"][0]["metadata"]["name"] = "shared"
            await hub.client.create(WORKLOADS, made)
            if name == "first":
                await until(runs(hub, "first"))

        async def refusal() -> str:
            conditions = (await hub.status("second")).get("conditions", [])
            found = [one for one in conditions if one["type"] == "Accepted"]
            return str(found[0]["message"]) if found and found[0]["status"] == "False" else ""

        assert "shared" in await until(refusal)
        await hub.client.delete(WORKLOADS, "first", "default")
        await until(runs(hub, "second"))


async def test_manifests_over_the_limit_are_refused_and_the_next_workload_is_placed(
    tmp_path: Path, server: Path | None
) -> None:
    async with proxied_hub(tmp_path, server=server) as hub:
        scheduler = hub.start()
        await scheduler.is_ready.wait()
        for kilobytes in (1_100, 4_000):  # over the limit of Kapok, and over that of any server
            made = with_settings("big", "x" * 1024 * kilobytes)
            try:
                await hub.client.create(WORKLOADS, made)
            except HubError:  # the server takes no request of that size
                continue
            await until(lambda: is_refused(hub, "big"))
            await hub.client.delete(WORKLOADS, "big", "default")
            await until(lambda: is_gone(hub, "big"))
        await hub.client.create(WORKLOADS, with_settings("small", "info"))
        await until(runs(hub, "small"))


async def is_refused(hub: ProxiedHub, name: str) -> bool:
    return (await hub.status(name)).get("phase") == "Refused"
