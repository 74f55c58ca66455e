"""Bounds on the values of bodies, and YAML that is written in parts."""

import json

import pytest
import yaml

from scheduler.apiserver.base.bodies import decode_body
from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.base.value_bounds import (
    MAX_BODY_VALUES,
    MAX_DEPTH,
    MAX_KEY_LENGTH,
    is_surely_within_bounds,
)
from scheduler.hub.schema.yaml_writer import dump_yaml

JSON, YAML = "application/json", "application/yaml"


def refusal(data: bytes, kind: str) -> tuple[int, str]:
    with pytest.raises(ApiError) as refused:
        decode_body(data, kind)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize("kind", [JSON, YAML])
def test_too_many_values_are_413_and_as_many_as_allowed_pass(kind: str) -> None:
    most = b"[" + b",".join([b"1"] * (MAX_BODY_VALUES - 2)) + b"]"
    assert len(decode_body(most, JSON).value) == MAX_BODY_VALUES - 2
    code, message = refusal(b'{"a":[' + b",".join([b"[]"] * MAX_BODY_VALUES) + b"]}", kind)
    assert code == 413
    assert "values" in message


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    text = ',[{"\\' * MAX_BODY_VALUES
    assert decode_body(json.dumps({"a": text}).encode(), JSON).value == {"a": text}


@pytest.mark.parametrize("kind", [JSON, YAML])
def test_a_key_may_be_as_long_as_the_bound(kind: str) -> None:
    def body(length: int) -> bytes:
        key = "k" * length
        return (f'{{"{key}": 1}}' if kind == JSON else f"? {key}\n: 1\n").encode()

    assert len(next(iter(decode_body(body(MAX_KEY_LENGTH), kind).value))) == MAX_KEY_LENGTH
    code, message = refusal(body(MAX_KEY_LENGTH + 1), kind)
    assert code == 400
    assert "longer than" in message


@pytest.mark.parametrize("kind", [JSON, YAML])
def test_nesting_is_bounded(kind: str) -> None:
    code, message = refusal(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), kind)
    assert code == 400
    assert "nested" in message


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 20 + "1" + "}" * 20,
        json.dumps([{"name": ']]}} [[{{ \\ " [', "value": "}" * 50}] * 100),
        json.dumps({f"key-{number}": {"list": [{}, [], "\\"]} for number in range(500)}),
    ],
)
def test_a_text_shows_that_a_value_is_within_the_bounds(text: str) -> None:
    assert is_surely_within_bounds(text.encode())
    assert decode_body(text.encode(), JSON).value == json.loads(text)


@pytest.mark.parametrize("opened", ['["]",', '[{"a":"}]"},', '["\\\\]",', '["\\"]",', "[[],{},"])
def test_brackets_in_strings_hide_no_nesting(opened: str) -> None:
    nested = opened * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1)
    assert json.loads(nested)
    assert not is_surely_within_bounds(nested.encode())
    assert "nested" in refusal(nested.encode(), JSON)[1]


def test_a_long_key_is_found_among_many_short_ones() -> None:
    text = json.dumps({**{f"key-{n}": [n] for n in range(500)}, "k" * (MAX_KEY_LENGTH + 1): 1})
    assert not is_surely_within_bounds(text.encode())
    assert "longer than" in refusal(text.encode(), JSON)[1]


def test_integers_beyond_int64_are_floats_and_digits_in_strings_stay() -> None:
    digits = "0" * 25 + "1"
    text = json.dumps({"text": digits, digits: "\\" + digits, "number": 2**63, "small": 2**62})
    assert decode_body(text.encode(), JSON).value == {**json.loads(text), "number": float(2**63)}
    assert isinstance(decode_body(text.encode(), JSON).value["number"], float)
    assert isinstance(decode_body(text.encode(), JSON).value["small"], int)


def test_paths_of_repeated_keys_are_the_same_in_json_and_yaml() -> None:
    expected = ("a[1].b", "c")
    assert decode_body(b'{"a":[{},{"b":1,"b":2}],"c":1,"c":2}', JSON).duplicate_fields == expected
    text = b"a:\n- {}\n- b: 1\n  b: 2\nc: 1\nc: 2\n"
    assert decode_body(text, YAML).duplicate_fields == expected


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": {f"k{n}": n for n in range(5_000)}, "b": {"é\n: - 0": "x\n y: 1\n"}},
        {"a": [{"b": [str(n) for n in range(3_000)]}, [list(range(3_000)), "x: 0"], {}]},
        {"a 0": {"k" * 200: {f"k{n}": ["a" * 100, {}] for n in range(2_500)}}, "": [None]},
        {str(n): {"a": True} for n in range(2_500)},
    ],
)
def test_yaml_that_is_written_in_parts_reads_as_the_same_value(value: object) -> None:
    assert yaml.safe_load(dump_yaml(value)) == value


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a":1,"b":{"a":2}}', ()),
        (b'{ "a" : 1, "b" : [ "a", "a" ] }', ()),
        (b'{"a":"\\"a\\":","b":1}', ()),
        (b'{"a":1,"a":1}', ("a",)),
        (b'{"a":1, "b":{"c":2,"c":3}}', ("b.c",)),
        (b'{"a":1,"\\u0061":2}', ("a",)),
        (b'{"a":"\\u0022\\u0022","a":"\\u0022\\u0022"}', ("a",)),
    ],
)
def test_keys_that_occur_twice_are_found_however_the_text_is_written(
    data: bytes, found: tuple[str, ...]
) -> None:
    assert decode_body(data, JSON).duplicate_fields == found


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_integers_beyond_int64_become_floats(number: int) -> None:
    value = decode_body(b'{"a":%d,"b":1}' % number, JSON).value
    assert value == {"a": float(number), "b": 1}
    assert isinstance(value["a"], float)
    assert decode_body(b'{"a":%d}' % (2**63 - 1), JSON).value == {"a": 2**63 - 1}
