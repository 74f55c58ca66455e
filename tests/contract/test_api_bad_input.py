"""Bad input: the server responds with a Status, writes nothing, and keeps running."""

import json

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import JSON_PATCH, MERGE, Client


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"", "application/json", id="empty"),
        pytest.param(b"{", "application/json", id="truncated"),
        pytest.param(b"\x00\xff\xfe", "application/json", id="bytes"),
        pytest.param(b"[]", "application/json", id="list"),
        pytest.param(b"42", "application/json", id="number"),
        pytest.param(b'"text"', "application/json", id="string"),
        pytest.param(b"null", "application/json", id="null"),
        pytest.param(b"{]}", "application/yaml", id="no YAML"),
        pytest.param(b"a: &a [x]\nb: *a\n", "application/yaml", id="YAML that is no object"),
        pytest.param(b"[" * 100_000, "application/json", id="deep"),
        pytest.param(b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "application/json", id="deep map"),
    ],
)
def test_a_body_that_is_no_object_is_400(
    server: Server, client: Client, body: bytes, kind: str
) -> None:
    answer = client.request("POST", server.core("configmaps"), body, kind=kind)
    assert answer.code in {400, 413, 422}, answer.raw[:300]
    assert answer.json["kind"] == "Status"
    assert answer.json["status"] == "Failure"


def test_an_unknown_body_type_is_415(server: Server, client: Client) -> None:
    body = json.dumps(server.config_map()).encode()
    answer = client.request("POST", server.core("configmaps"), body, kind="text/html")
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")


def test_yaml_bombs_do_no_harm(server: Server, client: Client) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    body = "\n".join(["kind: ConfigMap", "apiVersion: v1", "metadata: {name: bomb}", *lines])
    answer = client.request(
        "POST", server.core("configmaps"), body.encode(), kind="application/yaml"
    )
    assert answer.code in {400, 413, 422}


def test_bodies_above_the_limit_are_413(server: Server, client: Client) -> None:
    item = server.config_map(k="x" * (3 * 1024 * 1024 + 10))
    answer = client.create(server.core("configmaps"), item)
    assert (answer.code, answer.reason) == (413, "RequestEntityTooLarge")


def test_two_megabytes_are_refused_by_name(server: Server, client: Client) -> None:
    item = server.widget(free={"k": "x" * 2_000_000})
    answer = client.create(server.widgets(), item)
    assert answer.code in {413, 500}
    assert "too large" in answer.json["message"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Upper",
            "under_score",
            "-start",
            "end-",
            "a..b",
            ".a",
            "a.",
            "sp ace",
            "ü",
            "a/b",
            "a%b",
        ),
        *("x" * 254, "", "a\nb", "*"),
    ],
    ids=lambda name: repr(name[:12]),
)
def test_wrong_names_are_422(server: Server, client: Client, name: str) -> None:
    item = server.config_map()
    item["metadata"] = {"name": name}
    answer = client.create(server.core("configmaps"), item)
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert answer.json["details"]["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize(
    "labels",
    [
        {"k" * 64: "v"},
        {"k": "v" * 64},
        {"a/b/c": "v"},
        {"/k": "v"},
        {"k": "-v"},
        {"k": "ü"},
        {"": "v"},
        {"x" * 254 + "/k": "v"},
    ],
    ids=lambda labels: str(labels)[:20],
)
def test_wrong_labels_are_422(server: Server, client: Client, labels: dict[str, str]) -> None:
    item = server.config_map()
    item["metadata"]["labels"] = labels  # type: ignore[index]
    answer = client.create(server.core("configmaps"), item)
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert answer.json["details"]["causes"][0]["field"] == "metadata.labels"


def test_annotations_have_a_limit(server: Server, client: Client) -> None:
    item = server.config_map()
    item["metadata"]["annotations"] = {"a": "x" * 262_145}  # type: ignore[index]
    answer = client.create(server.core("configmaps"), item)
    assert answer.code == 422
    assert answer.json["details"]["causes"][0]["reason"] == "FieldValueTooLong"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "many"}, 400),
        ({"dryRun": "Some"}, 422),
        ({"fieldValidation": "Maybe"}, 422),
        ({"fieldManager": "x" * 129}, 422),
    ],
    ids=str,
)
def test_wrong_options_are_refused(
    server: Server, client: Client, query: dict[str, str], code: int
) -> None:
    if "limit" in query:
        answer = client.get(server.core("configmaps"), **query)
    else:
        answer = client.create(server.core("configmaps"), server.config_map(), **query)
    assert answer.code == code, answer.raw
    assert answer.json["kind"] == "Status"


def test_owner_references_are_checked(server: Server, client: Client) -> None:
    item = server.config_map()
    item["metadata"]["ownerReferences"] = [{"kind": "ConfigMap"}]  # type: ignore[index]
    answer = client.create(server.core("configmaps"), item)
    assert answer.code == 422
    fields = {cause["field"] for cause in answer.json["details"]["causes"]}
    assert "metadata.ownerReferences.uid" in fields


def test_a_long_json_patch_is_refused(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map()).ok()
    operations = [{"op": "add", "path": "/data/k", "value": "v"}] * 10_001
    path = server.core("configmaps", made["metadata"]["name"])
    answer = client.patch(path, operations, JSON_PATCH)
    assert answer.code == 413


def test_a_merge_patch_that_breaks_the_object_changes_nothing(
    server: Server, client: Client
) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"])
    patches: list[dict[str, object]] = [
        {"spec": []},
        {"spec": "x"},
        {"metadata": []},
        {"kind": "X"},
    ]
    for patch in patches:
        answer = client.patch(path, patch, MERGE)
        assert answer.code in {400, 422, 500}, (patch, answer.raw)
        assert answer.json["kind"] == "Status"
    assert client.get(path).ok() == made


def test_unknown_paths_are_404(server: Server, client: Client) -> None:
    for path in ("/apis/apps/v1/namespaces/x", "/api/v1/nothing", "/apis/none", "/nothing"):
        assert client.get(path).code == 404, path
    assert client.get(f"{server.core('configmaps')}/a/b/c").code in {404, 405}


def test_the_server_keeps_running_after_bad_input(client: Client) -> None:
    assert client.get("/readyz").code == 200
