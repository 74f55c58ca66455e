"""Single objects: create, read, replace, and the fields that the server sets."""

import copy
from collections.abc import Iterator

import pytest

from tests.contract.conftest import Server, wait_until
from tests.support.api_client import Client
from tests.support.widgets import widget_crd


def test_a_new_object_gets_uid_version_time_and_generation(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert metadata["namespace"] == server.namespace


def test_create_answers_201_and_a_second_one_409(server: Server, client: Client) -> None:
    item = server.config_map()
    assert client.create(server.core("configmaps"), item).code == 201
    again = client.create(server.core("configmaps"), item)
    assert (again.code, again.reason) == (409, "AlreadyExists")
    name = item["metadata"]["name"]  # type: ignore[index]
    assert again.json["message"] == f'configmaps "{name}" already exists'
    assert again.json["details"] == {"name": name, "kind": "configmaps"}


def test_a_missing_object_is_404_with_the_group_in_the_message(
    server: Server, client: Client
) -> None:
    answer = client.get(server.widgets("missing"))
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer.json["message"] == f'widgets.{server.group} "missing" not found'
    assert answer.json["details"] == {
        "name": "missing",
        "group": server.group,
        "kind": "widgets",
    }


def test_generate_name_makes_a_name(server: Server, client: Client) -> None:
    item = {"metadata": {"generateName": "gen-"}, "data": {}}
    name = client.create(server.core("configmaps"), item).ok()["metadata"]["name"]
    assert name.startswith("gen-")
    assert len(name) == len("gen-") + 5


def test_an_object_without_a_name_is_422(server: Server, client: Client) -> None:
    answer = client.create(server.core("configmaps"), {"metadata": {}})
    assert (answer.code, answer.reason) == (422, "Invalid")
    causes = answer.json["details"]["causes"]
    assert causes[0]["field"] == "metadata.name"
    assert causes[0]["reason"] == "FieldValueRequired"


def test_create_in_a_missing_namespace_is_404(server: Server, client: Client) -> None:
    path = f"/api/v1/namespaces/{server.run}-none/configmaps"
    answer = client.create(path, server.config_map())
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer.json["message"] == f'namespaces "{server.run}-none" not found'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"kind": "Secret"}, "Secret", id="kind"),
        pytest.param({"apiVersion": "v2"}, "v2", id="version"),
    ],
)
def test_a_body_of_another_kind_is_400(
    server: Server, client: Client, change: dict[str, str], words: str
) -> None:
    answer = client.create(server.core("configmaps"), server.config_map() | change)
    assert answer.code == 400
    assert words in answer.json["message"]


def test_another_namespace_in_the_body_is_400(server: Server, client: Client) -> None:
    item = server.config_map()
    item["metadata"]["namespace"] = "other"  # type: ignore[index]
    answer = client.create(server.core("configmaps"), item)
    assert answer.code == 400
    assert "namespace" in answer.json["message"]


def test_replace_with_the_seen_version_succeeds_once(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    changed = {**made, "data": {"k": "2"}}
    second = client.replace(path, changed).ok()
    assert int(second["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    stale = client.replace(path, {**made, "data": {"k": "3"}})
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified" in stale.json["message"]


def test_replacing_with_the_same_content_changes_no_version(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    again = client.replace(path, made).ok()
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_replacing_another_incarnation_is_409(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    path = server.core("configmaps", made["metadata"]["name"])
    other = copy.deepcopy(made)
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    answer = client.replace(path, other)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "Precondition failed: UID" in answer.json["message"]


def test_fields_of_the_server_cannot_be_overwritten(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    changed = copy.deepcopy(made)
    changed["metadata"] |= {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 77}
    changed["spec"]["size"] = "large"
    after = client.replace(server.widgets(made["metadata"]["name"]), changed).ok()
    assert after["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert after["metadata"]["generation"] == 2


def test_generation_counts_spec_changes_only(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    labelled = client.patch(path, {"metadata": {"labels": {"a": "b"}}}).ok()
    assert labelled["metadata"]["generation"] == 1
    status = client.patch(f"{path}/status", {"status": {"phase": "Busy"}}).ok()
    assert status["metadata"]["generation"] == 1
    spec = client.patch(path, {"spec": {"size": "medium"}}).ok()
    assert spec["metadata"]["generation"] == 2


def test_dry_run_writes_nothing(server: Server, client: Client) -> None:
    item = server.config_map()
    answer = client.create(server.core("configmaps"), item, dryRun="All")
    assert answer.code == 201
    name = item["metadata"]["name"]  # type: ignore[index]
    assert client.get(server.core("configmaps", name)).code == 404


def test_the_status_of_a_new_object_is_dropped(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), {**server.widget(), "status": {"phase": "X"}}).ok()
    assert "status" not in made


def test_status_and_spec_are_written_apart(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    body = {"spec": {"size": "large"}, "status": {"phase": "Busy"}}
    through_status = client.patch(f"{path}/status", body).ok()
    assert through_status["spec"]["size"] == "small"
    assert through_status["status"]["phase"] == "Busy"
    through_main = client.patch(path, {"status": {"phase": "Idle"}}).ok()
    assert through_main["status"]["phase"] == "Busy"


def test_scale_reads_and_writes_replicas(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(size="large", replicas=4)).ok()
    path = f"{server.widgets(made['metadata']['name'])}/scale"
    scale = client.get(path).ok()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"]["replicas"] == 4
    scale["spec"]["replicas"] = 7
    assert client.replace(path, scale).ok()["spec"]["replicas"] == 7
    assert client.patch(path, {"spec": {"replicas": 8}}).ok()["spec"]["replicas"] == 8
    after = client.get(server.widgets(made["metadata"]["name"])).ok()
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (8, 3)
    stale = client.replace(path, scale)
    assert stale.code == 409


@pytest.fixture
def unscaled(server: Server, client: Client) -> Iterator[str]:
    """The path of widgets whose replicas have no default."""
    group = f"unscaled.{server.group}"
    crd = widget_crd(group)
    schema = copy.deepcopy(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    spec = schema["properties"]["spec"]
    spec["properties"]["replicas"].pop("default")
    spec.pop("x-kubernetes-validations", None)
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    client.create(crds, crd).ok()
    path = f"/apis/{group}/v1/namespaces/{server.namespace}/widgets"
    wait_until(lambda: client.get(path).code == 200, "they are served")
    try:
        yield path
    finally:
        client.delete(f"{crds}/{crd['metadata']['name']}")


def test_a_scale_is_read_once_replicas_are_set_and_written_before(
    server: Server, client: Client, unscaled: str
) -> None:
    def make() -> str:
        item = {**server.widget(), "apiVersion": unscaled.removeprefix("/apis/").split("/names")[0]}
        return f"{unscaled}/{client.create(unscaled, item).ok()['metadata']['name']}/scale"

    path = make()
    unset = client.get(path)
    assert (unset.code, unset.reason) == (500, "InternalError")
    assert 'the spec replicas field ".spec.replicas" does not exist' in unset.json["message"]
    empty = client.patch(path, {"metadata": {"annotations": {"a": "b"}}})
    assert empty.code == 400
    assert 'the spec replicas field ".spec.replicas" cannot be empty' in empty.json["message"]
    assert client.patch(path, {"spec": {"replicas": 0}}).ok()["spec"].get("replicas", 0) == 0
    assert client.get(path).ok()["status"]["replicas"] == 0
    path = make()
    body = {"metadata": {"name": path.split("/")[-2]}, "spec": {"replicas": 2}}
    assert client.replace(path, body).ok()["spec"]["replicas"] == 2


def test_replicas_that_are_no_whole_number_are_refused(server: Server, client: Client) -> None:
    answer = client.create(server.widgets(), server.widget(size="large", replicas=2.0))
    assert answer.code == 422
    assert "accessor error: 2 is of the type float64" in answer.json["message"]


def test_a_yaml_body_is_accepted(server: Server, client: Client) -> None:
    name = server.name("yaml")
    body = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: {{a: b}}\n"
    answer = client.request(
        "POST", server.core("configmaps"), body.encode(), kind="application/yaml"
    )
    assert answer.code == 201, answer.raw
    assert client.get(server.core("configmaps", name)).ok()["data"] == {"a": "b"}


def test_secrets_accept_plain_strings(server: Server, client: Client) -> None:
    item = {"metadata": {"name": server.name("s")}, "stringData": {"a": "b"}}
    made = client.create(server.core("secrets"), item).ok()
    assert (made["data"], made["type"]) == ({"a": "Yg=="}, "Opaque")
    assert "stringData" not in made


def test_unknown_methods_and_resources_are_refused(server: Server, client: Client) -> None:
    assert client.request("PUT", server.widgets(), {}).code == 400
    assert client.get(f"/apis/{server.group}/v1/gadgets").code == 404
    assert client.get(f"/apis/{server.group}/v9/widgets").code == 404
