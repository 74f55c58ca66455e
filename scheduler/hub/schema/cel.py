"""Evaluates the validation rules of a schema (`x-kubernetes-validations`), written in core CEL.

This module has no I/O, so that commands can check files with it. Kubernetes' extensions of CEL
(quantity, isURL, format, optionals) are not supported: a rule that uses them does not compile here
and is refused when the CRD is applied. Source: "Validation rules" of the Kubernetes documentation
of CustomResourceDefinitions.
"""

import functools
import re
from typing import Any

import msgspec
from cel_expr_python import cel  # type: ignore[import-untyped]

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, quote_value
from scheduler.hub.schema.structural import SchemaNode, list_key_of
from scheduler.hub.schema.value_checks import parse_instant

_RESERVED_WORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_OLD_SELF = re.compile(r"\boldSelf\b")
_ANY_SELF = re.compile(r"\b(?:self|oldSelf)\b")
_FIELD_OF_SELF = re.compile(r"\b(?:self|oldSelf)\s*\.\s*([A-Za-z_]\w*)(?!\w|\s*\()")


@functools.cache
def _environment() -> Any:  # noqa: ANN401 - the evaluator has no type hints
    return cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})


@functools.lru_cache(maxsize=4096)
def compile_rule(rule: str) -> Any:  # noqa: ANN401 - the evaluator has no type hints
    """Compiles one rule.

    Raises:
        RuntimeError: the rule does not compile; the message has the position.
    """
    return _environment().compile(rule)


def is_transition_rule(rule: str) -> bool:
    """Whether a rule refers to the old value (`oldSelf`)."""
    return bool(_OLD_SELF.search(rule))


@functools.lru_cache(maxsize=4096)
def escape_name(name: str) -> str:
    """The name of a property as rules write it, such as `__namespace__`."""
    if name in _RESERVED_WORDS:
        return f"__{name}__"
    for text, replacement in _ESCAPES:
        name = name.replace(text, replacement)
    return name


def to_cel_value(node: SchemaNode | None, value: Json) -> Any:  # noqa: ANN401 - any CEL value
    """Converts a JSON value for CEL: numbers to the schema's type, instants to UTC strings."""
    if isinstance(value, dict):
        return _to_cel_map(node, value)
    if isinstance(value, list):
        below = node.items if node else None
        return [to_cel_value(below, item) for item in value]
    if node is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _to_cel_string(value, node.schema.get("format"))
    if isinstance(value, int | float):
        return {"number": float, "integer": int}.get(node.type or "", type(value))(value)
    return value


def _to_cel_map(node: SchemaNode | None, value: JsonObject) -> dict[str, Any]:
    if node is None:
        return {key: to_cel_value(None, item) for key, item in value.items()}
    found = {}
    for key, item in value.items():
        child = node.properties.get(key)
        if child is not None:
            found[escape_name(key)] = to_cel_value(child, item)
        elif (
            node.additional_properties is not None
            or node.preserves_unknown
            or node.allows_any_value
        ):
            found[key] = to_cel_value(node.additional_properties, item)
    return found


def _to_cel_string(value: str, form: object) -> str:
    """A string for CEL. The evaluator has no instants: they become UTC text that sorts by time."""
    if form not in ("date-time", "date"):
        return value
    moment = parse_instant(value)
    return value if moment is None else moment.isoformat(timespec="microseconds")


def rule_problems(
    node: SchemaNode, value: Json, old: Json = None, path: str = "", *, has_old: bool | None = None
) -> list[FieldProblem]:
    """Evaluates the rules on a value that has passed `validate`, and returns those that fail.

    Args:
        node: the compiled schema.
        value: the new value.
        old: the old value, for transition rules.
        path: the path of the value in the object.
        has_old: whether there is an old value; None: whether `old` is not None.
    """
    if not node.has_rules or value is None:
        return []
    has_old = old is not None if has_old is None else has_old
    problems: list[FieldProblem] = []
    if node.rules:
        problems += _node_rule_problems(node, value, old, path, has_old=has_old)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            child = node.child(key)
            if child is not None and child.has_rules:
                where = f"{path}.{key}" if path else key
                problems += rule_problems(
                    child, item, before.get(key), where, has_old=key in before
                )
    elif isinstance(value, list) and node.items is not None and node.items.has_rules:
        problems += _item_problems(node, node.items, value, old, path)
    return problems


def _item_problems(
    node: SchemaNode, items: SchemaNode, value: list[Json], old: Json, path: str
) -> list[FieldProblem]:
    before = {}
    for item in old if isinstance(old, list) else ():
        key = list_key_of(node, item)
        if key is not None:
            before[key] = item
    problems = []
    for index, item in enumerate(value):
        key = list_key_of(node, item)
        has_old = key is not None and key in before
        known = before[key] if has_old and key is not None else None
        problems += rule_problems(items, item, known, f"{path}[{index}]", has_old=has_old)
    return problems


def _node_rule_problems(
    node: SchemaNode, value: Json, old: Json, path: str, *, has_old: bool
) -> list[FieldProblem]:
    problems = []
    is_whole_unchanged = has_old and value == old
    for rule in node.rules:
        text = rule["rule"]
        transition = is_transition_rule(text)
        if (transition and not has_old) or (is_whole_unchanged and not transition):
            continue
        names = fields_read(text, rule.get("messageExpression") or "")
        new, before = _only_fields(value, names), _only_fields(old, names)
        unchanged = has_old and transition and new == before
        if unchanged and _has_held(text, new):
            continue
        data = {"self": to_cel_value(node, new)}
        if has_old:
            data["oldSelf"] = to_cel_value(node, before)
        problem = _evaluate_rule(rule, data, value, path)
        if problem is not None:
            problems.append(problem)
        elif unchanged:
            _record_held(text, new)
    return problems


@functools.lru_cache(maxsize=4096)
def fields_read(rule: str, message: str) -> frozenset[str] | None:
    """The fields of `self` and `oldSelf` that a rule reads; None: it may read all of the value.

    A rule about the status of an object need not have its spec converted for each write.
    """
    text = f"{rule} {message}"
    names = _FIELD_OF_SELF.findall(text)
    return frozenset(names) if len(names) == len(_ANY_SELF.findall(text)) else None


def _only_fields(value: Json, names: frozenset[str] | None) -> Json:
    """The fields of an object that a rule reads; a value that is no object as it is."""
    if names is None or not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key in names or escape_name(key) in names}


_MAX_HELD_RULES = 20_000
_held_rules: set[tuple[str, bytes]] = set()
"""Transition rules that held for an unchanged value, with its JSON; they would hold again."""


def _has_held(rule: str, value: Json) -> bool:
    return (rule, msgspec.json.encode(value)) in _held_rules


def _record_held(rule: str, value: Json) -> None:
    if len(_held_rules) >= _MAX_HELD_RULES:
        _held_rules.clear()
    _held_rules.add((rule, msgspec.json.encode(value)))


def _evaluate_rule(
    rule: JsonObject, data: dict[str, Any], value: Json, path: str
) -> FieldProblem | None:
    text = rule["rule"]
    try:
        result = compile_rule(text).eval(data=data)
        passed, kind = result.value(), result.type().name()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        passed, kind = str(error), "ERROR"
    if kind == "BOOL" and passed is True:
        return None
    where = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "")[1:] or "<nil>"
    if kind == "BOOL":
        message = _rule_message(rule, data)
    else:
        message = f"rule evaluation error: {passed} evaluating rule: {_rule_message(rule, data)}"
    reason = rule.get("reason") or "FieldValueInvalid"
    if isinstance(value, dict | list) or rule.get("fieldPath"):
        invalid = "Invalid value"
    else:
        invalid = f"Invalid value: {quote_value(value)}"
    prefix = {
        "FieldValueForbidden": "Forbidden",
        "FieldValueRequired": "Required value",
        "FieldValueDuplicate": invalid.replace("Invalid", "Duplicate", 1),
    }.get(reason, invalid)
    return FieldProblem(reason, where, f"{prefix}: {message}")


def _rule_message(rule: JsonObject, data: dict[str, Any]) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            result = compile_rule(expression).eval(data=data)
            if result.type().name() == "STRING" and str(result.value()).strip():
                return str(result.value())
        except (RuntimeError, TypeError, ValueError):
            pass  # the documented fallback: the message, else the rule itself
    return rule.get("message") or f"failed rule: {rule['rule']}"
