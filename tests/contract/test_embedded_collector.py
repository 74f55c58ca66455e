"""Garbage collection and namespace removal by the embedded server."""

import secrets
from typing import Any

from tests.contract.conftest import Server, wait_until
from tests.support.api_client import Client
from tests.support.widgets import widget_crd


def _owned(server: Server, *owners: dict[str, Any], blocks: bool = False) -> dict[str, Any]:
    item: dict[str, Any] = server.config_map("owned")
    item["metadata"]["ownerReferences"] = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }
        for owner in owners
    ]
    return server.client.create(server.core("configmaps"), item).ok()


def _owner(server: Server) -> dict[str, Any]:
    return server.client.create(server.widgets(), server.widget("owner")).ok()


def _path(server: Server, item: dict[str, Any]) -> str:
    name = item["metadata"]["name"]
    return server.widgets(name) if item["kind"] == "Widget" else server.core("configmaps", name)


def test_dependents_are_deleted_after_their_owner(server: Server, client: Client) -> None:
    owner = _owner(server)
    owned = _owned(server, owner)
    client.delete(_path(server, owner)).ok()
    wait_until(lambda: client.get(_path(server, owned)).code == 404, "the dependent is gone")


def test_a_dependent_stays_while_one_owner_exists(server: Server, client: Client) -> None:
    first, second = _owner(server), _owner(server)
    owned = _owned(server, first, second)
    client.delete(_path(server, first)).ok()

    def owners() -> list[str]:
        found = client.get(_path(server, owned)).ok()["metadata"]["ownerReferences"]
        return [owner["uid"] for owner in found]

    wait_until(lambda: owners() == [second["metadata"]["uid"]], "the gone owner is forgotten")


def test_foreground_deletion_waits_for_dependents_that_block(
    server: Server, client: Client
) -> None:
    owner = _owner(server)
    owned = _owned(server, owner, blocks=True)
    hold = {"metadata": {"finalizers": ["kapok.dev/hold"]}}
    client.patch(_path(server, owned), hold).ok()
    client.delete(_path(server, owner), {"propagationPolicy": "Foreground"}).ok()
    wait_until(
        lambda: "deletionTimestamp" in client.get(_path(server, owned)).ok()["metadata"],
        "the dependent is marked for deletion",
    )
    assert client.get(_path(server, owner)).code == 200
    client.patch(_path(server, owned), {"metadata": {"finalizers": None}}).ok()
    wait_until(lambda: client.get(_path(server, owner)).code == 404, "the owner follows")


def test_orphans_stay_without_their_owner(server: Server, client: Client) -> None:
    owner = _owner(server)
    owned = _owned(server, owner)
    client.delete(_path(server, owner), {"propagationPolicy": "Orphan"}).ok()
    wait_until(lambda: client.get(_path(server, owner)).code == 404, "the owner is gone")
    assert "ownerReferences" not in client.get(_path(server, owned)).ok()["metadata"]


def test_an_object_whose_owner_never_existed_is_deleted(server: Server, client: Client) -> None:
    owner = _owner(server)
    owner["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    owned = _owned(server, owner)
    wait_until(lambda: client.get(_path(server, owned)).code == 404, "it is collected")


def test_deleting_a_namespace_deletes_its_objects(server: Server, client: Client) -> None:
    name = f"{server.run}-{secrets.token_hex(3)}"
    client.create("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    path = f"/api/v1/namespaces/{name}/configmaps"
    held = {"metadata": {"name": "held", "finalizers": ["kapok.dev/hold"]}}
    client.create(path, held).ok()
    for index in range(20):
        client.create(path, {"metadata": {"name": f"c{index}"}}).ok()
    marked = client.delete(f"/api/v1/namespaces/{name}").ok()
    assert marked["status"]["phase"] == "Terminating"
    wait_until(lambda: len(client.get(path).ok()["items"]) == 1, "all but the held one are gone")
    late = client.create(path, {"metadata": {"name": "late"}})
    assert (late.code, late.reason) == (403, "Forbidden")
    assert late.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    client.patch(f"{path}/held", {"metadata": {"finalizers": None}}).ok()
    wait_until(
        lambda: client.get(f"/api/v1/namespaces/{name}").code == 404, "the namespace is gone"
    )


def test_deleting_a_definition_deletes_its_objects(server: Server, client: Client) -> None:
    group = f"{secrets.token_hex(3)}.contract.kapok.dev"
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    client.create(crds, widget_crd(group)).ok()
    path = f"/apis/{group}/v1/namespaces/{server.namespace}/widgets"
    item = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "finalizers": ["kapok.dev/hold"]},
        "spec": {"size": "small"},
    }
    client.create(path, item).ok()
    client.delete(f"{crds}/widgets.{group}").ok()
    wait_until(
        lambda: "deletionTimestamp" in client.get(f"{path}/w").ok()["metadata"],
        "its objects are marked for deletion",
    )
    refused = client.create(path, {**item, "metadata": {"name": "late"}})
    assert refused.code == 403
    client.patch(f"{path}/w", {"metadata": {"finalizers": None}}).ok()
    wait_until(lambda: client.get(path).code == 404, "the kind is no longer served")
    client.create(crds, widget_crd(group)).ok()
    assert client.get(path).ok()["items"] == []
    client.delete(f"{crds}/widgets.{group}").ok()
