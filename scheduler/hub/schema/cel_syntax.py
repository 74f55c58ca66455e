"""The syntax tree of a compiled CEL rule, read from the evaluator's serialised form.

The evaluator has no Python view of its tree; its serialisation is the public protobuf message
`cel.expr.CheckedExpr` (macros such as `all` already expanded into comprehensions), of which the few
fields that a cost estimate needs are read here. Source: cel-spec, proto/cel/expr/syntax.proto.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from scheduler.hub.schema.cel import compile_rule
from scheduler.hub.schema.protobuf_wire import fields_of


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `size` is the length of a string, 1 for anything else."""

    size: int
    is_text: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Name:
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
class ListOf:
    """A list literal."""

    elements: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map literal; keys and values in turn."""

    parts: tuple["Expression", ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What a macro over a list or a map became."""

    variable: str
    over: "Expression"
    accumulator: str
    start: "Expression"
    condition: "Expression"
    step: "Expression"
    result: "Expression"


Expression: TypeAlias = Constant | Name | Select | Call | ListOf | MapOf | Comprehension


def syntax_of(rule: str) -> Expression:
    """The tree of a rule.

    Raises:
        RuntimeError: the rule does not compile.
    """
    wrapped = dict(fields_of(compile_rule(rule).serialize()))
    checked = dict(fields_of(_bytes(wrapped[2])))
    return _expression(_bytes(checked[4]))


def _bytes(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _expression(data: bytes) -> Expression:
    for number, value in fields_of(data):
        maker = _MAKERS.get(number)
        if maker is not None:
            return maker(_bytes(value))
    return Constant(1, is_text=False)


def _constant(data: bytes) -> Expression:
    for number, value in fields_of(data):
        if number in {6, 7}:  # string_value, bytes_value
            return Constant(len(_text(value)), is_text=True, text=_text(value))
    return Constant(1, is_text=False)


def _name(data: bytes) -> Expression:
    return Name(next((_text(value) for number, value in fields_of(data) if number == 1), ""))


def _select(data: bytes) -> Expression:
    found = dict(fields_of(data))
    return Select(_expression(_bytes(found[1])), _text(found[2]), bool(found.get(3)))


def _call(data: bytes) -> Expression:
    target: Expression | None = None
    function = ""
    arguments = []
    for number, value in fields_of(data):
        if number == 1:
            target = _expression(_bytes(value))
        elif number == 2:  # noqa: PLR2004 - Call.function
            function = _text(value)
        else:
            arguments.append(_expression(_bytes(value)))
    return Call(function, target, tuple(arguments))


def _list(data: bytes) -> Expression:
    return ListOf(tuple(_expression(_bytes(v)) for number, v in fields_of(data) if number == 1))


def _map(data: bytes) -> Expression:
    parts = []
    for number, entry in fields_of(data):
        if number == 2:  # noqa: PLR2004 - CreateStruct.entries
            parts += [_expression(_bytes(v)) for n, v in fields_of(_bytes(entry)) if n in {3, 4}]
    return MapOf(tuple(parts))


def _comprehension(data: bytes) -> Expression:
    found = dict(fields_of(data))
    return Comprehension(
        _text(found[1]),
        _expression(_bytes(found[2])),
        _text(found[3]),
        *(_expression(_bytes(found[number])) for number in (4, 5, 6, 7)),
    )


_MAKERS = {3: _constant, 4: _name, 5: _select, 6: _call, 7: _list, 8: _map, 9: _comprehension}
