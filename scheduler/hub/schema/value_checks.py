"""The checks of single values that a schema defines: bounds, patterns, formats, junctors.

Junctors are allOf, anyOf, oneOf and not. Each keyword is compiled once into a function.
Source: "Validation" of the Kubernetes documentation of CustomResourceDefinitions; OpenAPI v3.
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.patterns import Pattern, PatternError
from scheduler.hub.schema.problems import FieldProblem, invalid_value, json_type_of, quote_value

ValueCheck = Callable[[Json, str], list[FieldProblem]]
"""Returns the problems of a value, given the value and its path."""
CompileCheck = Callable[[JsonObject], ValueCheck]
"""Compiles the schema of a junctor branch into a check that returns all problems."""


def compile_value_checks(
    schema: JsonObject, compile_branch: CompileCheck
) -> tuple[ValueCheck, ...]:
    """Compiles the value checks of a schema node."""
    made = [
        make(schema[keyword], schema)
        for keyword, make in _CHECK_MAKERS.items()
        if keyword in schema
    ]
    plain = [check for check in made if check is not None]
    return (*plain, *_make_junctor_checks(schema, compile_branch))


def _make_bound_check(
    sign: int, keyword: str, words: str
) -> Callable[[Any, JsonObject], ValueCheck]:
    def make(limit: Any, schema: JsonObject) -> ValueCheck:  # noqa: ANN401 - any JSON number
        exclusive = bool(schema.get(f"exclusive{keyword.capitalize()}"))
        text = f"{words} {'' if exclusive else 'or equal to '}{limit}"

        def check(value: Json, path: str) -> list[FieldProblem]:
            if not isinstance(value, int | float):
                return []
            over = sign * (value - limit)
            if over < 0 or (over == 0 and not exclusive):
                return []
            return [invalid_value(path, value, f"{path} in body should be {text}")]

        return check

    return make


def _make_max_length_check(limit: int, _schema: JsonObject) -> ValueCheck:
    def check(value: Json, path: str) -> list[FieldProblem]:
        if not isinstance(value, str) or len(value) <= limit:
            return []
        return [
            FieldProblem("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")
        ]

    return check


def _make_min_length_check(limit: int, _schema: JsonObject) -> ValueCheck:
    def check(value: Json, path: str) -> list[FieldProblem]:
        if not isinstance(value, str) or len(value) >= limit:
            return []
        why = f"{path} in body should be at least {limit} chars long"
        return [invalid_value(path, value, why)]

    return check


def _make_max_size_check(kind: type, noun: str) -> Callable[[Any, JsonObject], ValueCheck]:
    def make(limit: Any, _schema: JsonObject) -> ValueCheck:  # noqa: ANN401 - any JSON number
        def check(value: Json, path: str) -> list[FieldProblem]:
            if not isinstance(value, kind) or len(value) <= limit:  # type: ignore[arg-type]
                return []
            found = len(value)  # type: ignore[arg-type]
            return [
                FieldProblem(
                    "FieldValueTooMany",
                    path,
                    f"Too many: {found}: must have at most {limit} {noun}",
                )
            ]

        return check

    return make


def _make_min_size_check(kind: type, noun: str) -> Callable[[Any, JsonObject], ValueCheck]:
    def make(limit: Any, _schema: JsonObject) -> ValueCheck:  # noqa: ANN401 - any JSON number
        def check(value: Json, path: str) -> list[FieldProblem]:
            if not isinstance(value, kind) or len(value) >= limit:  # type: ignore[arg-type]
                return []
            found = len(value)  # type: ignore[arg-type]
            why = f"{path} in body should have at least {limit} {noun}"
            return [invalid_value(path, found, why)]

        return check

    return make


def has_slow_pattern(schema: JsonObject) -> bool:
    """Whether values of a schema may take so long that they are not checked on the event loop."""
    if "pattern" in schema and _pattern_of(schema["pattern"], schema).is_slow:
        return True
    branches = [schema.get("not"), *(one for word in _BRANCHES for one in schema.get(word) or ())]
    return any(_has_slow_pattern_below(branch) for branch in branches)


_BRANCHES = ("allOf", "anyOf", "oneOf")


def _has_slow_pattern_below(branch: Json) -> bool:
    """The same for a branch of a junctor and all schemas below it."""
    if not isinstance(branch, dict):
        return False
    below = [*(branch.get("properties") or {}).values()]
    below += [branch.get("items"), branch.get("additionalProperties")]
    return has_slow_pattern(branch) or any(map(_has_slow_pattern_below, below))


def _pattern_of(text: str, schema: JsonObject) -> Pattern:
    limit = schema.get("maxLength")
    return Pattern(text) if limit is None else Pattern(text, max_length=limit)


def _make_pattern_check(pattern: str, schema: JsonObject) -> ValueCheck:
    compiled = _pattern_of(pattern, schema)

    def check(value: Json, path: str) -> list[FieldProblem]:
        if not isinstance(value, str):
            return []
        why = f"{path} in body should match '{pattern}'"
        try:
            if compiled.matches(value):
                return []
        except PatternError as error:
            why += f", which this server does not try: {error}"
        return [invalid_value(path, value, why)]

    return check


def _make_enum_check(allowed: list[Json], _schema: JsonObject) -> ValueCheck:
    shown = ", ".join(quote_value(value) for value in allowed)

    def check(value: Json, path: str) -> list[FieldProblem]:
        if value in allowed:
            return []
        return [
            FieldProblem(
                "FieldValueNotSupported",
                path,
                f"Unsupported value: {quote_value(value)}: supported values: {shown}",
            )
        ]

    return check


def _make_multiple_of_check(step: Any, _schema: JsonObject) -> ValueCheck:  # noqa: ANN401 - any JSON number
    def check(value: Json, path: str) -> list[FieldProblem]:
        if not isinstance(value, int | float) or value % step == 0:
            return []
        return [invalid_value(path, value, f"{path} in body should be a multiple of {step}")]

    return check


_MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
_FORMATS: dict[str, re.Pattern[str]] = {
    "date-time": re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"),
    "date": re.compile(r"^\d{4}-\d\d-\d\d$"),
    "uuid": re.compile(r"(?i)^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$"),
    "byte": re.compile(r"^([A-Za-z0-9+/\s]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
    "micro-time": _MICRO_TIME,
    "quantity": re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?$"),
}
_MAX_QUANTITY_LENGTH = 64
_MAX_QUANTITY_EXPONENT = 127
"""The exponent of a quantity is an int8, as in apimachinery."""
_QUANTITY_EXPONENT = re.compile(r"[eE]([+-]?\d+)$")
_INT32 = 2**31
_INT64 = 2**63


def _make_format_check(name: str, schema: JsonObject) -> ValueCheck | None:
    if name in {"int32", "int64"} and schema.get("type") == "integer":
        edge = _INT32 if name == "int32" else _INT64

        def in_range(value: Json, path: str) -> list[FieldProblem]:
            if isinstance(value, int | float) and not -edge <= value < edge:
                return [invalid_value(path, value, f"{path} in body must be of type {name}")]
            return []

        return in_range
    pattern = _FORMATS.get(name)
    if pattern is None:
        return None
    is_in_range: Callable[[str], bool] = _RANGES.get(name, _has_no_range)

    def check(value: Json, path: str) -> list[FieldProblem]:
        if not isinstance(value, str) or (pattern.match(value) and is_in_range(value)):
            return []
        why = (
            f'Invalid value: {quote_value(value)}: {path} in body must be of type {name}: "{value}"'
        )
        return [FieldProblem("FieldValueTypeInvalid", path, why)]

    return check


def is_quantity_in_range(text: str) -> bool:
    """Whether a quantity has a length and an exponent that can be computed with."""
    exponent = _QUANTITY_EXPONENT.search(text)
    return len(text) <= _MAX_QUANTITY_LENGTH and (
        exponent is None or abs(int(exponent[1])) <= _MAX_QUANTITY_EXPONENT
    )


def parse_instant(text: str) -> dt.datetime | None:
    """An RFC 3339 instant or date in UTC; None if there is no such instant in the years 1-9999."""
    try:
        moment = dt.datetime.fromisoformat(text.upper().replace(" ", "T"))
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _has_no_range(_text: str) -> bool:
    return True


_RANGES: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: parse_instant(text) is not None,
    "micro-time": lambda text: parse_instant(text) is not None,
    "date": lambda text: parse_instant(text) is not None,
    "quantity": is_quantity_in_range,
}
"""What the pattern of a format cannot express."""


def _make_junctor_checks(schema: JsonObject, compile_branch: CompileCheck) -> list[ValueCheck]:
    """Compiles the checks of allOf, anyOf, oneOf and not."""
    made: list[ValueCheck] = [
        compile_branch(part) for part in schema.get("allOf") or () if "$ref" not in part
    ]
    for keyword, (words, fits) in _JUNCTORS.items():
        parts = schema.get(keyword)
        if parts:
            one = [compile_branch(part) for part in (parts if isinstance(parts, list) else [parts])]
            made.append(_make_junctor_check(one, words, fits))
    return made


def _make_junctor_check(
    parts: list[ValueCheck], words: str, is_valid_count: Callable[[int], bool]
) -> ValueCheck:
    def check(value: Json, path: str) -> list[FieldProblem]:
        if is_valid_count(sum(not part(value, path) for part in parts)):
            return []
        shown = value if not isinstance(value, dict | list) else json_type_of(value)
        where = path or "<root>"
        return [invalid_value(where, shown, f"{where} in body must {words}")]

    return check


_JUNCTORS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "anyOf": ("validate at least one schema (anyOf)", lambda valid: valid > 0),
    "oneOf": ("validate one and only one schema (oneOf)", lambda valid: valid == 1),
    "not": ("not validate the schema (not)", lambda valid: valid == 0),
}
_CHECK_MAKERS: dict[str, Callable[[Any, JsonObject], ValueCheck | None]] = {
    "enum": _make_enum_check,
    "maximum": _make_bound_check(1, "maximum", "less than"),
    "minimum": _make_bound_check(-1, "minimum", "greater than"),
    "multipleOf": _make_multiple_of_check,
    "maxLength": _make_max_length_check,
    "minLength": _make_min_length_check,
    "pattern": _make_pattern_check,
    "format": _make_format_check,
    "maxItems": _make_max_size_check(list, "items"),
    "minItems": _make_min_size_check(list, "items"),
    "maxProperties": _make_max_size_check(dict, "items"),
    "minProperties": _make_min_size_check(dict, "properties"),
}
