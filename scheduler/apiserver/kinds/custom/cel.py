"""Checks the rules of a CustomResourceDefinition: they compile, and their cost is in the budget.

Source: apiextensions' validation of `x-kubernetes-validations` (kube-apiserver 1.36), whose
messages are used.
"""

from dataclasses import dataclass, field, replace

from scheduler.hub.schema.cel_cost import (
    CRD_COST_BUDGET,
    RULE_COST_BUDGET,
    UndefinedField,
    estimate_rule_cost,
    max_size_of,
)
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, quote_value, required_value
from scheduler.hub.schema.structural import SchemaNode, compile_schema, is_transition_rule

_COST_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)
_MAX_SHOWN_FACTOR = 100


@dataclass(slots=True)
class _RuleReport:
    problems: list[FieldProblem] = field(default_factory=list)
    costs: list[tuple[str, float]] = field(default_factory=list)
    """The estimated cost of each rule over all its evaluations, with the path of the rule."""


@dataclass(frozen=True, slots=True)
class _SchemaLocation:
    """The location of a node in a schema.

    Attributes:
        path: its path.
        count: the largest number of its values in an object.
        is_correlatable: whether old and new values can be matched.
        is_root: whether it is the root of the schema.
    """

    path: str
    count: float = 1
    is_correlatable: bool = True
    is_root: bool = False

    def child(self, step: str, times: float = 1, *, correlatable: bool = True) -> "_SchemaLocation":
        return _SchemaLocation(
            f"{self.path}.{step}", self.count * times, self.is_correlatable and correlatable
        )


def definition_rule_problems(schema: JsonObject, path: str) -> list[FieldProblem]:
    """The problems of the rules in the schema of a version."""
    tally = _RuleReport()
    _check_rules(compile_schema(schema), _SchemaLocation(path, is_root=True), tally)
    total = sum(cost for _path, cost in tally.costs)
    if total > CRD_COST_BUDGET:
        for where, cost in tally.costs:
            if cost >= CRD_COST_BUDGET / 100:
                why = (
                    "Forbidden: contributed to estimated rule cost total exceeding cost limit for "
                    "entire OpenAPIv3 schema"
                )
                tally.problems.append(FieldProblem("FieldValueForbidden", where, why))
        words = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        tally.problems.append(_over_budget_problem(path, words, total / CRD_COST_BUDGET))
    return tally.problems


def _over_budget_problem(path: str, words: str, factor: float) -> FieldProblem:
    over = f"more than {_MAX_SHOWN_FACTOR}x" if factor > _MAX_SHOWN_FACTOR else f"{factor:.1f}x"
    why = f"Forbidden: {words} exceeds budget by factor of {over} {_COST_ADVICE}"
    return FieldProblem("FieldValueForbidden", path, why)


def _check_rules(node: SchemaNode, location: _SchemaLocation, report: _RuleReport) -> None:
    if not node.has_rules:
        return
    for index, rule in enumerate(node.rules):
        at = replace(location, path=f"{location.path}.x-kubernetes-validations[{index}]")
        _check_rule(node, rule, at, report)
    for name, child in node.properties.items():
        _check_rules(child, location.child(f"properties[{name}]"), report)
    if node.items is not None:
        keyed = node.list_type == "map"
        _check_rules(
            node.items, location.child("items", max_size_of(node), correlatable=keyed), report
        )
    if node.additional_properties is not None:
        _check_rules(
            node.additional_properties,
            location.child("additionalProperties", max_size_of(node)),
            report,
        )


def _check_rule(
    node: SchemaNode, rule: JsonObject, location: _SchemaLocation, report: _RuleReport
) -> None:
    text = str(rule.get("rule") or "")
    if not text.strip():
        report.problems.append(required_value(f"{location.path}.rule", "rule is not specified"))
        return
    if is_transition_rule(text) and not location.is_correlatable:
        why = (
            f"Invalid value: {quote_value(text)}: oldSelf cannot be used on the uncorrelatable"
            " portion of the schema"
        )
        report.problems.append(FieldProblem("FieldValueInvalid", f"{location.path}.rule", why))
        return
    _estimate_cost(node, text, replace(location, path=f"{location.path}.rule"), "rule", report)
    message = str(rule.get("messageExpression") or "")
    if message:
        at = replace(location, path=f"{location.path}.messageExpression")
        _estimate_cost(node, message, at, "messageExpression", report)


def _estimate_cost(
    node: SchemaNode, text: str, location: _SchemaLocation, what: str, report: _RuleReport
) -> None:
    try:
        cost = estimate_rule_cost(text, node, is_root=location.is_root) * location.count
    except (RuntimeError, UndefinedField) as error:
        shown = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        why = f"Invalid value: {quote_value(text)}: compilation failed: {shown}"
        report.problems.append(FieldProblem("FieldValueInvalid", location.path, why))
        return
    report.costs.append((location.path, cost))
    if cost > RULE_COST_BUDGET:
        report.problems.append(
            _over_budget_problem(location.path, f"estimated {what} cost", cost / RULE_COST_BUDGET)
        )
