"""Estimates the worst-case cost of CEL rules, as kube-apiserver does for a CRD.

The worst case follows from the limits in the schema: a list without `maxItems` is as long as the
largest request allows. Sources: cel-go's checker/cost.go for the costs of operations, apiserver's
pkg/cel/common/schemas.go for the sizes, apiextensions' validation for the budgets; "Resource use by
validation functions" of the Kubernetes documentation.
"""

from dataclasses import dataclass
from typing import assert_never

from scheduler.hub.schema.cel import METADATA_IN_RULES, escape_name
from scheduler.hub.schema.cel_syntax import (
    Call,
    Comprehension,
    Constant,
    CreateList,
    CreateStruct,
    Expression,
    Ident,
    Select,
    parse_syntax,
)
from scheduler.hub.schema.structural import SchemaNode

RULE_COST_BUDGET = 10_000_000
"""The budget of one rule, over all places of an object where it runs, in CEL cost units."""
CRD_COST_BUDGET = 100_000_000
"""The budget of all rules of a definition together, in CEL cost units."""
_MAX_REQUEST_BYTES = 3 * 1024 * 1024
_UNKNOWN_SIZE = 1 << 63
_TRAVERSAL_COST = 0.1
"""Cost units per byte of a string that is traversed."""
_REGEX_COST = 0.25
"""Cost units per byte of a regular expression."""
_LIST_COST, _MAP_COST = 10, 30
"""Cost units of creating a list or a map."""
_FORMAT_BYTES = {"date": 12, "date-time": 37, "duration": 34}
"""The longest string of a format, with quotes, in bytes."""
_COMPARISON_FUNCTIONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_SCALAR_TYPES = frozenset({"integer", "number", "boolean"})


class UndefinedField(ValueError):
    """A rule names a field that the schema does not have."""


def max_size_of(node: SchemaNode | None) -> int:
    """The most elements of a list or map, or bytes of a string, that a schema allows."""
    if node is None:
        return _UNKNOWN_SIZE
    schema = node.schema
    if node.type == "array":
        smallest = min_bytes_of(node.items) if node.items else 1
        return int(schema.get("maxItems", (_MAX_REQUEST_BYTES - 2) // (smallest + 1)))
    if node.type == "object" and node.additional_properties is not None:
        pair = min_bytes_of(node.additional_properties) + 6
        return int(schema.get("maxProperties", (_MAX_REQUEST_BYTES - 2) // pair))
    if node.int_or_string or node.type == "string":
        return _max_text_bytes(node)
    if node.type == "object" and node.properties:
        return 0  # the declared type of an object has no number of elements
    return 1 if node.type in _SCALAR_TYPES else _UNKNOWN_SIZE


def _max_text_bytes(node: SchemaNode) -> int:
    schema = node.schema
    if "maxLength" in schema:
        return int(schema["maxLength"]) * 4  # a character takes up to 4 bytes in UTF-8
    if schema.get("format") in _FORMAT_BYTES:
        return _FORMAT_BYTES[schema["format"]]
    if schema.get("enum") and not node.int_or_string:
        return max(len(str(value)) for value in schema["enum"])
    return _MAX_REQUEST_BYTES - 2


def min_bytes_of(node: SchemaNode | None) -> int:
    """The smallest number of bytes that a value of a schema takes in JSON."""
    if node is None or node.type in {"integer", "number"} or node.int_or_string:
        return 1
    if node.type == "boolean":
        return 4
    if node.type != "object" or node.additional_properties is not None:
        return 2
    required = ((name, node.properties[name]) for name in node.required if name in node.properties)
    return 2 + sum(
        len(name) + min_bytes_of(child) + 4 for name, child in required if not child.has_default
    )


@dataclass(frozen=True, slots=True)
class _ValueEstimate:
    """The cost of an expression in CEL cost units, the size of its value, and the schema of it."""

    cost: float
    size: float = 1
    node: SchemaNode | None = None


def estimate_rule_cost(rule: str, node: SchemaNode, *, is_root: bool = False) -> float:
    """The worst-case cost of evaluating a rule once, in CEL cost units.

    Args:
        rule: the rule.
        node: the schema of `self`.
        is_root: whether `self` is a whole object, which also has apiVersion, kind and metadata.

    Raises:
        UndefinedField: the rule names a field that the schema does not have.
        RuntimeError: the rule does not compile.
    """
    estimate = _CostEstimator(node, is_root=is_root)
    return estimate.estimate(parse_syntax(rule)).cost


class _CostEstimator:
    """Walks a syntax tree and tracks the variables of enclosing comprehensions."""

    def __init__(self, node: SchemaNode, *, is_root: bool) -> None:
        self._self_node = node
        self._is_root = is_root
        self._metadata: SchemaNode | None = None
        self._variables: dict[str, _ValueEstimate] = {}

    def estimate(self, expression: Expression) -> _ValueEstimate:
        """The estimate of an expression."""
        match expression:
            case Constant():
                found = _ValueEstimate(0, expression.size)
            case Ident():
                found = self._name(expression)
            case Select():
                found = self._select(expression)
            case Call():
                found = self._call(expression)
            case CreateList():
                parts = [self.estimate(element) for element in expression.elements]
                found = _ValueEstimate(_LIST_COST + sum(part.cost for part in parts), len(parts))
            case CreateStruct():
                cost = sum(self.estimate(part).cost for part in expression.keys_and_values)
                found = _ValueEstimate(_MAP_COST + cost, len(expression.keys_and_values) / 2)
            case Comprehension():
                found = self._comprehension(expression)
            case _:
                assert_never(expression)
        return found

    def _name(self, expression: Ident) -> _ValueEstimate:
        if expression.name in self._variables:
            known = self._variables[expression.name]
            return _ValueEstimate(1, known.size, known.node)
        if expression.name in {"self", "oldSelf"}:
            return _ValueEstimate(1, max_size_of(self._self_node), self._self_node)
        return _ValueEstimate(1, _UNKNOWN_SIZE)

    def _select(self, expression: Select) -> _ValueEstimate:
        operand = self.estimate(expression.operand)
        child = self._child(operand.node, expression.field)
        if expression.tests_presence:
            return _ValueEstimate(operand.cost + 1)
        return _ValueEstimate(operand.cost + 1, max_size_of(child), child)

    def _child(self, node: SchemaNode | None, field: str) -> SchemaNode | None:
        if node is None or node.type != "object":
            return None
        if node.additional_properties is not None:
            return node.additional_properties
        is_whole = (node is self._self_node and self._is_root) or node.is_embedded
        for name, child in node.properties.items():
            if escape_name(name) == field:
                if is_whole and name == "metadata":
                    self._metadata = child
                return child
        if node is self._metadata and field in METADATA_IN_RULES:
            return None
        if is_whole and field in {"apiVersion", "kind", "metadata"}:
            return None
        raise UndefinedField(f"undefined field '{field}'")

    # ------------------------------------------------------------ function calls

    def _call(self, expression: Call) -> _ValueEstimate:
        arguments = [self.estimate(argument) for argument in expression.arguments]
        spent = sum(argument.cost for argument in arguments)
        target = self.estimate(expression.target) if expression.target else None
        if target is not None:
            spent += target.cost
        name = expression.function
        if name == "_?_:_":
            return self._conditional(arguments)
        if name in {"_&&_", "_||_"}:
            return _ValueEstimate(spent)
        if name == "_[_]":
            node = arguments[0].node
            below = (node.items or node.additional_properties) if node else None
            return _ValueEstimate(spent + 1, max_size_of(below), below)
        if name in {"dyn", "string"} and arguments:
            return self._converted(name, arguments[0], spent)
        return _function_estimate(name, target, arguments, spent)

    @staticmethod
    def _conditional(arguments: list[_ValueEstimate]) -> _ValueEstimate:
        condition, left, right = arguments
        larger = left if left.size >= right.size else right
        return _ValueEstimate(condition.cost + max(left.cost, right.cost), larger.size, larger.node)

    @staticmethod
    def _converted(name: str, argument: _ValueEstimate, spent: float) -> _ValueEstimate:
        if name == "dyn" or (argument.node and argument.node.type == "string"):
            return _ValueEstimate(spent + 1, argument.size, argument.node)
        return _ValueEstimate(spent + 1, _UNKNOWN_SIZE)

    def _comprehension(self, expression: Comprehension) -> _ValueEstimate:
        over, start = self.estimate(expression.iter_range), self.estimate(expression.accu_init)
        before = dict(self._variables)
        self._variables[expression.variable] = self._element_of(over)
        self._variables[expression.accumulator] = start
        loop = self.estimate(expression.condition).cost + self.estimate(expression.step).cost
        result = self.estimate(expression.result)
        self._variables = before
        size = over.size if isinstance(expression.accu_init, CreateList) else 1
        cost = over.cost + start.cost + result.cost + over.size * loop
        return _ValueEstimate(min(cost, _UNKNOWN_SIZE), size)

    @staticmethod
    def _element_of(over: _ValueEstimate) -> _ValueEstimate:
        node = over.node
        if node is None:
            return _ValueEstimate(0, _UNKNOWN_SIZE)
        if node.type == "array":
            return _ValueEstimate(0, max_size_of(node.items), node.items)
        return _ValueEstimate(0, 0)  # a map key, whose length cel-go counts as 0


def _function_estimate(
    name: str, target: _ValueEstimate | None, arguments: list[_ValueEstimate], spent_cost: float
) -> _ValueEstimate:
    """The estimate of a function call, by the bytes or elements that it reads."""
    sizes = [argument.size for argument in arguments]
    size: float = 1
    price: float = 1
    if name == "matches" and target is not None:
        price = (target.size + 1) * _TRAVERSAL_COST * sizes[0] * _REGEX_COST
    elif name == "contains" and target is not None:
        price = target.size * _TRAVERSAL_COST * sizes[0] * _TRAVERSAL_COST
    elif name in {"startsWith", "endsWith"}:
        price = sizes[0] * _TRAVERSAL_COST
    elif name == "@in":
        price = sizes[1]
    elif name == "_+_" and max(sizes) > 1:
        size = sum(sizes)
        price = size * _TRAVERSAL_COST
    elif name in _COMPARISON_FUNCTIONS:
        price = max(1, min(sizes) * _TRAVERSAL_COST)
    return _ValueEstimate(spent_cost + price, size)
