"""Server-side apply: ownership, conflicts, force, and removal of fields without an owner."""

from typing import Any

from tests.contract.conftest import Server
from tests.support.api_client import Client


def _config(item: dict[str, Any], **spec: object) -> dict[str, Any]:
    return {**item, "spec": spec}


def _path(server: Server, item: dict[str, Any]) -> str:
    return server.widgets(item["metadata"]["name"])


def _managers(item: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{entry['manager']}/{entry['operation']}": entry["fieldsV1"]
        for entry in item["metadata"]["managedFields"]
    }


def test_apply_creates_and_owns_what_it_names(server: Server, client: Client) -> None:
    item = server.widget()
    answer = client.apply(_path(server, item), item, "alice")
    assert answer.code == 201
    (entry,) = answer.json["metadata"]["managedFields"]
    assert entry["manager"] == "alice"
    assert entry["operation"] == "Apply"
    assert entry["apiVersion"] == f"{server.group}/v1"
    assert entry["fieldsType"] == "FieldsV1"
    assert entry["fieldsV1"] == {"f:spec": {"f:size": {}}}


def test_applying_the_same_again_changes_nothing(server: Server, client: Client) -> None:
    item = server.widget()
    first = client.apply(_path(server, item), item, "alice").ok()
    again = client.apply(_path(server, item), item, "alice")
    assert again.code == 200
    assert again.json == first


def test_another_value_from_another_manager_conflicts(server: Server, client: Client) -> None:
    item = server.widget()
    client.apply(_path(server, item), item, "alice").ok()
    other = _config(item, size="large")
    answer = client.apply(_path(server, item), other, "bob")
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert answer.json["message"] == (
        'Apply failed with 1 conflict: conflict with "alice": .spec.size'
    )
    (cause,) = answer.json["details"]["causes"]
    assert cause == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "alice"',
        "field": ".spec.size",
    }


def test_several_conflicts_are_all_named(server: Server, client: Client) -> None:
    item = server.widget(replicas=2)
    client.apply(_path(server, item), item, "alice").ok()
    other = _config(item, size="large", replicas=9)
    answer = client.apply(_path(server, item), other, "bob")
    assert answer.code == 409
    assert len(answer.json["details"]["causes"]) == 2
    assert answer.json["message"].startswith(
        'Apply failed with 2 conflicts: conflicts with "alice"'
    )


def test_force_takes_the_fields_over(server: Server, client: Client) -> None:
    item = server.widget(replicas=2)
    client.apply(_path(server, item), item, "alice").ok()
    other = _config(item, size="large")
    after = client.apply(_path(server, item), other, "bob", force="true").ok()
    managers = _managers(after)
    assert managers["bob/Apply"] == {"f:spec": {"f:size": {}}}
    assert managers["alice/Apply"] == {"f:spec": {"f:replicas": {}}}


def test_equal_values_are_shared(server: Server, client: Client) -> None:
    item = server.widget()
    client.apply(_path(server, item), item, "alice").ok()
    after = client.apply(_path(server, item), item, "bob").ok()
    managers = _managers(after)
    assert managers["alice/Apply"] == managers["bob/Apply"] == {"f:spec": {"f:size": {}}}
    without = {key: value for key, value in item.items() if key != "spec"}
    left = client.apply(_path(server, item), without, "bob").ok()
    assert left["spec"]["size"] == "small"
    assert list(_managers(left)) == ["alice/Apply"]


def test_a_field_that_its_manager_no_longer_applies_is_removed(
    server: Server, client: Client
) -> None:
    item = server.widget(code="abc", tags=["a", "b"], labels={"x": "1", "y": "2"})
    client.apply(_path(server, item), item, "alice").ok()
    smaller = _config(item, size="small", tags=["b"], labels={"y": "2"})
    after = client.apply(_path(server, item), smaller, "alice").ok()
    assert "code" not in after["spec"]
    assert after["spec"]["tags"] == ["b"]
    assert after["spec"]["labels"] == {"y": "2"}


def test_lists_with_keys_merge_item_by_item(server: Server, client: Client) -> None:
    item = server.widget(parts=[{"name": "a", "color": "red"}])
    client.apply(_path(server, item), item, "alice").ok()
    more = _config(item, size="small", parts=[{"name": "b", "count": 5}])
    both = client.apply(_path(server, item), more, "bob").ok()
    parts = {part["name"]: part for part in both["spec"]["parts"]}
    assert parts["a"] == {"name": "a", "color": "red", "count": 1}
    assert parts["b"] == {"name": "b", "count": 5}
    keys = _managers(both)["bob/Apply"]["f:spec"]["f:parts"]
    assert keys == {'k:{"name":"b"}': {".": {}, "f:count": {}, "f:name": {}}}
    only_a = client.apply(_path(server, item), _config(item, size="small"), "bob").ok()
    assert [part["name"] for part in only_a["spec"]["parts"]] == ["a"]


def test_plain_lists_and_atomic_maps_have_one_owner(server: Server, client: Client) -> None:
    item = server.widget(names=["a"], limits={"cpu": "1"})
    client.apply(_path(server, item), item, "alice").ok()
    other = _config(item, size="small", limits={"memory": "1Gi"})
    answer = client.apply(_path(server, item), other, "bob")
    assert answer.code == 409
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == [".spec.limits"]
    taken = client.apply(_path(server, item), other, "bob", force="true").ok()
    assert taken["spec"]["limits"] == {"memory": "1Gi"}


def test_an_update_takes_fields_from_appliers(server: Server, client: Client) -> None:
    item = server.widget(replicas=2)
    client.apply(_path(server, item), item, "alice").ok()
    after = client.patch(_path(server, item), {"spec": {"replicas": 3}}, fieldManager="carol").ok()
    managers = _managers(after)
    assert managers["carol/Update"] == {"f:spec": {"f:replicas": {}}}
    assert managers["alice/Apply"] == {"f:spec": {"f:size": {}}}
    answer = client.apply(_path(server, item), item, "alice")
    assert answer.code == 409
    message = answer.json["details"]["causes"][0]["message"]
    assert message == f'conflict with "carol" using {server.group}/v1'


def test_the_status_has_owners_of_its_own(server: Server, client: Client) -> None:
    item = server.widget()
    client.apply(_path(server, item), item, "alice").ok()
    status = {**item, "status": {"phase": "Busy", "epoch": 3}}
    after = client.apply(f"{_path(server, item)}/status", status, "robot").ok()
    entry = next(e for e in after["metadata"]["managedFields"] if e["manager"] == "robot")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:epoch": {}, "f:phase": {}}}
    assert after["status"] == {"phase": "Busy", "epoch": 3}


def test_apply_needs_a_manager_and_takes_no_managed_fields(server: Server, client: Client) -> None:
    item = server.widget()
    from tests.support.api_client import APPLY  # noqa: PLC0415 - only here

    assert client.patch(_path(server, item), item, APPLY).code in {400, 422}
    item["metadata"]["managedFields"] = [{"manager": "x", "operation": "Apply"}]  # type: ignore[index]
    assert client.apply(_path(server, item), item, "alice").code == 400


def test_apply_does_not_replace_another_incarnation(server: Server, client: Client) -> None:
    item = server.widget()
    client.apply(_path(server, item), item, "alice").ok()
    item["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"  # type: ignore[index]
    assert client.apply(_path(server, item), item, "alice").code == 422


def test_a_new_object_by_post_is_owned_by_an_update(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(), fieldManager="carol").ok()
    assert _managers(made) == {
        "carol/Update": {"f:spec": {".": {}, "f:replicas": {}, "f:size": {}}}
    }


def test_ownership_can_be_reset(server: Server, client: Client) -> None:
    item = server.widget()
    client.apply(_path(server, item), item, "alice").ok()
    after = client.patch(_path(server, item), {"metadata": {"managedFields": [{}]}}).ok()
    assert "managedFields" not in after["metadata"]


def test_apply_merges_into_core_kinds(server: Server, client: Client) -> None:
    name = server.name("d")
    labels = {"app": "web"}
    container = {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}
    item: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    path = server.apps("deployments", name)
    client.apply(path, item, "alice").ok()
    spec = item["spec"]["template"]["spec"]
    spec["containers"] = [{"name": "web", "image": "nginx:2", "ports": [{"containerPort": 80}]}]
    after = client.apply(path, item, "alice").ok()
    (found,) = after["spec"]["template"]["spec"]["containers"]
    assert found["image"] == "nginx:2"
    assert found["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    entry = _managers(after)["alice/Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert set(entry) == {'k:{"name":"web"}'}
    ports = entry['k:{"name":"web"}']["f:ports"]
    assert set(ports) == {'k:{"containerPort":80,"protocol":"TCP"}'}
