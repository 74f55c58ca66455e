"""Says of most values at once that they are valid: their schema as a type of msgspec.

To walk a value in Python takes a microsecond or more for each field and step. A type that msgspec
checks in one call takes a tenth of that for all steps together. A yes is certain: nothing is
pruned, no null is dropped, and `validate` finds no problem. Any other value is walked, which also
finds the words for what is wrong with it.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from scheduler.hub.schema.json_types import Json
from scheduler.hub.schema.structural import (
    SchemaNode,
    duplicate_problems,
    validate,
)

_MAX_NODES = 500
"""The most nodes of a schema that has a check."""
_MAX_TYPES = 100
"""The most types of one check; to make one takes about 0.1 ms. Larger schemas have no check."""
_INT64 = 2**63
_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
_NATIVE = {
    "string": {"minLength", "maxLength", "enum"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "array": {"minItems", "maxItems"},
    "object": {"minProperties", "maxProperties"},
}
"""The checks of values that the types of msgspec have too, by type of the schema."""
_CHECKS = frozenset().union(*_NATIVE.values()) | {"multipleOf", "format", "pattern"}
_INTEGER_FORMATS = ("int32", "int64")


class _TooLarge(Exception):
    """The schema needs more types than a check may have."""


class _Single:
    """A type for single values that `validate` checks; maps, lists and null do not have it."""

    __slots__ = ()
    node: SchemaNode


def is_surely_valid(node: SchemaNode, value: Json) -> bool:
    """Whether a value is valid and would be left as it is; False: it may be so all the same."""
    if node.quick_check is None:
        node.quick_check = _compile(node)
    return node.quick_check(value)


def _compile(node: SchemaNode) -> Callable[[Json], bool]:
    maker = _TypeMaker()
    try:
        form = maker.type_of(node)
    except (_TooLarge, TypeError, ValueError, RecursionError):
        return _never

    def check(value: Json) -> bool:
        try:
            msgspec.convert(value, form, dec_hook=_check_single)
        except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
            return False
        return not _has_duplicates(node, value)

    return check


def _never(_value: Json) -> bool:
    return False


def _check_single(form: type[_Single], value: Json) -> _Single:
    if value is None or isinstance(value, dict | list) or validate(form.node, value):
        raise ValueError
    return form()  # msgspec expects a value of the type


class _TypeMaker:
    """Makes the types of one check."""

    def __init__(self) -> None:
        self._count = self._node_count = 0
        self._known: dict[bytes, Any] = {}

    def type_of(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        """The type of the values that surely pass."""
        self._node_count += 1
        if node.is_core or self._node_count > _MAX_NODES:  # core kinds are cyclic
            raise _TooLarge
        key = msgspec.json.encode(node.schema)
        if key not in self._known:
            made = self._make(node)
            self._known[key] = made | None if node.nullable else made
        return self._known[key]

    def _make(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        schema, kind = node.schema, node.type or ""
        native, asked = _NATIVE.get(kind, set()), _CHECKS & schema.keys()
        if kind == "integer" and schema.get("format") in _INTEGER_FORMATS:
            asked -= {"format"}
        is_strange = node.int_or_string or any(schema.get(word) for word in _JUNCTORS)
        if kind not in _NATIVE or is_strange or asked - native:
            return self._single(node)
        return getattr(self, f"_make_{kind}")(node)

    def _count_type(self) -> None:
        self._count += 1
        if self._count > _MAX_TYPES:
            raise _TooLarge

    def _single(self, node: SchemaNode) -> type[_Single]:
        self._count_type()
        return type("Single", (_Single,), {"node": node, "__slots__": ()})

    def _make_string(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        schema = node.schema
        if "enum" in schema:
            accepted = tuple(
                one for one in schema["enum"] if isinstance(one, str) and not validate(node, one)
            )
            return Literal[accepted] if accepted else self._single(node)
        if not {"minLength", "maxLength"} & schema.keys():
            return str
        return Annotated[
            str,
            msgspec.Meta(
                min_length=_length(schema.get("minLength")),
                max_length=_length(schema.get("maxLength")),
            ),
        ]

    def _make_integer(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        low, high = node.schema.get("minimum", -_INT64), node.schema.get("maximum", _INT64 - 1)
        is_plain = isinstance(low, int) and isinstance(high, int)
        edge = 2**31 if node.schema.get("format") == "int32" else _INT64
        if not is_plain or _has_open_bounds(node):
            return self._single(node)
        return Annotated[int, msgspec.Meta(ge=max(low, -edge), le=min(high, edge - 1))]

    def _make_number(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        if _has_open_bounds(node):
            return self._single(node)
        low, high = node.schema.get("minimum"), node.schema.get("maximum")
        return (
            float
            if low is None and high is None
            else Annotated[float, msgspec.Meta(ge=low, le=high)]
        )

    def _make_boolean(self, _node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        return bool

    def _make_array(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        of = Any if node.items is None else self.type_of(node.items)
        limits = msgspec.Meta(
            min_length=_length(node.schema.get("minItems")),
            max_length=_length(node.schema.get("maxItems")),
        )
        return Annotated[list[of], limits]  # type: ignore[valid-type] # made here

    def _make_object(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        if node.properties or node.is_embedded:
            return self._make_struct(node)
        if node.required or not (
            node.additional_properties or node.allows_any_value or node.preserves_unknown
        ):
            return self._single(node)
        of = Any if node.additional_properties is None else self.type_of(node.additional_properties)
        limits = msgspec.Meta(
            min_length=_length(node.schema.get("minProperties")),
            max_length=_length(node.schema.get("maxProperties")),
        )
        return Annotated[dict[str, of], limits]  # type: ignore[valid-type] # made here

    def _make_struct(self, node: SchemaNode) -> Any:  # noqa: ANN401 - any type
        schema, known = node.schema, dict(node.properties)
        is_open = node.additional_properties is not None or node.allows_any_value
        counts = {"minProperties", "maxProperties"} & schema.keys()
        if is_open or counts or set(node.required) - known.keys():
            return self._single(node)
        fields: dict[str, Any] = {name: self.type_of(child) for name, child in known.items()}
        required = set(node.required)
        if node.is_embedded:
            if not node.preserves_unknown or {"apiVersion", "kind"} & known.keys():
                return self._single(node)
            text = Annotated[str, msgspec.Meta(min_length=1)]
            fields |= {"apiVersion": text, "kind": text}
            required |= {"apiVersion", "kind"}
        self._count_type()
        order = sorted(fields, key=lambda name: name not in required)
        return msgspec.defstruct(
            "Object",
            [
                (f"f{number}", fields[name])
                if name in required
                else (f"f{number}", fields[name] | msgspec.UnsetType, msgspec.UNSET)
                for number, name in enumerate(order)
            ],
            rename={f"f{number}": name for number, name in enumerate(order)},
            forbid_unknown_fields=not node.preserves_unknown,
            gc=False,
        )


def _length(limit: Any) -> int | None:  # noqa: ANN401 - any JSON number
    return limit if limit is None else max(0, limit)


def _has_open_bounds(node: SchemaNode) -> bool:
    return bool(node.schema.get("exclusiveMinimum") or node.schema.get("exclusiveMaximum"))


def _has_duplicates(node: SchemaNode | None, value: Json) -> bool:
    """Whether a list of type set or map has an item twice, in a value of the right types."""
    if node is None or not node.has_keyed_lists:
        return False
    if isinstance(value, dict):
        return any(_has_duplicates(node.child(key), item) for key, item in value.items())
    return isinstance(value, list) and (
        bool(duplicate_problems(node, value, ""))
        or any(_has_duplicates(node.items, item) for item in value)
    )
