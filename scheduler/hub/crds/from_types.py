"""Structural schemas from msgspec types: OpenAPI v3 with the extensions of Kubernetes.

A real API server refuses CEL rules whose estimated cost is too high, and it estimates the cost from
the maximum size of each list, map and string. The generator therefore refuses types without a
maximum and names their path. An optional field may be absent, but never null.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec
import msgspec.inspect as mi

from scheduler.hub.crds.descriptions import FIELD_DESCRIPTIONS
from scheduler.hub.crds.validation_rules import (
    ITEM_RULES,
    LIST_TYPES,
    QUANTITY_PATTERN,
    STRUCT_RULES,
)

Schema = dict[str, Any]

_MAX_INSTANT_LENGTH = 64
_QUANTITY_MARK = "x-kubernetes-int-or-string"
_EMBEDDED_MARK = "x-kubernetes-embedded-resource"
_FREE_MARK = "x-kubernetes-preserve-unknown-fields"


class UnboundedError(ValueError):
    """A list, map or string has no maximum size; the message has its path.

    `msgspec.Meta` on the type sets the maximum.
    """


def schema_of(struct: type[msgspec.Struct], path: str, *, defaults: bool) -> Schema:
    """The schema of one Struct.

    Args:
        struct: the type.
        path: the path of the Struct in the object, for messages.
        defaults: whether to include defaults (a spec has them, a status does not).

    Raises:
        UnboundedError: a list, map or string below has no maximum size.
    """
    info = mi.type_info(struct)
    if not isinstance(info, mi.StructType):
        raise TypeError(f"{path}: {struct} is not a Struct")
    schema: Schema = {"description": description_of(struct), "type": "object"}
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        schema["required"] = required
    schema["properties"] = {
        field.encode_name: field_schema_of(
            struct, field, f"{path}.{field.encode_name}", defaults=defaults
        )
        for field in info.fields
    }
    return schema | STRUCT_RULES.get(struct.__name__, {})


def field_schema_of(
    struct: type[msgspec.Struct], field: mi.Field, path: str, *, defaults: bool
) -> Schema:
    """The schema of one field of a Struct, with its rules, description and default."""
    schema = _type_schema(field.type, path, defaults=defaults)
    place = _field_key(struct, field)
    schema |= LIST_TYPES.get(place, {})
    if place in ITEM_RULES:
        schema["items"] |= ITEM_RULES[place]
    text = FIELD_DESCRIPTIONS.get(place)
    if text:
        schema = {"description": text} | {k: v for k, v in schema.items() if k != "description"}
    if defaults and _is_written_default(field.default):
        schema["default"] = field.default
    return schema


def _field_key(struct: type[msgspec.Struct], field: mi.Field) -> tuple[str, str]:
    """The key of a field in the tables: the Struct that declares it, not one that inherits it."""
    owners = [base for base in struct.__mro__ if field.name in inspect.get_annotations(base)]
    return owners[0].__name__, field.encode_name


def _is_written_default(default: object) -> bool:
    """Whether a default goes into the schema; empty strings and collections equal absent ones."""
    return isinstance(default, bool | int | float) or (isinstance(default, str) and default != "")


def _type_schema(kind: mi.Type, path: str, *, defaults: bool) -> Schema:
    """The schema of a type, by its msgspec category."""
    match kind:
        case mi.Metadata():
            schema = _annotated_schema(kind, path, defaults=defaults)
        case mi.UnionType():
            schema = _union_schema(kind, path, defaults=defaults)
        case mi.StructType(cls=cls):
            schema = schema_of(cls, path, defaults=defaults)
        case mi.VarTupleType() | mi.ListType():
            schema = _list_schema(kind, path)
        case mi.DictType():
            schema = _map_schema(kind, path, defaults=defaults)
        case _:
            schema = _scalar_schema(kind, path)
    return schema


def _annotated_schema(kind: mi.Metadata, path: str, *, defaults: bool) -> Schema:
    extra = dict(kind.extra_json_schema or {})
    if extra.get(_EMBEDDED_MARK):
        return {"type": "object", **extra}
    if extra.get(_QUANTITY_MARK):
        return _quantity_schema(extra)
    if isinstance(kind.type, mi.AnyType) and extra.get(_FREE_MARK):
        return extra
    inner = kind.type
    if "maxItems" in extra and isinstance(inner, mi.VarTupleType) and inner.max_length is None:
        inner = mi.VarTupleType(inner.item_type, inner.min_length, extra["maxItems"])
    schema = _type_schema(inner, path, defaults=defaults)
    return {key: extra[key] for key in extra if key == "description"} | schema | extra


def _quantity_schema(extra: Mapping[str, Any]) -> Schema:
    return {
        **extra,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 64,
        "pattern": QUANTITY_PATTERN,
    }


def _union_schema(kind: mi.UnionType, path: str, *, defaults: bool) -> Schema:
    members = [member for member in kind.types if not isinstance(member, mi.NoneType)]
    if all(isinstance(member, mi.LiteralType) for member in members):
        values = [value for member in members for value in _literal_values(member)]
        return _enum_schema(values)
    if len(members) != 1:
        raise TypeError(f"{path}: a union of {len(members)} types has no structural schema")
    return _type_schema(members[0], path, defaults=defaults)


def _list_schema(kind: mi.VarTupleType | mi.ListType, path: str) -> Schema:
    if kind.max_length is None:
        raise UnboundedError(f"{path}: a list without a maximum")
    schema: Schema = {"type": "array", "maxItems": kind.max_length}
    if kind.min_length:
        schema["minItems"] = kind.min_length
    schema["x-kubernetes-list-type"] = "atomic"
    # Without defaults: clients compare whole lists, so an item that the server completes would
    # differ from its manifest for ever. The types have the same defaults.
    schema["items"] = _type_schema(kind.item_type, f"{path}[]", defaults=False)
    return schema


def _map_schema(kind: mi.DictType, path: str, *, defaults: bool) -> Schema:
    if kind.max_length is None:
        raise UnboundedError(f"{path}: a map without a maximum")
    values = _type_schema(kind.value_type, f"{path}.*", defaults=defaults)
    return {
        "type": "object",
        "maxProperties": kind.max_length,
        "x-kubernetes-map-type": "granular",
        "additionalProperties": values,
    }


def _scalar_schema(kind: mi.Type, path: str) -> Schema:
    match kind:
        case mi.StrType():
            return _string_schema(kind, path)
        case mi.LiteralType():
            return _enum_schema(_literal_values(kind))
        case mi.BoolType():
            return {"type": "boolean"}
        case mi.IntType():
            return {"type": "integer", "format": "int64"} | _bounds_schema(kind)
        case mi.FloatType():
            return {"type": "number"} | _bounds_schema(kind)
        case mi.DateTimeType():
            return {"type": "string", "format": "date-time", "maxLength": _MAX_INSTANT_LENGTH}
        case _:
            raise TypeError(f"{path}: {kind} has no structural schema")


def _string_schema(kind: mi.StrType, path: str) -> Schema:
    if kind.max_length is None:
        raise UnboundedError(f"{path}: a string without a maximum")
    schema: Schema = {"type": "string", "maxLength": kind.max_length}
    if kind.min_length:
        schema["minLength"] = kind.min_length
    if kind.pattern:
        schema["pattern"] = kind.pattern
    return schema


def _literal_values(kind: mi.Type) -> list[str]:
    return [str(value) for value in kind.values] if isinstance(kind, mi.LiteralType) else []


def _enum_schema(values: list[str]) -> Schema:
    return {"type": "string", "maxLength": max(map(len, values)), "enum": values}


def _bounds_schema(kind: mi.IntType | mi.FloatType) -> Schema:
    """The bounds of a number; OpenAPI 3.0 marks an exclusive bound with a flag beside it."""
    schema: Schema = {}
    for bound, name, flag in (
        (kind.ge, "minimum", None),
        (kind.gt, "minimum", "exclusiveMinimum"),
        (kind.le, "maximum", None),
        (kind.lt, "maximum", "exclusiveMaximum"),
    ):
        if bound is not None:
            schema[name] = bound
            if flag:
                schema[flag] = True
    return schema


def description_of(struct: type[msgspec.Struct]) -> str:
    """The description of a Struct: the first paragraph of its docstring."""
    return " ".join((struct.__doc__ or "").strip().split("\n\n")[0].split())
