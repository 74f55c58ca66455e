"""The estimated cost of rules, compared with what kube-apiserver 1.36 accepts and refuses."""

import pytest

from scheduler.hub.schema.cel_cost import RULE_COST_BUDGET, UndefinedField, estimate_rule_cost
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.structural import compile_schema


def _cost(rule: str, **properties: JsonObject) -> float:
    return estimate_rule_cost(rule, compile_schema({"type": "object", "properties": properties}))


NUMBER: JsonObject = {"type": "integer"}
TEXT: JsonObject = {"type": "string"}
SHORT: JsonObject = {"type": "string", "maxLength": 64}
MANY: JsonObject = {"type": "array", "items": TEXT}
FEW: JsonObject = {"type": "array", "items": SHORT, "maxItems": 10}
MAP: JsonObject = {"type": "object", "additionalProperties": SHORT}


@pytest.mark.parametrize(
    ("rule", "schema", "is_cheap"),
    [
        ("self.x >= 0", NUMBER, True),
        ("self.x == 'a'", TEXT, True),
        ("self.x.startsWith('abc')", TEXT, True),
        ("self.x.matches('^[a-z]+$')", SHORT, True),
        ("self.x.contains(self.x)", TEXT, False),
        ("self.x.all(i, i.matches('^[a-z]+$'))", MANY, False),
        ("self.x.all(i, i.matches('^[a-z]+$'))", FEW, True),
        ("self.x.all(i, self.x.exists_one(j, i == j))", FEW, True),
        ("self.x.all(i, self.x.exists_one(j, i == j))", MANY, False),
        ("self.x.all(k, self.x[k] == k)", MAP, True),
    ],
)
def test_unbounded_work_is_over_the_budget(rule: str, schema: JsonObject, is_cheap: bool) -> None:  # noqa: FBT001 - a table
    assert (_cost(rule, x=schema) <= RULE_COST_BUDGET) == is_cheap


def test_a_whole_object_may_be_compared() -> None:
    """Immutable objects of CRDs that real servers accept, as `clusterManager` of ClusterProfile."""
    node = compile_schema({"type": "object", "properties": {"name": TEXT, "more": MANY}})
    assert estimate_rule_cost("self == oldSelf", node) < 10


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(UndefinedField, match="undefined field 'nope'"):
        _cost("self.nope == 1", x=NUMBER)


def test_escaped_names_are_known() -> None:
    schema = {"type": "object", "properties": {"a-b": NUMBER, "namespace": SHORT}}
    assert estimate_rule_cost("self.a__dash__b > 0", compile_schema(schema)) < 10
    assert estimate_rule_cost("self.__namespace__ != ''", compile_schema(schema)) < 10


def test_at_the_root_an_object_has_a_name() -> None:
    node = compile_schema({"type": "object", "properties": {"spec": {"type": "object"}}})
    assert estimate_rule_cost("self.metadata.name.size() < 20", node, is_root=True) < 100
    metadata = {"type": "object", "properties": {"metadata": {"type": "object"}}}
    named = compile_schema(metadata)
    assert estimate_rule_cost("self.metadata.name != 'a'", named, is_root=True) < 100
    for rule, is_root in (
        ("self.metadata.labels != 'a'", True),
        ("self.metadata.name != 'a'", False),
    ):
        with pytest.raises(UndefinedField):
            estimate_rule_cost(rule, named, is_root=is_root)
