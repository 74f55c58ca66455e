"""Lists: selectors, pages, versions, Tables."""

import gzip
import json

import pytest
import yaml

from tests.contract.conftest import Server
from tests.support.api_client import Answer, Client


@pytest.fixture(scope="module")
def labelled(server: Server) -> str:
    """Twelve config maps with labels; their common label value."""
    mark = server.name("mark")
    for index in range(12):
        item = server.config_map(f"l{index:02d}")
        item["metadata"]["labels"] = {  # type: ignore[index]
            "mark": mark,
            "index": str(index),
            "parity": "even" if index % 2 == 0 else "odd",
            **({"third": "yes"} if index % 3 == 0 else {}),
        }
        server.client.create(server.core("configmaps"), item).ok()
    return mark


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        pytest.param("", 12, id="all"),
        pytest.param("parity=even", 6, id="equal"),
        pytest.param("parity==even", 6, id="double equal"),
        pytest.param("parity!=even", 6, id="not equal"),
        pytest.param("third", 4, id="exists"),
        pytest.param("!third", 8, id="absent"),
        pytest.param("index in (1,2,3)", 3, id="in"),
        pytest.param("index notin (1,2,3)", 9, id="not in"),
        pytest.param("index>9", 2, id="greater"),
        pytest.param("index<2", 2, id="less"),
        pytest.param("parity=even,third", 2, id="both"),
    ],
)
def test_label_selectors_select_objects(
    server: Server, client: Client, labelled: str, selector: str, count: int
) -> None:
    full = f"mark={labelled}" + (f",{selector}" if selector else "")
    found = client.get(server.core("configmaps"), labelSelector=full).ok()
    assert len(found["items"]) == count
    assert found["kind"] == "ConfigMapList"
    assert found["metadata"]["resourceVersion"].isdigit()


@pytest.mark.parametrize("selector", ["a=b=c", "in (a)", "a in b", "=x", "a in (b", "x/y/z=1"])
def test_a_selector_that_does_not_parse_is_400(
    server: Server, client: Client, selector: str
) -> None:
    answer = client.get(server.core("configmaps"), labelSelector=selector)
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_field_selectors_select_objects(server: Server, client: Client, labelled: str) -> None:
    items = client.get(server.core("configmaps"), labelSelector=f"mark={labelled}").ok()["items"]
    name = items[3]["metadata"]["name"]
    found = client.get(server.core("configmaps"), fieldSelector=f"metadata.name={name}").ok()
    assert [item["metadata"]["name"] for item in found["items"]] == [name]
    everywhere = client.get(
        "/api/v1/configmaps",
        fieldSelector=f"metadata.namespace={server.namespace}",
        labelSelector=f"mark={labelled}",
    ).ok()
    assert len(everywhere["items"]) == 12
    refused = client.get(server.core("configmaps"), fieldSelector="data.k=v")
    assert refused.code == 400


def test_custom_resources_have_selectable_fields(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(size="large")).ok()["metadata"]["name"]
    client.create(server.widgets(), server.widget(size="small")).ok()
    found = client.get(server.widgets(), fieldSelector="spec.size=large").ok()
    names = [item["metadata"]["name"] for item in found["items"]]
    assert made in names
    assert all(item["spec"]["size"] == "large" for item in found["items"])


def test_pages_hold_every_object_once(server: Server, client: Client, labelled: str) -> None:
    names: list[str] = []
    token = ""
    for page in range(10):
        query = {"limit": 5, "labelSelector": f"mark={labelled}"}
        found = client.get(
            server.core("configmaps"), **query, **({"continue": token} if token else {})
        ).ok()
        names += [item["metadata"]["name"] for item in found["items"]]
        token = found["metadata"].get("continue", "")
        if not token:
            assert page == 2
            break
    assert len(names) == len(set(names)) == 12
    assert names == sorted(names)


def test_further_pages_show_the_list_as_it_was(server: Server, client: Client) -> None:
    mark = server.name("snap")
    names = []
    for index in range(6):
        item = server.config_map(f"p{index}")
        item["metadata"]["labels"] = {"mark": mark}  # type: ignore[index]
        names.append(client.create(server.core("configmaps"), item).ok()["metadata"]["name"])
    first = client.get(server.core("configmaps"), limit=2, labelSelector=f"mark={mark}").ok()
    client.delete(server.core("configmaps", names[4])).ok()
    late = server.config_map("p9")
    late["metadata"]["labels"] = {"mark": mark}  # type: ignore[index]
    client.create(server.core("configmaps"), late).ok()
    rest = client.get(
        server.core("configmaps"),
        labelSelector=f"mark={mark}",
        **{"continue": first["metadata"]["continue"]},
    ).ok()
    shown = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
    assert shown == names
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_garbled_continue_token_is_400(server: Server, client: Client) -> None:
    answer = client.get(server.core("configmaps"), limit=1, **{"continue": "garbage!"})
    assert answer.code == 400


def test_resource_version_that_is_no_number_is_refused(server: Server, client: Client) -> None:
    answer = client.get(server.core("configmaps"), resourceVersion="abc")
    assert answer.code in {400, 422}
    future = client.get(server.core("configmaps"), resourceVersion="99999999999")
    assert future.code == 504
    assert future.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_exact_versions_show_the_past(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    name, version = made["metadata"]["name"], made["metadata"]["resourceVersion"]
    client.patch(server.widgets(name), {"spec": {"size": "large"}}).ok()
    found = client.get(server.widgets(), resourceVersion=version, resourceVersionMatch="Exact").ok()
    assert found["metadata"]["resourceVersion"] == version
    (then,) = [item for item in found["items"] if item["metadata"]["name"] == name]
    assert then["spec"]["size"] == "small"


def test_a_table_shows_the_printer_columns(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(weight=2.5)).ok()
    name = made["metadata"]["name"]
    client.patch(
        f"{server.widgets(name)}/status",
        {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
    ).ok()
    table = client.request(
        "GET",
        server.widgets(),
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"},
    ).ok()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns == ["Name", "Size", "Ready", "Weight", "Age"]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 1, 0]
    (row,) = [row for row in table["rows"] if row["cells"][0] == name]
    assert row["cells"][1:4] == ["small", "True", 2.5]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == name


def test_metadata_alone_can_be_asked_for(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    one = client.request(
        "GET", server.widgets(made["metadata"]["name"]), headers={"Accept": accept}
    ).ok()
    assert one["kind"] == "PartialObjectMetadata"
    assert "spec" not in one
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    many = client.request("GET", server.widgets(), headers={"Accept": accept}).ok()
    assert many["kind"] == "PartialObjectMetadataList"
    assert all("spec" not in item for item in many["items"])


@pytest.mark.parametrize("words", ["g=meta.k8s.io;v=1", "g=meta.k8s.io", "v=v1", "g=x;v=v1"])
@pytest.mark.parametrize("kind", ["PartialObjectMetadataList", "Table"])
def test_a_form_of_another_version_or_group_is_not_acceptable(
    server: Server, client: Client, kind: str, words: str
) -> None:
    asked = f"application/json;as={kind};{words}"
    for path in (server.widgets(), server.core("configmaps")):
        refused = client.request("GET", path, headers={"Accept": asked})
        assert (refused.code, refused.reason) == (406, "NotAcceptable")
        plain = client.request("GET", path, headers={"Accept": f"{asked}, application/json"})
        assert plain.ok()["kind"] in ("WidgetList", "ConfigMapList")


def test_metadata_are_asked_for_as_what_they_are(server: Server, client: Client) -> None:
    made = client.create(server.core("configmaps"), server.config_map(k="x")).ok()
    one, many = server.core("configmaps", made["metadata"]["name"]), server.core("configmaps")
    for path, kind in ((one, "PartialObjectMetadataList"), (many, "PartialObjectMetadata")):
        asked = f"application/json;as={kind};g=meta.k8s.io;v=v1"
        refused = client.request("GET", path, headers={"Accept": asked})
        assert (refused.code, refused.reason) == (406, "NotAcceptable")
        assert f"you requested {kind}, but the requested object is" in refused.json["message"]


def test_long_answers_are_compressed_on_request(server: Server, client: Client) -> None:
    for _ in range(4):
        client.create(server.core("configmaps"), server.config_map(k="x" * 50_000)).ok()
    answer = client.request("GET", server.core("configmaps"), headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.raw[:2] == b"\x1f\x8b"


def test_a_large_list_is_whole_in_every_representation(server: Server, client: Client) -> None:
    stem, text = server.name("large"), "x" * 12_000
    names = sorted(f"{stem}-{number}" for number in range(30))
    for name in names:
        item = {"metadata": {"name": name, "labels": {"of": stem}}, "data": {"k": text}}
        client.create(server.core("configmaps"), item).ok()
    path, query = server.core("configmaps"), {"labelSelector": f"of={stem}"}

    def listed(accept: str, **headers: str) -> Answer:
        sent = {"Accept": accept, **headers}
        return client.request("GET", f"{path}?labelSelector=of%3D{stem}", headers=sent)

    plain = listed("application/json")
    items = plain.ok()["items"]
    assert [item["metadata"]["name"] for item in items] == names
    assert {item["data"]["k"] for item in items} == {text}
    zipped = listed("application/json", **{"Accept-Encoding": "gzip"})
    assert json.loads(gzip.decompress(zipped.raw))["items"] == items
    table = listed("application/json;as=Table;v=v1;g=meta.k8s.io").ok()
    assert [row["object"]["metadata"]["name"] for row in table["rows"]] == names
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    metadata = listed("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").ok()
    assert metadata["kind"] == "PartialObjectMetadataList"
    assert [item["metadata"]["name"] for item in metadata["items"]] == names
    as_yaml = yaml.safe_load(listed("application/yaml").raw)
    assert (as_yaml["apiVersion"], as_yaml["kind"]) == ("v1", "ConfigMapList")
    assert [item["metadata"]["name"] for item in as_yaml["items"]] == names
    deleted = client.delete(path, **query)
    assert deleted.code == 200
    assert [item["metadata"]["name"] for item in deleted.json.get("items", items)] == names
    assert listed("application/json").ok()["items"] == []
