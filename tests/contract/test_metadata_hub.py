"""Following metadata alone: what changed is said, and what it holds is not."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest

from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PRIORITY_CLASSES,
    SECRETS,
    SERVICE_ACCOUNTS,
    ApiResource,
    WatchEvent,
)
from scheduler.hub.client import open_hub
from scheduler.hub.informer import Informer, MetadataHub
from scheduler.runtime.clock import SystemClock
from tests.contract.conftest import Server
from tests.support.faults import make_faults

FIELDS: Mapping[ApiResource, dict[str, Any]] = {
    CONFIG_MAPS: {"data": {"k": "marker-in-clear"}},
    SECRETS: {"stringData": {"k": "marker-in-clear"}},
    SERVICE_ACCOUNTS: {"imagePullSecrets": [{"name": "registry"}]},
    PERSISTENT_VOLUME_CLAIMS: {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
    },
    PRIORITY_CLASSES: {"value": 7},
}


@pytest.mark.parametrize("resource", FIELDS, ids=lambda one: one.plural)
async def test_an_informer_of_metadata_names_what_changes(
    server: Server, resource: ApiResource
) -> None:
    name, found = server.name("along"), asyncio.Queue[WatchEvent]()
    clock = SystemClock()

    def listener(_resource: ApiResource, change: WatchEvent) -> None:
        if change.object["metadata"]["name"] == name:
            found.put_nowait(change)

    metadata: dict[str, Any] = {"name": name}
    if resource.namespaced:
        metadata["namespace"] = server.namespace
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    namespace = metadata.get("namespace")
    async with open_hub(server.kubeconfig) as client, asyncio.TaskGroup() as group:
        informer = Informer(
            hub=MetadataHub(client),
            resource=resource,
            listener=listener,
            clock=clock,
            jitter=random.Random(1),  # noqa: S311 - jitter
            faults=make_faults(clock, []),
        )
        task = group.create_task(informer.run())
        await asyncio.wait_for(informer.wait_until_listed(), 60)
        try:
            made = await client.create(resource, body | FIELDS[resource])
            assert made["metadata"]["uid"]
            patch = {"metadata": {"labels": {"a": "b"}}}
            await client.merge_patch(resource, name, patch, namespace=namespace)
        finally:
            await client.delete(resource, name, namespace)
        changes = [await asyncio.wait_for(found.get(), 60)]
        while changes[-1].type != "DELETED":
            changes.append(await asyncio.wait_for(found.get(), 60))
        task.cancel()
    await asyncio.sleep(0.25)  # noqa: TID251 - aiohttp closes TLS transports after its session
    assert [one.type for one in changes][:2] == ["ADDED", "MODIFIED"]
    assert "marker-in-clear" not in str(changes)
    assert all(set(one.object) <= {"apiVersion", "kind", "metadata"} for one in changes)
