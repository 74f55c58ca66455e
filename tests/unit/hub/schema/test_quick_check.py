"""A value that the quick check accepts is valid and left as it is by the steps that it replaces."""

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.hub.crds.generate import make_crds
from scheduler.hub.schema import quick_check
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.quick_check import is_surely_valid
from scheduler.hub.schema.structural import compile_schema, drop_nulls, prune, validate

STRINGS = st.sampled_from(
    ["", "a", "ab", "abc", "a-b", "0", "2026-01-01T00:00:00Z", "2026-99-01T00:00:00Z", "木棉"]
)
NUMBERS = st.sampled_from([-1, 0, 1, 3, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 1.0, 2.5, 1e300])
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below),
    max_leaves=8,
)


def some_of(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries({}, optional=keywords)


STRING_SCHEMAS = some_of(
    minLength=st.integers(0, 3),
    maxLength=st.integers(0, 3),
    pattern=st.sampled_from(["^a", "b$", "^[a-z]+(-[a-z]+)*$"]),
    format=st.sampled_from(["date-time", "byte", "unknown"]),
    enum=st.lists(STRINGS | NUMBERS, min_size=1, max_size=3),
    nullable=st.booleans(),
).map(lambda more: {"type": "string", **more})
NUMBER_SCHEMAS = st.builds(
    lambda kind, more: {"type": kind, **more},
    st.sampled_from(["integer", "number"]),
    some_of(
        minimum=NUMBERS,
        maximum=NUMBERS,
        exclusiveMinimum=st.booleans(),
        multipleOf=st.just(2),
        format=st.sampled_from(["int32", "int64", "double"]),
        enum=st.lists(NUMBERS, min_size=1, max_size=2),
        nullable=st.booleans(),
    ),
)
OTHER_SCHEMAS = st.sampled_from(
    [
        {"type": "boolean"},
        {"x-kubernetes-int-or-string": True},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "x-kubernetes-embedded-resource": True,
        },
        {"type": "object", "additionalProperties": True},
        {"type": "object"},
        {"type": "string", "anyOf": [{"minLength": 2}, {"maxLength": 0}]},
    ]
)


def containers(below: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    lists = st.builds(
        lambda items, more: {"type": "array", "items": items, **more},
        below,
        some_of(
            minItems=st.integers(0, 2),
            maxItems=st.integers(0, 2),
            nullable=st.booleans(),
            **{"x-kubernetes-list-type": st.sampled_from(["atomic", "set"])},
        ),
    )
    maps = st.builds(
        lambda items, more: {"type": "object", "additionalProperties": items, **more},
        below,
        some_of(minProperties=st.integers(0, 2), maxProperties=st.integers(0, 2)),
    )
    objects = st.builds(
        lambda properties, more: {"type": "object", "properties": properties, **more},
        st.dictionaries(st.sampled_from("abc"), below, max_size=3),
        some_of(
            required=st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            maxProperties=st.integers(0, 2),
            nullable=st.booleans(),
            **{
                "x-kubernetes-preserve-unknown-fields": st.booleans(),
                "x-kubernetes-embedded-resource": st.booleans(),
            },
        ),
    )
    return lists | maps | objects


SCHEMAS = st.recursive(STRING_SCHEMAS | NUMBER_SCHEMAS | OTHER_SCHEMAS, containers, max_leaves=6)
BY_NAME = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["a"],
    "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
}


@given(SCHEMAS, VALUES)
@example(schema={"type": "integer"}, value=True)
@example({"type": "number"}, 2**70)
@example({"type": "string", "nullable": True}, None)
@example(BY_NAME, [{"a": "b"}, {"a": "b"}])
def test_an_accepted_value_has_no_problem_and_nothing_to_prune(
    schema: JsonObject, value: Json
) -> None:
    node = compile_schema(schema)
    if not is_surely_valid(node, value):
        return
    kept = copy.deepcopy(value)
    assert prune(node, kept) == []
    drop_nulls(node, kept)
    assert validate(node, kept) == []
    assert kept == value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "format": "int64", "minimum": 1}, 2**63 - 1),
        ({"type": "string", "format": "date-time"}, "2026-11-30T10:00:00Z"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1, "b": 2.5}),
        ({"type": "object", "properties": {"from": {"type": "string"}}}, {"from": "x"}),
        (BY_NAME, [{"a": "b"}, {"a": "c"}]),
    ],
)
def test_plain_values_are_accepted_at_once(schema: JsonObject, value: Json) -> None:
    assert is_surely_valid(compile_schema(schema), value)


def test_every_part_of_our_own_kinds_has_a_check() -> None:
    for definition in make_crds():
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in compile_schema(schema).properties.values():
            if part.properties:
                assert is_surely_valid(part, {}) or part.required


def test_a_schema_with_too_many_types_is_always_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_check, "_MAX_TYPES", 2)
    one = {"type": "object", "properties": {"a": {"type": "string"}}}
    other = {"type": "object", "properties": {"b": {"type": "string"}}}
    node = compile_schema({"type": "object", "properties": {"x": one, "y": other}})
    assert not is_surely_valid(node, {})
    assert is_surely_valid(compile_schema(one), {})
