"""The syntax tree of a compiled CEL rule, decoded from the evaluator's serialised form.

The evaluator does not expose its tree in Python, but serialises it as the public protobuf message
`cel.expr.CheckedExpr`, with macros such as `all` expanded into comprehensions. This module decodes
the few fields that the cost estimate needs. Source: cel-spec, proto/cel/expr/syntax.proto.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from scheduler.hub.schema.cel import compile_rule
from scheduler.hub.schema.protobuf_wire import iter_wire_fields


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `size` is the length of a string or of bytes, and 1 for anything else."""

    size: int


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)`."""

    operand: "Expression"
    field: str
    tests_presence: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function, an operator (`_&&_`) or a method (with a target)."""

    function: str
    target: "Expression | None"
    arguments: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class CreateList:
    """A list literal."""

    elements: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class CreateStruct:
    """A map literal; keys and values alternate."""

    keys_and_values: tuple["Expression", ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Comprehension:
    """The expansion of a macro over a list or a map, such as `all` or `exists`."""

    variable: str
    iter_range: "Expression"
    accumulator: str
    accu_init: "Expression"
    condition: "Expression"
    step: "Expression"
    result: "Expression"


Expression: TypeAlias = Constant | Ident | Select | Call | CreateList | CreateStruct | Comprehension


def parse_syntax(rule: str) -> Expression:
    """The syntax tree of a rule.

    Raises:
        RuntimeError: the rule does not compile.
    """
    # Field 2 of the evaluator's wrapper holds CheckedExpr, whose field 4 is the expression.
    wrapped = dict(iter_wire_fields(compile_rule(rule).serialize()))
    checked = dict(iter_wire_fields(_as_bytes(wrapped[2])))
    return _read_expression(_as_bytes(checked[4]))


def _as_bytes(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else b""


def _as_text(value: int | bytes) -> str:
    return _as_bytes(value).decode()


def _read_expression(data: bytes) -> Expression:
    for number, value in iter_wire_fields(data):
        maker = _READERS_BY_NUMBER.get(number)
        if maker is not None:
            return maker(_as_bytes(value))
    return Constant(1)


def _read_constant(data: bytes) -> Expression:
    for number, value in iter_wire_fields(data):
        if number in {6, 7}:  # string_value, bytes_value
            return Constant(len(_as_text(value)))
    return Constant(1)


def _read_ident(data: bytes) -> Expression:
    return Ident(
        next((_as_text(value) for number, value in iter_wire_fields(data) if number == 1), "")
    )


def _read_select(data: bytes) -> Expression:
    found = dict(iter_wire_fields(data))
    return Select(_read_expression(_as_bytes(found[1])), _as_text(found[2]), bool(found.get(3)))


def _read_call(data: bytes) -> Expression:
    target: Expression | None = None
    function = ""
    arguments = []
    for number, value in iter_wire_fields(data):
        if number == 1:
            target = _read_expression(_as_bytes(value))
        elif number == 2:  # noqa: PLR2004 - Call.function
            function = _as_text(value)
        else:
            arguments.append(_read_expression(_as_bytes(value)))
    return Call(function, target, tuple(arguments))


def _read_list(data: bytes) -> Expression:
    return CreateList(
        tuple(_read_expression(_as_bytes(v)) for number, v in iter_wire_fields(data) if number == 1)
    )


def _read_struct(data: bytes) -> Expression:
    parts = []
    for number, entry in iter_wire_fields(data):
        if number == 2:  # noqa: PLR2004 - CreateStruct.entries
            parts += [
                _read_expression(_as_bytes(v))
                for n, v in iter_wire_fields(_as_bytes(entry))
                if n in {3, 4}
            ]
    return CreateStruct(tuple(parts))


def _read_comprehension(data: bytes) -> Expression:
    found = dict(iter_wire_fields(data))
    return Comprehension(
        _as_text(found[1]),
        _read_expression(_as_bytes(found[2])),
        _as_text(found[3]),
        *(_read_expression(_as_bytes(found[number])) for number in (4, 5, 6, 7)),
    )


_READERS_BY_NUMBER = {
    3: _read_constant,
    4: _read_ident,
    5: _read_select,
    6: _read_call,
    7: _read_list,
    8: _read_struct,
    9: _read_comprehension,
}
