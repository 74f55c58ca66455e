"""Discovery and OpenAPI, which clients read first."""

import json

from tests.contract.conftest import Server
from tests.support.api_client import Client

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_aggregated_discovery_lists_groups_and_resources(server: Server, client: Client) -> None:
    answer = client.request("GET", "/apis", headers={"Accept": f"{AGGREGATED},application/json"})
    assert answer.headers["Content-Type"].replace(" ", "") == AGGREGATED
    assert answer.json["kind"] == "APIGroupDiscoveryList"
    groups = {item["metadata"]["name"]: item for item in answer.json["items"]}
    assert {"apps", "batch", "coordination.k8s.io", server.group} <= set(groups)
    (version,) = groups[server.group]["versions"]
    (widgets,) = [r for r in version["resources"] if r["resource"] == "widgets"]
    assert widgets["scope"] == "Namespaced"
    assert widgets["responseKind"] == {"group": server.group, "version": "v1", "kind": "Widget"}
    assert set(widgets["verbs"]) == {
        *("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    }
    assert {sub["subresource"] for sub in widgets["subresources"]} == {"scale", "status"}
    assert widgets["categories"] == ["toys"]


def test_the_core_group_is_discovered_at_api(client: Client) -> None:
    answer = client.request("GET", "/api", headers={"Accept": f"{AGGREGATED},application/json"})
    (core,) = answer.json["items"]
    names = {r["resource"]: r for v in core["versions"] for r in v["resources"]}
    assert {"namespaces", "nodes", "pods", "services", "configmaps", "secrets"} <= set(names)
    assert names["pods"]["shortNames"] == ["po"]
    assert names["nodes"]["scope"] == "Cluster"


def test_the_old_discovery_still_answers(server: Server, client: Client) -> None:
    assert client.get("/api").ok()["versions"] == ["v1"]
    groups = {group["name"] for group in client.get("/apis").ok()["groups"]}
    assert {"apps", server.group} <= groups
    one = client.get(f"/apis/{server.group}").ok()
    assert one["preferredVersion"]["groupVersion"] == f"{server.group}/v1"
    core = client.get("/api/v1").ok()
    assert core["kind"] == "APIResourceList"
    assert {"pods", "pods/status", "namespaces"} <= {r["name"] for r in core["resources"]}


def test_openapi_v3_has_a_document_for_each_version(server: Server, client: Client) -> None:
    paths = client.get("/openapi/v3").ok()["paths"]
    assert {"api/v1", "apis/apps/v1", f"apis/{server.group}/v1"} <= set(paths)
    url = paths[f"apis/{server.group}/v1"]["serverRelativeURL"]
    assert "hash=" in url
    document = client.get(url.partition("?")[0]).ok()  # the hash moves with other definitions
    assert document["openapi"].startswith("3.")
    schemas = document["components"]["schemas"]
    (name,) = [key for key in schemas if key.endswith(".v1.Widget")]
    widget = schemas[name]
    assert widget["x-kubernetes-group-version-kind"] == [
        {"group": server.group, "kind": "Widget", "version": "v1"}
    ]
    spec = widget["properties"]["spec"]
    assert spec["description"] == "What the widget shall be."
    item = f"/apis/{server.group}/v1/namespaces/{{namespace}}/widgets/{{name}}"
    patch = document["paths"][item]["patch"]
    parameters = {p.get("name") for p in patch["parameters"]}
    assert {"dryRun", "fieldValidation", "fieldManager", "force"} <= parameters


def test_every_reference_of_a_document_is_in_it(client: Client) -> None:
    paths = client.get("/openapi/v3").ok()["paths"]
    for path in ("api/v1", "apis/apps/v1", "apis/batch/v1"):
        raw = client.get(paths[path]["serverRelativeURL"]).raw
        schemas = json.loads(raw)["components"]["schemas"]
        wanted = {part.split('"')[0] for part in raw.decode().split("#/components/schemas/")[1:]}
        assert wanted <= set(schemas)


def test_the_version_is_one_that_clients_accept(client: Client) -> None:
    found = client.get("/version").ok()
    assert found["major"] == "1"
    assert found["gitVersion"].startswith("v1.")


def test_events_are_one_thing_in_two_groups(server: Server, client: Client) -> None:
    name = server.name("e")
    event = {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": server.namespace},
        "reason": "Because",
        "message": "said",
        "type": "Normal",
        "count": 2,
    }
    client.create(server.core("events"), event).ok()
    new = client.get(server.apps("events", name, group="events.k8s.io/v1")).ok()
    assert new["apiVersion"] == "events.k8s.io/v1"
    assert (new["note"], new["regarding"]["name"]) == ("said", "p")
    assert new["deprecatedCount"] == 2
    found = client.get(server.core("events"), fieldSelector="involvedObject.name=p").ok()
    assert name in [item["metadata"]["name"] for item in found["items"]]
