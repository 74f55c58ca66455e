"""CustomResourceDefinitions: the resources they define, and the definitions that are refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Server, wait_until
from tests.support.api_client import Client
from tests.support.widgets import widget_crd

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _crd(server: Server, plural: str = "gadgets") -> dict[str, Any]:
    crd = widget_crd(server.group)
    crd["metadata"]["name"] = f"{plural}.{server.group}"
    crd["spec"]["names"] |= {
        "plural": plural,
        "singular": plural[:-1],
        "kind": plural[:-1].capitalize(),
        "listKind": f"{plural[:-1].capitalize()}List",
    }
    return copy.deepcopy(crd)


def _schema(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_a_definition_is_established_and_served(server: Server, client: Client) -> None:
    crd = _crd(server, "sprockets")
    name = crd["metadata"]["name"]
    client.create(CRDS, crd).ok()
    try:

        def conditions() -> dict[str, str]:
            status = client.get(f"{CRDS}/{name}").ok().get("status") or {}
            return {one["type"]: one["status"] for one in status.get("conditions") or ()}

        wait_until(lambda: conditions().get("Established") == "True", "it is established")
        assert conditions()["NamesAccepted"] == "True"
        path = f"/apis/{server.group}/v1/namespaces/{server.namespace}/sprockets"
        wait_until(lambda: client.get(path).code == 200, "it is served")
        found = client.get(f"/apis/{server.group}/v1").ok()["resources"]
        names = {one["name"] for one in found}
        assert {"sprockets", "sprockets/status", "sprockets/scale"} <= names
        item = {
            "apiVersion": f"{server.group}/v1",
            "kind": "Sprocket",
            "metadata": {"name": "one"},
            "spec": {"size": "small"},
        }
        wait_until(lambda: client.create(path, item).code in {201, 409}, "one can be made")
    finally:
        client.delete(f"{CRDS}/{name}")
    if server.embedded:  # on a real server a controller has to empty it first
        wait_until(lambda: client.get(f"{CRDS}/{name}").code == 404, "it is gone")
        assert client.get(path).code == 404


def test_patterns_are_those_of_go_and_take_no_long_time(server: Server, client: Client) -> None:
    crd = _crd(server, "springs")
    name = crd["metadata"]["name"]
    spec = _schema(crd)["properties"]["spec"]["properties"]
    spec |= {"code": {"type": "string", "pattern": "(?=a)b"}}
    refused = client.create(CRDS, crd)
    assert refused.code == 422
    assert "must be a valid regular expression, but isn't" in refused.json["message"]
    spec |= {"code": {"type": "string", "pattern": "^(a+)+$"}}
    client.create(CRDS, crd).ok()
    try:
        path = f"/apis/{server.group}/v1/namespaces/{server.namespace}/springs"
        item: dict[str, Any] = {
            "apiVersion": f"{server.group}/v1",
            "kind": "Spring",
            "metadata": {"name": "one"},
            "spec": {"size": "small", "code": "a" * 5_000},
        }
        wait_until(lambda: client.create(path, item).code in {201, 409}, "one can be made")
        item["metadata"]["name"] = "two"
        item["spec"]["code"] += "!"
        refused = client.create(path, item)  # a backtracking matcher would never answer
        assert refused.code == 422
        assert "should match '^(a+)+$'" in refused.json["message"]
    finally:
        client.delete(f"{CRDS}/{name}")


def test_a_second_version_shows_the_same_objects(server: Server, client: Client) -> None:
    crd = _crd(server, "levers")
    second = copy.deepcopy(crd["spec"]["versions"][0]) | {
        "name": "v2",
        "storage": False,
        "deprecated": True,
        "deprecationWarning": "v2 was a mistake",
    }
    crd["spec"]["versions"].append(second)
    client.create(CRDS, crd).ok()
    try:
        base = f"/apis/{server.group}/{{}}/namespaces/{server.namespace}/levers"
        wait_until(lambda: client.get(base.format("v2")).code == 200, "v2 is served")
        item = {
            "apiVersion": f"{server.group}/v1",
            "kind": "Lever",
            "metadata": {"name": "one"},
            "spec": {"size": "small"},
        }
        wait_until(lambda: client.create(base.format("v1"), item).code in {201, 409}, "one is made")
        shown = client.get(base.format("v2") + "/one")
        assert shown.ok()["apiVersion"] == f"{server.group}/v2"
        assert shown.headers["Warning"] == '299 - "v2 was a mistake"'
        client.patch(base.format("v2") + "/one", {"spec": {"size": "large"}}).ok()
        first = client.get(base.format("v1") + "/one").ok()
        assert (first["apiVersion"], first["spec"]["size"]) == (f"{server.group}/v1", "large")
    finally:
        client.delete(f"{CRDS}/{crd['metadata']['name']}")


def _unbounded_list(crd: dict[str, Any]) -> None:
    spec = _schema(crd)["properties"]["spec"]
    spec["properties"]["many"] = {"type": "array", "items": {"type": "string"}}
    rule = "!has(self.many) || self.many.all(x, x.matches('^[a-z]+$'))"
    spec["x-kubernetes-validations"] = [{"rule": rule, "message": "no"}]


def _unbounded_map(crd: dict[str, Any]) -> None:
    spec = _schema(crd)["properties"]["spec"]
    spec["properties"]["many"] = {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}},
    }
    rule = "!has(self.many) || self.many.all(k, self.many[k].a.matches('^[a-z]+$'))"
    spec["x-kubernetes-validations"] = [{"rule": rule, "message": "no"}]


def _unbounded_string(crd: dict[str, Any]) -> None:
    spec = _schema(crd)["properties"]["spec"]
    spec["properties"]["text"] = {"type": "string"}
    rule = "!has(self.text) || self.text.contains(self.text)"
    spec["x-kubernetes-validations"] = [{"rule": rule, "message": "no"}]


Change = Callable[[dict[str, Any]], None]


def _rule(text: str) -> Change:
    def change(crd: dict[str, Any]) -> None:
        spec = _schema(crd)["properties"]["spec"]
        spec["x-kubernetes-validations"] = [{"rule": text, "message": "no"}]

    return change


def _schema_change(**more: object) -> Change:
    def change(crd: dict[str, Any]) -> None:
        _schema(crd)["properties"]["spec"]["properties"]["x"] = more

    return change


def _no_storage(crd: dict[str, Any]) -> None:
    crd["spec"]["versions"][0]["storage"] = False


def _other_name(crd: dict[str, Any]) -> None:
    crd["metadata"]["name"] = "other." + crd["spec"]["group"]


def _set_transition(crd: dict[str, Any]) -> None:
    tags = _schema(crd)["properties"]["spec"]["properties"]["tags"]
    tags["items"]["x-kubernetes-validations"] = [{"rule": "self == oldSelf", "message": "no"}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_unbounded_list, "estimated rule cost exceeds budget", id="list"),
        pytest.param(_unbounded_map, "estimated rule cost exceeds budget", id="map"),
        pytest.param(_unbounded_string, "estimated rule cost exceeds budget", id="string"),
        pytest.param(_rule("self.nope == 1"), "undefined field 'nope'", id="unknown field"),
        pytest.param(_rule("self.size ==="), "compilation failed", id="syntax"),
        pytest.param(_rule(" "), "rule is not specified", id="no rule"),
        pytest.param(_set_transition, "uncorrelatable", id="oldSelf in a set"),
        pytest.param(_schema_change(description="x"), "must not be empty", id="no type"),
        pytest.param(_schema_change(type="array"), "must be specified", id="no items"),
        pytest.param(
            _schema_change(type="array", items={"type": "string"}, uniqueItems=True),
            "uniqueItems",
            id="unique items",
        ),
        pytest.param(
            _schema_change(
                type="object",
                properties={"a": {"type": "string"}},
                additionalProperties={"type": "string"},
            ),
            "mutual",
            id="properties and additional ones",
        ),
        pytest.param(
            _schema_change(type="integer", default="one"), "must be of type", id="wrong default"
        ),
        pytest.param(_no_storage, "exactly one version", id="no storage version"),
        pytest.param(_other_name, 'spec.names.plural+"."+spec.group', id="name"),
    ],
)
def test_a_wrong_definition_is_refused(
    server: Server, client: Client, change: Change, words: str
) -> None:
    crd = _crd(server)
    change(crd)
    answer = client.create(CRDS, crd, dryRun="All")
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw[:600]
    assert words in answer.json["message"]


def test_a_definition_can_be_applied_again_and_grow(server: Server, client: Client) -> None:
    crd = _crd(server, "cranks")
    name = crd["metadata"]["name"]
    path = f"{CRDS}/{name}"
    try:
        client.apply(path, crd, "tests").ok()
        wait_until(
            lambda: client.get(f"/apis/{server.group}/v1/cranks").code == 200, "it is served"
        )
        _schema(crd)["properties"]["spec"]["properties"]["extra"] = {"type": "string"}
        grown = client.apply(path, crd, "tests").ok()
        assert grown["metadata"]["generation"] == 2

        def keeps_extra() -> bool:
            item = {
                "apiVersion": f"{server.group}/v1",
                "kind": "Crank",
                "metadata": {"name": server.name("c")},
                "spec": {"size": "small", "extra": "yes"},
            }
            made = client.create(
                f"/apis/{server.group}/v1/namespaces/{server.namespace}/cranks", item
            )
            return made.code == 201 and made.json["spec"].get("extra") == "yes"

        wait_until(keeps_extra, "the new field is known")
    finally:
        client.delete(path)
