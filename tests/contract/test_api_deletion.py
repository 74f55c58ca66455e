"""Deletion: preconditions, finalizers, collections, grace."""

from tests.contract.conftest import Server
from tests.support.api_client import Client


def test_delete_answers_with_a_status(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    name = made["metadata"]["name"]
    answer = client.delete(server.widgets(name)).ok()
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"]["uid"] == made["metadata"]["uid"]
    assert client.get(server.widgets(name)).code == 404
    assert client.delete(server.widgets(name)).code == 404


def test_a_deletion_meets_its_preconditions_or_is_refused(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    answer = client.delete(path, wrong)
    assert (answer.code, answer.reason) == (409, "Conflict")
    stale = {"preconditions": {"resourceVersion": "1"}}
    assert client.delete(path, stale).code == 409
    right = {
        "preconditions": {
            "uid": made["metadata"]["uid"],
            "resourceVersion": made["metadata"]["resourceVersion"],
        }
    }
    assert client.delete(path, right).code == 200


def test_finalizers_hold_an_object(server: Server, client: Client) -> None:
    item = server.widget()
    item["metadata"]["finalizers"] = ["kapok.dev/hold"]  # type: ignore[index]
    made = client.create(server.widgets(), item).ok()
    path = server.widgets(made["metadata"]["name"])
    marked = client.delete(path).ok()
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["generation"] == 2
    again = client.delete(path).ok()
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["kapok.dev/hold", "kapok.dev/more"]}}
    refused = client.patch(path, more)
    assert refused.code == 422
    assert "no new finalizers can be added" in refused.json["message"]
    client.patch(path, {"metadata": {"finalizers": None}}).ok()
    assert client.get(path).code == 404


def test_a_collection_is_deleted_by_selector(server: Server, client: Client) -> None:
    mark = server.name("gone")
    names = []
    for index in range(4):
        item = server.widget()
        item["metadata"]["labels"] = {"mark": mark if index else "kept"}  # type: ignore[index]
        names.append(client.create(server.widgets(), item).ok()["metadata"]["name"])
    answer = client.delete(server.widgets(), labelSelector=f"mark={mark}")
    assert answer.code == 200
    assert client.get(server.widgets(), labelSelector=f"mark={mark}").ok()["items"] == []
    assert client.get(server.widgets(names[0])).code == 200


def test_a_dry_run_deletes_nothing(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    assert client.delete(path, dryRun="All").code == 200
    assert client.get(path).ok() == made


def test_orphan_and_foreground_leave_a_finalizer(server: Server, client: Client) -> None:
    item = server.widget()
    item["metadata"]["finalizers"] = ["kapok.dev/hold"]  # type: ignore[index]
    made = client.create(server.widgets(), item).ok()
    path = server.widgets(made["metadata"]["name"])
    marked = client.delete(path, {"propagationPolicy": "Foreground"}).ok()
    assert "foregroundDeletion" in marked["metadata"]["finalizers"]
    client.patch(path, {"metadata": {"finalizers": None}})


def test_a_wrong_propagation_policy_is_refused(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    answer = client.delete(path, {"propagationPolicy": "Sideways"})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert client.get(path).code == 200


def _pod(server: Server, node: str = "") -> dict[str, object]:
    spec: dict[str, object] = {"containers": [{"name": "c", "image": "busybox"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": server.name("pod")}, "spec": spec}


def test_a_pod_without_a_node_is_deleted_at_once(server: Server, client: Client) -> None:
    made = client.create(server.core("pods"), _pod(server)).ok()
    path = server.core("pods", made["metadata"]["name"])
    assert client.delete(path).ok()["kind"] == "Pod"
    assert client.get(path).code == 404


def test_a_bound_pod_waits_for_its_kubelet(server: Server, client: Client) -> None:
    made = client.create(server.core("pods"), _pod(server, "some-node")).ok()
    path = server.core("pods", made["metadata"]["name"])
    client.delete(path).ok()
    pod = client.get(path).ok()
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["metadata"]["deletionTimestamp"]
    client.delete(path, {"gracePeriodSeconds": 0}).ok()
    assert client.get(path).code == 404


def test_a_pod_is_bound_once(server: Server, client: Client) -> None:
    made = client.create(server.core("pods"), _pod(server)).ok()
    name = made["metadata"]["name"]
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
    }
    path = server.core("pods", name)
    assert client.create(f"{path}/binding", binding).code == 201
    pod = client.get(path).ok()
    assert pod["spec"]["nodeName"] == "node-1"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
    assert client.create(f"{path}/binding", binding).code == 409
    found = client.get(server.core("pods"), fieldSelector="spec.nodeName=node-1").ok()
    assert [item["metadata"]["name"] for item in found["items"]] == [name]


def test_a_pod_can_be_evicted(server: Server, client: Client) -> None:
    made = client.create(server.core("pods"), _pod(server)).ok()
    name = made["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = server.core("pods", name)
    assert client.create(f"{path}/eviction", eviction).code == 201
    assert client.get(path).code == 404
