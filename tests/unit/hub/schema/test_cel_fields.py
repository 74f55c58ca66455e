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


STATUS: cel.ReadPaths = {"status": {"epoch": None}}
PRESENCE: cel.ReadPaths = {"status": {}, "spec": {"size": {}}}


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        ("self.status.epoch >= oldSelf.status.epoch", STATUS),
        ("has(self.status) && has(self.status.epoch) && self.status.epoch > 1", STATUS),
        ("has(self.status) && has( self . spec.size )", PRESENCE),
        ("has(self.status) && self.status == oldSelf.status", {"status": None}),
        ("self.status.epoch > 1 && size(self.status) > 1", {"status": None}),
        ("self.namespace.startsWith('a')", {"namespace": None}),
        ("self.spec.list[0].size > 1", {"spec": {"list": None}}),
        ("selfish.size > self.size", {"size": None}),
        ("self.__namespace__ == 'a'", {"__namespace__": None}),
        ("self == oldSelf || self.spec.size > 1", None),
        ("self.matches('a')", None),
        ("self.all(key, key != 'x')", None),
        ("self['spec'].size > 1", None),
        ("[1].all(self, self > 0)", None),
        ("self.self.size > 1", {"self": {"size": None}}),
    ],
)
def test_the_paths_that_a_rule_reads_are_known_or_all_of_the_value_counts(
    rule: str, paths: cel.ReadPaths | None
) -> None:
    assert cel.paths_read(rule, "") == paths


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


def test_a_rule_that_held_for_one_schema_is_evaluated_for_another() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.size / 2 * 2 != self.size"}]}
    number, whole = (
        compile_schema({"type": "object", "properties": {"size": {"type": kind}}, **rule})
        for kind in ("number", "integer")
    )
    for _ in range(2):
        assert not cel.rule_problems(whole, {"size": 3})
        assert cel.rule_problems(number, {"size": 3})


def test_a_rule_that_held_is_evaluated_when_what_it_reads_changes() -> None:
    node = compile_schema(
        {
            **OBJECT,
            "x-kubernetes-validations": [{"rule": "!has(self.status) || self.spec.size > 1"}],
        }
    )
    for size, status, expected in ((2, True, 0), (1, False, 0), (1, True, 1), (2, True, 0)):
        value: JsonObject = {"spec": {"size": size}, **({"status": {}} if status else {})}
        assert len(cel.rule_problems(node, value)) == expected


def test_a_message_alone_may_name_the_old_value() -> None:
    found = problems(
        "self.spec.size < 5",
        {**OLD, "spec": {"size": 9}},
        OLD,
        messageExpression="'it was ' + string(oldSelf.spec.size)",
    )
    assert found == ["Invalid value: it was 1"]
