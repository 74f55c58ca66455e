"""Patches: merge, JSON, strategic; what does not apply changes nothing."""

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import JSON_PATCH, MERGE, STRATEGIC, Client


def _deployment(server: Server) -> dict[str, object]:
    labels = {"app": "web"}
    containers = [
        {"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "side", "image": "envoy:1"},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": server.name("d")},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def test_merge_patch_merges_maps_and_null_removes(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map(a="1", b="2")).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    after = client.patch(path, {"data": {"a": None, "c": "3"}}).ok()
    assert after["data"] == {"b": "2", "c": "3"}


def test_merge_patch_with_a_stale_version_is_409(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    client.patch(path, {"data": {"k": "2"}}).ok()
    version = made["metadata"]["resourceVersion"]
    stale = client.patch(path, {"metadata": {"resourceVersion": version}, "data": {"k": "3"}})
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert client.get(path).ok()["data"] == {"k": "2"}


def test_json_patch_tests_and_replaces(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map(a="1")).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/data/b", "value": "3"},
    ]
    assert client.patch(path, operations, JSON_PATCH).ok()["data"] == {"a": "2", "b": "3"}
    failed = client.patch(path, operations, JSON_PATCH)
    assert failed.code == 422
    assert client.get(path).ok()["data"] == {"a": "2", "b": "3"}


@pytest.mark.parametrize(
    ("kind", "patch", "codes"),
    [
        pytest.param(MERGE, b"[1]", {400}, id="merge patch that is a list"),
        pytest.param(MERGE, b"{not json", {400}, id="no JSON"),
        pytest.param(JSON_PATCH, b'{"a": 1}', {400}, id="JSON patch that is a map"),
        pytest.param(
            JSON_PATCH, b'[{"op": "remove", "path": "/data/none"}]', {422}, id="nothing to remove"
        ),
        pytest.param(JSON_PATCH, b'[{"op": "fly", "path": "/a"}]', {400, 422}, id="no operation"),
        pytest.param("text/plain", b"{}", {415}, id="no patch type"),
        pytest.param("application/json", b"{}", {415}, id="plain JSON"),
        pytest.param(MERGE, b'{"data": "text"}', {400, 422}, id="wrong type"),
        pytest.param(MERGE, b'{"metadata": {"labels": {"a": 1}}}', {400, 422}, id="label number"),
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(
    server: Server, client: Client, kind: str, patch: bytes, codes: set[int]
) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    answer = client.patch(path, patch, kind)
    assert answer.code in codes, answer.raw
    assert answer.json["kind"] == "Status"
    assert client.get(path).ok() == made


def test_custom_resources_take_no_strategic_patch(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    answer = client.patch(server.widgets(made["metadata"]["name"]), {}, STRATEGIC)
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")
    assert "application/merge-patch+json" in answer.json["message"]


def test_strategic_patch_merges_lists_by_key(server: Server, client: Client) -> None:
    made = client.create(server.apps("deployments"), _deployment(server)).ok()
    path = server.apps("deployments", made["metadata"]["name"])
    containers = [
        {"name": "web", "image": "nginx:2", "env": [{"name": "B", "value": "2"}]},
        {"name": "side", "$patch": "delete"},
        {"name": "new", "image": "busybox"},
    ]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    after = client.patch(path, patch, STRATEGIC).ok()
    found = after["spec"]["template"]["spec"]["containers"]
    assert {c["name"]: c["image"] for c in found} == {"web": "nginx:2", "new": "busybox"}
    web = next(c for c in found if c["name"] == "web")
    assert {e["name"]: e["value"] for e in web["env"]} == {"A": "1", "B": "2"}


def test_strategic_patch_replaces_and_orders(server: Server, client: Client) -> None:
    made = client.create(server.apps("deployments"), _deployment(server)).ok()
    path = server.apps("deployments", made["metadata"]["name"])
    patch = {
        "spec": {
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "side"}, {"name": "web"}],
                    "containers": [{"name": "side", "image": "envoy:2"}],
                }
            },
        }
    }
    after = client.patch(path, patch, STRATEGIC).ok()
    assert after["spec"]["strategy"] == {"type": "Recreate"}
    found = after["spec"]["template"]["spec"]["containers"]
    assert [(c["name"], c["image"]) for c in found] == [("side", "envoy:2"), ("web", "nginx:1")]


def test_a_merge_patch_replaces_lists(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(names=["a", "b"])).ok()
    after = client.patch(server.widgets(made["metadata"]["name"]), {"spec": {"names": ["c"]}}).ok()
    assert after["spec"]["names"] == ["c"]


def test_patching_a_missing_object_is_404(server: Server, client: Client) -> None:
    assert client.patch(server.widgets("missing"), {"spec": {}}).code == 404


def test_a_patch_cannot_rename(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    answer = client.patch(path, {"metadata": {"name": "other"}})
    assert answer.code in {400, 422}


def test_defaults_of_core_kinds_are_filled_in(server: Server, client: Client) -> None:
    made = client.create(server.apps("deployments"), _deployment(server)).ok()
    spec = made["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert pod["containers"][0]["terminationMessagePath"] == "/dev/termination-log"


def test_quantities_are_stored_in_canonical_form(server: Server, client: Client) -> None:
    item = _deployment(server)
    requests = {"cpu": "0.5", "memory": "1024Mi", "example.com/gpu": 2}
    pod = item["spec"]["template"]["spec"]  # type: ignore[index]
    pod["containers"][0]["resources"] = {"requests": requests, "limits": {"example.com/gpu": "2"}}
    made = client.create(server.apps("deployments"), item).ok()
    found = made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert found == {"cpu": "500m", "memory": "1Gi", "example.com/gpu": "2"}


def test_a_selector_that_misses_its_template_is_422(server: Server, client: Client) -> None:
    item = _deployment(server)
    item["spec"]["selector"] = {"matchLabels": {"app": "other"}}  # type: ignore[index]
    answer = client.create(server.apps("deployments"), item)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.json["details"]["causes"][0]["field"] == "spec.template.metadata.labels"


def test_a_selector_is_immutable(server: Server, client: Client) -> None:
    made = client.create(server.apps("deployments"), _deployment(server)).ok()
    labels = {"app": "other"}
    patch = {
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        }
    }
    answer = client.patch(server.apps("deployments", made["metadata"]["name"]), patch)
    assert answer.code == 422
    assert "field is immutable" in answer.json["message"]


def test_a_deployment_can_be_scaled_through_its_subresource(server: Server, client: Client) -> None:
    made = client.create(server.apps("deployments"), _deployment(server)).ok()
    path = server.apps("deployments", made["metadata"]["name"]) + "/scale"
    scale = client.get(path).ok()
    assert scale["spec"]["replicas"] == 2
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    assert client.patch(path, {"spec": {"replicas": 0}}).ok()["spec"].get("replicas", 0) == 0
    assert client.patch(path, {"spec": {"replicas": -1}}).code == 422
