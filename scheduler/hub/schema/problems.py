"""Problems of fields, worded as by the API server.

Sources: the cause types of Kubernetes' Status; the wording of errors follows kube-apiserver 1.36.
"""

import json
from dataclasses import dataclass

from scheduler.hub.schema.json_types import Json


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One problem of one field."""

    reason: str
    """A `CauseType` of Kubernetes, such as `FieldValueInvalid`."""
    field: str
    """The path of the field, such as `spec.sites[0].name`."""
    message: str

    @property
    def full_message(self) -> str:
        """Path and message, joined as the API server does."""
        return f"{self.field}: {self.message}"


_INT64 = 2**63
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "integer": (int,),
    "number": (int, float),
}


def has_type(value: Json, expected: str) -> bool:
    """Whether a JSON value has an OpenAPI type; true is not a number, 3.0 is an integer."""
    if isinstance(value, bool):
        return expected == "boolean"
    if expected == "integer" and isinstance(value, float):
        return value.is_integer() and abs(value) < _INT64
    return isinstance(value, _PYTHON_TYPES.get(expected, (object,)))


def json_type_of(value: Json) -> str:
    """The OpenAPI type of a JSON value."""
    if value is None:
        return "null"
    for name in ("boolean", "string", "object", "array", "integer", "number"):
        if has_type(value, name):
            return name
    return "unknown"


def quote_value(value: Json) -> str:
    """A value as the API server prints it in messages."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def invalid_value(path: str, value: Json, why: str) -> FieldProblem:
    """An `Invalid value` problem: the value has the right type but is not allowed."""
    return FieldProblem("FieldValueInvalid", path, f"Invalid value: {quote_value(value)}: {why}")


def required_value(path: str, why: str = "") -> FieldProblem:
    """A `Required value` problem: the field is missing."""
    return FieldProblem(
        "FieldValueRequired", path, f"Required value: {why}" if why else "Required value"
    )


def wrong_type(path: str, expected: str, found: str) -> FieldProblem:
    """A `must be of type` problem: the value has the wrong type."""
    where = path or "<root>"
    return FieldProblem(
        "FieldValueTypeInvalid",
        where,
        f'Invalid value: "{found}": {where} in body must be of type {expected}: "{found}"',
    )
