"""The rules of a CustomResourceDefinition: they compile, know their fields, cost little enough.

Source: apiextensions' validation of `x-kubernetes-validations` (kube-apiserver 1.36), whose
sentences are kept.
"""

from dataclasses import dataclass, field, replace

from scheduler.hub.schema.cel import is_transition
from scheduler.hub.schema.cel_cost import (
    CRD_BUDGET,
    RULE_BUDGET,
    UndefinedField,
    largest_size,
    rule_cost,
)
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, quoted, required_value
from scheduler.hub.schema.structural import Node, compile_schema

_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)
_FAR_OVER = 100


@dataclass(slots=True)
class _Tally:
    problems: list[FieldProblem] = field(default_factory=list)
    costs: list[tuple[str, float]] = field(default_factory=list)
    """Of every rule, with its path."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: its path, how many there may be, whether old and new can be matched."""

    path: str
    count: float = 1
    correlatable: bool = True
    root: bool = False

    def below(self, step: str, times: float = 1, *, correlatable: bool = True) -> "_Place":
        return _Place(f"{self.path}.{step}", self.count * times, self.correlatable and correlatable)


def definition_rule_problems(schema: JsonObject, path: str) -> list[FieldProblem]:
    """What is wrong with the rules of a version's schema."""
    tally = _Tally()
    _walk(compile_schema(schema), _Place(path, root=True), tally)
    total = sum(cost for _path, cost in tally.costs)
    if total > CRD_BUDGET:
        for where, cost in tally.costs:
            if cost >= CRD_BUDGET / 100:
                why = (
                    "Forbidden: contributed to estimated rule cost total exceeding cost limit for "
                    "entire OpenAPIv3 schema"
                )
                tally.problems.append(FieldProblem("FieldValueForbidden", where, why))
        words = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        tally.problems.append(_too_costly(path, words, total / CRD_BUDGET))
    return tally.problems


def _too_costly(path: str, words: str, factor: float) -> FieldProblem:
    over = f"more than {_FAR_OVER}x" if factor > _FAR_OVER else f"{factor:.1f}x"
    why = f"Forbidden: {words} exceeds budget by factor of {over} {_ADVICE}"
    return FieldProblem("FieldValueForbidden", path, why)


def _walk(node: Node, place: _Place, tally: _Tally) -> None:
    if not node.has_rules:
        return
    for index, rule in enumerate(node.rules):
        at = replace(place, path=f"{place.path}.x-kubernetes-validations[{index}]")
        _check(node, rule, at, tally)
    for name, child in node.properties.items():
        _walk(child, place.below(f"properties[{name}]"), tally)
    if node.items is not None:
        keyed = node.list_type == "map"
        _walk(node.items, place.below("items", largest_size(node), correlatable=keyed), tally)
    if node.values is not None:
        _walk(node.values, place.below("additionalProperties", largest_size(node)), tally)


def _check(node: Node, rule: JsonObject, place: _Place, tally: _Tally) -> None:
    text = str(rule.get("rule") or "")
    if not text.strip():
        tally.problems.append(required_value(f"{place.path}.rule", "rule is not specified"))
        return
    if is_transition(text) and not place.correlatable:
        why = (
            "Invalid value: "
            f"{quoted(text)}: oldSelf cannot be used on the uncorrelatable portion of the schema"
        )
        tally.problems.append(FieldProblem("FieldValueInvalid", f"{place.path}.rule", why))
        return
    _price(node, text, replace(place, path=f"{place.path}.rule"), "rule", tally)
    message = str(rule.get("messageExpression") or "")
    if message:
        at = replace(place, path=f"{place.path}.messageExpression")
        _price(node, message, at, "messageExpression", tally)


def _price(node: Node, text: str, place: _Place, what: str, tally: _Tally) -> None:
    try:
        cost = rule_cost(text, node, root=place.root) * place.count
    except (RuntimeError, UndefinedField) as error:
        shown = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        why = f"Invalid value: {quoted(text)}: compilation failed: {shown}"
        tally.problems.append(FieldProblem("FieldValueInvalid", place.path, why))
        return
    tally.costs.append((place.path, cost))
    if cost > RULE_BUDGET:
        tally.problems.append(_too_costly(place.path, f"estimated {what} cost", cost / RULE_BUDGET))
