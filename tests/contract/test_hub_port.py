"""What the loops rely on in a hub: the client on a server, and the fake that unit tests use."""

from collections.abc import AsyncIterator

import pytest

from scheduler.control.ports.hub import CONFIG_MAPS, Conflict, Hub, NotFound, Object
from scheduler.hub.client import open_hub
from tests.contract.conftest import Server
from tests.support.fake_hub import FakeHub


@pytest.fixture(params=["client", "fake"])
async def hub(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Hub]:
    if request.param == "fake":
        yield FakeHub()
        return
    async with open_hub(server.kubeconfig) as client:
        yield client


def config_map(server: Server) -> Object:
    body = server.config_map(a="1", b="2")
    return {**body, "metadata": {"name": server.name("port"), "namespace": server.namespace}}


async def test_an_object_is_created_once_and_has_a_uid_and_a_version(
    hub: Hub, server: Server
) -> None:
    body = config_map(server)
    made = await hub.create(CONFIG_MAPS, body)
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    name = body["metadata"]["name"]
    assert (await hub.get(CONFIG_MAPS, name, server.namespace))["data"] == body["data"]
    with pytest.raises(Conflict):
        await hub.create(CONFIG_MAPS, body)


async def test_a_merge_patch_merges_removes_with_null_and_keeps_to_its_version(
    hub: Hub, server: Server
) -> None:
    made = await hub.create(CONFIG_MAPS, config_map(server))
    name, version = made["metadata"]["name"], made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": None, "c": "3"}}
    after = await hub.merge_patch(CONFIG_MAPS, name, patch, namespace=server.namespace)
    assert after["data"] == {"b": "2", "c": "3"}
    assert after["metadata"]["resourceVersion"] != version
    with pytest.raises(Conflict):
        await hub.merge_patch(CONFIG_MAPS, name, patch, namespace=server.namespace)
    same = await hub.merge_patch(
        CONFIG_MAPS, name, {"data": {"b": "2"}}, namespace=server.namespace
    )
    assert same["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_a_missing_object_is_not_found_and_deleting_it_succeeds(
    hub: Hub, server: Server
) -> None:
    made = await hub.create(CONFIG_MAPS, config_map(server))
    name = made["metadata"]["name"]
    listing = await hub.list(CONFIG_MAPS, server.namespace)
    assert name in [one["metadata"]["name"] for one in listing.items]
    await hub.delete(CONFIG_MAPS, name, server.namespace)
    await hub.delete(CONFIG_MAPS, name, server.namespace)
    with pytest.raises(NotFound):
        await hub.get(CONFIG_MAPS, name, server.namespace)
    with pytest.raises(NotFound):
        await hub.merge_patch(CONFIG_MAPS, name, {}, namespace=server.namespace)


async def test_apply_creates_and_updates(hub: Hub, server: Server) -> None:
    body = config_map(server)
    await hub.apply(CONFIG_MAPS, body, field_manager="port")
    after = await hub.apply(
        CONFIG_MAPS, {**body, "data": {"a": "9", "b": "2"}}, field_manager="port"
    )
    assert after["data"] == {"a": "9", "b": "2"}
