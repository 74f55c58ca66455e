"""Rules see the fields that they name, and the whole value when they may read any of it."""

import pytest

from scheduler.hub.schema import cel
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.structural import compile_schema

OBJECT: JsonObject = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "namespace": {"type": "string"},
        "status": {"type": "object", "properties": {"epoch": {"type": "integer"}}},
    },
}


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("self.status.epoch >= oldSelf.status.epoch", {"status"}),
        ("has(self.status) && has(self . spec.size)", {"status", "spec"}),
        ("self.__namespace__ == 'a'", {"__namespace__"}),
        ("self == oldSelf || self.spec.size > 1", None),
        ("self.matches('a')", None),
        ("self.all(key, key != 'x')", None),
        ("self['spec'].size > 1", None),
        ("[1].all(self, self > 0)", None),
        ("self.self.size > 1", None),
    ],
)
def test_the_fields_that_a_rule_reads_are_known_or_all_of_them_count(
    rule: str, names: set[str] | None
) -> None:
    assert cel.fields_read(rule, "") == (None if names is None else frozenset(names))


def problems(rule: str, new: JsonObject, old: JsonObject, **more: str) -> list[str]:
    node = compile_schema({**OBJECT, "x-kubernetes-validations": [{"rule": rule, **more}]})
    return [one.message for one in cel.rule_problems(node, new, old)]


OLD: JsonObject = {"spec": {"size": 1}, "status": {"epoch": 4}, "namespace": "a"}


def test_rules_about_one_part_hold_or_fail_whatever_changes_beside_it() -> None:
    never_falls = "self.status.epoch >= oldSelf.status.epoch"
    for epoch, expected in ((4, 0), (5, 0), (3, 1)):
        new = {**OLD, "spec": {"size": epoch}, "status": {"epoch": epoch}}
        assert len(problems(never_falls, new, OLD)) == expected
    assert problems("self.__namespace__ == oldSelf.__namespace__", {**OLD, "namespace": "b"}, OLD)
    assert not problems("self.__namespace__ == oldSelf.__namespace__", {**OLD, "spec": {}}, OLD)
    assert problems("self == oldSelf", {**OLD, "spec": {"size": 2}}, OLD)


def test_a_message_may_read_other_fields_than_its_rule() -> None:
    found = problems(
        "self.status.epoch >= oldSelf.status.epoch",
        {**OLD, "status": {"epoch": 1}},
        OLD,
        messageExpression="'the size is ' + string(self.spec.size)",
    )
    assert found == ["Invalid value: the size is 1"]


def test_a_broken_value_of_before_is_reported_when_another_field_changes() -> None:
    broken: JsonObject = {"spec": {"size": 9}, "namespace": "a"}
    assert problems("self.spec.size < 5", {**broken, "namespace": "b"}, broken)
    assert not problems("self.spec.size < 5", broken, broken)
