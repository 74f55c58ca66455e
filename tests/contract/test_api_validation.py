"""Validation by schemas: defaults, pruning, errors with causes, rules."""

from typing import Any

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import Client


def test_defaults_are_filled_in_also_within_lists(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(parts=[{"name": "a"}])).ok()
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["parts"] == [{"name": "a", "count": 1}]


def test_unknown_fields_are_pruned_or_refused(server: Server, client: Client) -> None:
    item = server.widget(bogus=1, free={"any": {"thing": [1]}})
    strict = client.create(server.widgets(), item, fieldValidation="Strict")
    assert strict.code == 400
    assert 'unknown field "spec.bogus"' in strict.json["message"]
    warned = client.create(server.widgets(), item, fieldValidation="Warn")
    assert warned.code == 201
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert "bogus" not in warned.json["spec"]
    assert warned.json["spec"]["free"] == {"any": {"thing": [1]}}
    item["metadata"]["name"] += "x"  # type: ignore[index]
    ignored = client.create(server.widgets(), item, fieldValidation="Ignore")
    assert ignored.code == 201
    assert ignored.headers["Warning"] is None
    assert "bogus" not in ignored.json["spec"]


def test_unknown_fields_of_core_kinds_are_pruned_or_refused(server: Server, client: Client) -> None:
    item = server.config_map() | {"extra": 1}
    strict = client.create(server.core("configmaps"), item, fieldValidation="Strict")
    assert strict.code == 400
    assert 'unknown field "extra"' in strict.json["message"]
    assert "extra" not in client.create(server.core("configmaps"), item).ok()


def test_duplicate_fields_are_found(server: Server, client: Client) -> None:
    name = server.name("dup")
    body = b'{"metadata": {"name": "%s"}, "data": {"a": "1", "a": "2"}}' % name.encode()
    strict = client.request("POST", server.core("configmaps"), body, fieldValidation="Strict")
    assert strict.code == 400
    assert "duplicate field" in strict.json["message"]
    warned = client.request("POST", server.core("configmaps"), body)
    assert warned.code == 201
    assert "duplicate field" in warned.headers["Warning"]


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"size": "huge"}, "spec.size", "FieldValueNotSupported"),
    ({"size": None}, "spec.size", "FieldValueRequired"),
    ({"replicas": -1}, "spec.replicas", "FieldValueInvalid"),
    ({"replicas": 101}, "spec.replicas", "FieldValueInvalid"),
    ({"replicas": "many"}, "spec.replicas", "FieldValueTypeInvalid"),
    ({"replicas": 1.5}, "spec.replicas", "FieldValueTypeInvalid"),
    ({"replicas": True}, "spec.replicas", "FieldValueTypeInvalid"),
    ({"code": "ABC"}, "spec.code", "FieldValueInvalid"),
    ({"code": "abcdefghi"}, "spec.code", "FieldValueTooLong"),
    ({"names": ["x"] * 9}, "spec.names", "FieldValueTooMany"),
    ({"names": [1]}, "spec.names[0]", "FieldValueTypeInvalid"),
    ({"tags": ["a", "a"]}, "spec.tags[1]", "FieldValueDuplicate"),
    ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", "FieldValueDuplicate"),
    ({"parts": [{}]}, "spec.parts[0].name", "FieldValueRequired"),
    ({"parts": {}}, "spec.parts", "FieldValueTypeInvalid"),
    ({"port": [1]}, "spec.port", "FieldValueTypeInvalid"),
    ({"since": "yesterday"}, "spec.since", "FieldValueTypeInvalid"),
    ({"labels": {"a": 1}}, "spec.labels.a", "FieldValueTypeInvalid"),
    ({"weight": "heavy"}, "spec.weight", "FieldValueTypeInvalid"),
]


@pytest.mark.parametrize(
    ("spec", "field", "reason"), [pytest.param(*case, id=str(case[0])[:40]) for case in CASES]
)
def test_the_schema_refuses_wrong_values(
    server: Server, client: Client, spec: dict[str, Any], field: str, reason: str
) -> None:
    answer = client.create(server.widgets(), server.widget(**spec))
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.raw
    assert answer.json["details"]["kind"] == "Widget"
    causes = {cause["field"]: cause["reason"] for cause in answer.json["details"]["causes"]}
    assert causes.get(field) == reason, causes


@pytest.mark.parametrize(
    "spec",
    [
        {"port": 80},
        {"port": "http"},
        {"nothing": None},
        {"weight": 3},
        {"weight": 2.5},
        {"since": "2026-01-01T00:00:00Z"},
        {"tags": []},
        {"labels": {"a": "b"}},
    ],
    ids=str,
)
def test_the_schema_accepts_right_values(
    server: Server, client: Client, spec: dict[str, Any]
) -> None:
    assert client.create(server.widgets(), server.widget(**spec)).code == 201


def test_a_null_that_may_not_be_null_counts_as_absent(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(replicas=None, code=None)).ok()
    assert made["spec"]["replicas"] == 1
    assert "code" not in made["spec"]


def test_a_broken_rule_says_what_to_write(server: Server, client: Client) -> None:
    answer = client.create(server.widgets(), server.widget(replicas=9))
    assert (answer.code, answer.reason) == (422, "Invalid")
    (cause,) = answer.json["details"]["causes"]
    assert cause["field"] == "spec"
    assert cause["reason"] == "FieldValueInvalid"
    assert "a small widget has at most 3 replicas; write size: medium" in cause["message"]


def test_a_message_can_be_computed_and_point_to_a_field(server: Server, client: Client) -> None:
    answer = client.create(server.widgets(), server.widget(weight=2000))
    (cause,) = answer.json["details"]["causes"]
    assert cause["field"] == "spec.weight"
    assert "too heavy for a small one" in cause["message"]


def test_transition_rules_compare_with_the_old_value(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget(parts=[{"name": "a", "count": 4}])).ok()
    path = server.widgets(made["metadata"]["name"])
    assert client.patch(path, {"spec": {"parts": [{"name": "a", "count": 5}]}}).code == 200
    answer = client.patch(path, {"spec": {"parts": [{"name": "a", "count": 3}]}})
    assert answer.code == 422
    assert answer.json["details"]["causes"][0]["field"] == "spec.parts[0]"
    assert client.patch(path, {"spec": {"parts": [{"name": "b", "count": 0}]}}).code == 200


def test_an_epoch_never_falls(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    path = server.widgets(made["metadata"]["name"]) + "/status"
    client.patch(path, {"status": {"epoch": 5}}).ok()
    client.patch(path, {"status": {"epoch": 5, "phase": "Same"}}).ok()
    refused = client.patch(path, {"status": {"epoch": 4}})
    assert refused.code == 422
    assert "epoch never falls" in refused.json["message"]
    assert client.patch(path, {"status": {"epoch": None}}).code == 422
    client.patch(path, {"status": {"epoch": 6}}).ok()


def test_an_old_violation_does_not_block_other_changes(server: Server, client: Client) -> None:
    """A stricter schema does not lock old objects (ratcheting)."""
    made = client.create(server.widgets(), server.widget(size="large", replicas=50)).ok()
    after = client.patch(
        server.widgets(made["metadata"]["name"]), {"metadata": {"labels": {"a": "b"}}}
    )
    assert after.code == 200


def test_an_update_of_a_custom_resource_needs_a_version(server: Server, client: Client) -> None:
    made = client.create(server.widgets(), server.widget()).ok()
    del made["metadata"]["resourceVersion"]
    answer = client.replace(server.widgets(made["metadata"]["name"]), made)
    assert answer.code == 422
    assert "must be specified for an update" in answer.json["message"]


def test_a_wrong_type_in_a_core_kind_is_400(server: Server, client: Client) -> None:
    item = {"metadata": {"name": server.name("x")}, "data": {"a": 1}}
    answer = client.create(server.core("configmaps"), item)
    assert (answer.code, answer.reason) == (400, "BadRequest")
