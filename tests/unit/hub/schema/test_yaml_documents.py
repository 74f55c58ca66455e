"""YAML means to Kapok what it means to kubectl; what cannot be read is named by line and key."""

import json
import subprocess
from pathlib import Path

import pytest

from scheduler.hub.schema.json_types import Json
from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents
from scheduler.hub.schema.yaml_scalars import YamlScalarError, resolve_scalar
from tests.support.tools import require_tool

MEANINGS: dict[str, Json] = {
    "=": "=",
    "12:30": "12:30",
    "190:20:30": "190:20:30",
    "2001-01-01": "2001-01-01",
    "on": True,
    "No": False,
    "nO": "nO",
    "y": True,
    "~": None,
    "Null": None,
    "NULL": None,
    "0777": 511,
    "08": 8,
    "0o17": 15,
    "0x_1F": 31,
    "-0b11": -3,
    "1_000": 1000,
    "1_000.5": 1000.5,
    "1e3": 1000,
    "1.0": 1,
    "1e-7": 1e-7,
    ".5": 0.5,
    "._5": "._5",
    "1e400": "1e400",
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": float(2**63),
    "18446744073709551616": float(2**64),
    "-0x8000000000000001": "-0x8000000000000001",
    "0777777777777777777777777": 7.777777777777778e23,
    "1.2.3": "1.2.3",
    "+": "+",
    "0x": "0x",
    "inf": "inf",
    ".nanx": ".nanx",
}


def only(text: str) -> Json:
    [document] = load_documents(text)
    return document.value


@pytest.mark.parametrize(("text", "meaning"), MEANINGS.items(), ids=list(MEANINGS))
def test_a_plain_scalar_means_what_it_means_in_go(text: str, meaning: Json) -> None:
    value = resolve_scalar(text, None, is_plain=True)
    assert (value, type(value)) == (meaning, type(meaning))
    assert only(f"a: {text}") == {"a": meaning}
    assert only(f"a: '{text}'") == {"a": text}


def test_kubectl_reads_every_scalar_alike(tmp_path: Path) -> None:
    kubectl = require_tool("kubectl")
    path = tmp_path / "object.yaml"
    path.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
        "on: a\n5: b\n1.5: c\n1e3: d\n=: e\n12:30: f\nvalues:\n"
        + "".join(f"- {text}\n" for text in MEANINGS),
        encoding="utf-8",
    )
    answer = subprocess.run(
        [kubectl, "label", "--local", "-f", str(path), "a=b", "-o", "json"],
        capture_output=True,
        check=True,
    )
    # kubectl writes 2**64 as 18446744073709552000: beyond 64 bits both are floats.
    theirs = json.loads(
        answer.stdout, parse_int=lambda text: resolve_scalar(text, None, is_plain=True)
    )
    theirs["metadata"].pop("labels")
    ours = only(path.read_text(encoding="utf-8"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("!!str 12", "12"),
        ("!!float 5", 5),
        ("!!binary a2Fwb2s=", "kapok"),
        ("|-\n  on", "on"),
        ("[&x {b: 1}, *x]", [{"b": 1}, {"b": 1}]),
        ("{<<: {b: 1, c: 2}, b: 3}", {"b": 3, "c": 2}),
        ("{<<: [{b: 1}, {b: 2, c: 2}]}", {"b": 1, "c": 2}),
    ],
)
def test_tags_anchors_and_merge_keys_work_as_in_kubectl(text: str, meaning: Json) -> None:
    assert only(f"a: {text}") == {"a": meaning}


def test_several_json_values_follow_one_another() -> None:
    text = '{"a": 1.0,\t"on": "x"}\n\n{"b": 1e2}'
    assert [(one.line, one.value) for one in load_documents(text)] == [
        (1, {"a": 1, "on": "x"}),
        (3, {"b": 100}),
    ]


def test_yaml_in_braces_is_no_json_and_is_read() -> None:
    assert only("{a: on}") == {"a": True}


def test_empty_documents_are_left_out_and_lines_count_from_one() -> None:
    text = "\ufeff# nothing\n---\n---\na: 1\n---\n# only words\n---\nb: 2\n"
    assert [one.value for one in load_documents(text)] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a:\n  b: {c: 1, c: 2}", r"line 2, column 13: a\.b: key 'c' is given twice"),
        ("a:\n  true: 1\n  on: 2", r"line 3, column 3: a: key 'true' is given twice"),
        ("a:\n- ~: 1", r"line 2, column 3: a\[0\]: null is no key; write the key in quotes"),
        ("a: {? [b] : 1}", "line 1, column 7: a: a key must be text"),
        ("a: .inf", "line 1, column 4: a: json: unsupported value: .inf"),
        ("a: !!int x", "line 1, column 4: a: cannot decode 'x' as !!int"),
        ("a: !thing x", "line 1, column 4: a: the tag '!thing' is not supported"),
        ("a: !!set {b}", "line 1, column 4: a: the tag .* is not supported"),
        ("a: !!binary '*'", "line 1, column 4: a: !!binary holds no base64"),
        ("a: {<<: 5}", r"a merge key \(<<\) takes a map or a list of maps"),
        ("a: [\nb: 1", "line 3, column 1: not YAML: while parsing"),
        ("a:\n\t- b", "line 2, column 1: not YAML: while scanning"),
        ("a: " + "1" * 500, "line 1, column 4: a: a number is out of range"),
        ('{"a": 1, "a": 2}', "the JSON that starts on line 1: key 'a' is given twice"),
        ('{"a": NaN}', "the JSON that starts on line 1: NaN is no JSON value"),
        ("a: \x00", "not YAML"),
        ("[" * 250 + "]" * 250, "nested deeper than 200 levels"),
        ("a: &x [*x]", "its aliases expand to more than 5,000,000 nodes"),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_key(text: str, error: str) -> None:
    with pytest.raises(YamlDocumentError, match=error):
        list(load_documents(text))


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(YamlDocumentError, match="aliases expand to more than"):
        list(load_documents("\n".join(lines)))


def test_a_number_that_is_no_json_value_is_an_error_of_the_scalar() -> None:
    with pytest.raises(YamlScalarError, match="unsupported value"):
        resolve_scalar("-.INF", None, is_plain=True)
