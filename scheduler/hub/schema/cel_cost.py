"""What a rule may cost in the worst case, as kube-apiserver estimates it for a CRD.

The worst case follows from the limits in the schema: a list without `maxItems` is as long as the
largest request allows. Sources: cel-go's checker/cost.go for the prices, apiserver's
pkg/cel/common/schemas.go for the sizes, apiextensions' validation for the budgets; "Resource use by
validation functions" in the Kubernetes documentation.
"""

from dataclasses import dataclass
from typing import assert_never

from scheduler.hub.schema.cel import escaped
from scheduler.hub.schema.cel_syntax import (
    Call,
    Comprehension,
    Constant,
    Expression,
    ListOf,
    MapOf,
    Name,
    Select,
    syntax_of,
)
from scheduler.hub.schema.structural import Node

RULE_BUDGET = 10_000_000
"""Of one rule, times the number of places where it runs."""
CRD_BUDGET = 100_000_000
"""Of all rules of a definition together."""
_REQUEST_BYTES = 3 * 1024 * 1024
_UNKNOWN = 1 << 63
_TRAVERSAL = 0.1
"""Per byte of a string that is read through."""
_REGEX = 0.25
"""Per byte of a regular expression."""
_LIST_PRICE, _MAP_PRICE = 10, 30
_FORMAT_BYTES = {"date": 12, "date-time": 37, "duration": 34}
_CUTS_SHORT = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_SCALARS = frozenset({"integer", "number", "boolean"})


class UndefinedField(ValueError):
    """A rule speaks of a field that the schema does not have."""


def largest_size(node: Node | None) -> int:
    """The most elements of a list or map, or bytes of a string, that a schema allows."""
    if node is None:
        return _UNKNOWN
    schema = node.schema
    if node.type == "array":
        smallest = smallest_bytes(node.items) if node.items else 1
        return int(schema.get("maxItems", (_REQUEST_BYTES - 2) // (smallest + 1)))
    if node.type == "object" and node.values is not None:
        pair = smallest_bytes(node.values) + 6
        return int(schema.get("maxProperties", (_REQUEST_BYTES - 2) // pair))
    if node.int_or_string or node.type == "string":
        return _largest_text(node)
    return 1 if node.type in _SCALARS else _UNKNOWN


def _largest_text(node: Node) -> int:
    schema = node.schema
    if "maxLength" in schema:
        return int(schema["maxLength"]) * 4  # of UTF-8
    if schema.get("format") in _FORMAT_BYTES:
        return _FORMAT_BYTES[schema["format"]]
    if schema.get("enum") and not node.int_or_string:
        return max(len(str(value)) for value in schema["enum"])
    return _REQUEST_BYTES - 2


def smallest_bytes(node: Node | None) -> int:
    """The fewest bytes that a value of a schema takes in JSON."""
    if node is None or node.type in {"integer", "number"} or node.int_or_string:
        return 1
    if node.type == "boolean":
        return 4
    if node.type != "object" or node.values is not None:
        return 2
    required = ((name, node.properties[name]) for name in node.required if name in node.properties)
    return 2 + sum(
        len(name) + smallest_bytes(child) + 4 for name, child in required if not child.has_default
    )


@dataclass(frozen=True, slots=True)
class _Value:
    """What an expression costs, how large its value is, and which schema describes it."""

    cost: float
    size: float = 1
    node: Node | None = None


def rule_cost(rule: str, node: Node, *, root: bool = False) -> float:
    """The worst case of running a rule once, in cost units of CEL.

    Args:
        rule: the rule.
        node: the schema of `self`.
        root: whether `self` is a whole object, whose apiVersion, kind and name are there as well.

    Raises:
        UndefinedField: the rule names a field that the schema does not have.
        RuntimeError: the rule does not compile.
    """
    estimate = _Estimate(node, root=root)
    return estimate.of(syntax_of(rule)).cost


class _Estimate:
    """Walks a syntax tree; knows the variables of the comprehensions around."""

    def __init__(self, node: Node, *, root: bool) -> None:
        self._self = node
        self._root = root
        self._variables: dict[str, _Value] = {}

    def of(self, expression: Expression) -> _Value:
        """The estimate of an expression."""
        match expression:
            case Constant():
                found = _Value(0, expression.size)
            case Name():
                found = self._name(expression)
            case Select():
                found = self._select(expression)
            case Call():
                found = self._call(expression)
            case ListOf():
                parts = [self.of(element) for element in expression.elements]
                found = _Value(_LIST_PRICE + sum(part.cost for part in parts), len(parts))
            case MapOf():
                cost = sum(self.of(part).cost for part in expression.parts)
                found = _Value(_MAP_PRICE + cost, len(expression.parts) / 2)
            case Comprehension():
                found = self._comprehension(expression)
            case _:
                assert_never(expression)
        return found

    def _name(self, expression: Name) -> _Value:
        if expression.name in self._variables:
            known = self._variables[expression.name]
            return _Value(1, known.size, known.node)
        if expression.name in {"self", "oldSelf"}:
            return _Value(1, largest_size(self._self), self._self)
        return _Value(1, _UNKNOWN)

    def _select(self, expression: Select) -> _Value:
        operand = self.of(expression.operand)
        child = self._child(operand.node, expression.field)
        if expression.tests_presence:
            return _Value(operand.cost + 1)
        return _Value(operand.cost + 1, largest_size(child), child)

    def _child(self, node: Node | None, field: str) -> Node | None:
        if node is None or node.type != "object":
            return None
        if node.values is not None:
            return node.values
        for name, child in node.properties.items():
            if escaped(name) == field:
                return child
        is_whole = (node is self._self and self._root) or node.embedded
        if is_whole and field in {"apiVersion", "kind", "metadata"}:
            return None
        raise UndefinedField(f"undefined field '{field}'")

    # ------------------------------------------------------------ calls

    def _call(self, expression: Call) -> _Value:
        arguments = [self.of(argument) for argument in expression.arguments]
        spent = sum(argument.cost for argument in arguments)
        target = self.of(expression.target) if expression.target else None
        if target is not None:
            spent += target.cost
        name = expression.function
        if name == "_?_:_":
            return self._conditional(arguments)
        if name in {"_&&_", "_||_"}:
            return _Value(spent)
        if name == "_[_]":
            node = arguments[0].node
            below = (node.items or node.values) if node else None
            return _Value(spent + 1, largest_size(below), below)
        if name in {"dyn", "string"} and arguments:
            return self._converted(name, arguments[0], spent)
        return _priced(name, target, arguments, spent)

    @staticmethod
    def _conditional(arguments: list[_Value]) -> _Value:
        condition, left, right = arguments
        larger = left if left.size >= right.size else right
        return _Value(condition.cost + max(left.cost, right.cost), larger.size, larger.node)

    @staticmethod
    def _converted(name: str, argument: _Value, spent: float) -> _Value:
        if name == "dyn" or (argument.node and argument.node.type == "string"):
            return _Value(spent + 1, argument.size, argument.node)
        return _Value(spent + 1, _UNKNOWN)

    def _comprehension(self, expression: Comprehension) -> _Value:
        over, start = self.of(expression.over), self.of(expression.start)
        before = dict(self._variables)
        self._variables[expression.variable] = self._element(over)
        self._variables[expression.accumulator] = start
        loop = self.of(expression.condition).cost + self.of(expression.step).cost
        result = self.of(expression.result)
        self._variables = before
        size = over.size if isinstance(expression.start, ListOf) else 1
        cost = over.cost + start.cost + result.cost + over.size * loop
        return _Value(min(cost, _UNKNOWN), size)

    @staticmethod
    def _element(over: _Value) -> _Value:
        node = over.node
        if node is None:
            return _Value(0, _UNKNOWN)
        if node.type == "array":
            return _Value(0, largest_size(node.items), node.items)
        return _Value(0, 0)  # the key of a map: its length counts as nothing


def _priced(name: str, target: _Value | None, arguments: list[_Value], spent: float) -> _Value:
    """The price of a function by what it reads."""
    sizes = [argument.size for argument in arguments]
    size: float = 1
    price: float = 1
    if name == "matches" and target is not None:
        price = (target.size + 1) * _TRAVERSAL * sizes[0] * _REGEX
    elif name == "contains" and target is not None:
        price = target.size * _TRAVERSAL * sizes[0] * _TRAVERSAL
    elif name in {"startsWith", "endsWith"}:
        price = sizes[0] * _TRAVERSAL
    elif name == "@in":
        price = sizes[1]
    elif name == "_+_" and max(sizes) > 1:
        size = sum(sizes)
        price = size * _TRAVERSAL
    elif name in _CUTS_SHORT:
        price = max(1, min(sizes) * _TRAVERSAL)
    return _Value(spent + price, size)
