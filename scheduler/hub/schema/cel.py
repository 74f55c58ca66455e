"""Evaluates the validation rules of a schema (`x-kubernetes-validations`), written in core CEL.

This module has no I/O, so that commands can check files with it. Kubernetes' extensions of CEL
(quantity, isURL, format, optionals) are not supported: a rule that uses them does not compile here
and is refused when the CRD is applied. Source: "Validation rules" of the Kubernetes documentation
of CustomResourceDefinitions.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from cel_expr_python import cel  # type: ignore[import-untyped]

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, quote_value
from scheduler.hub.schema.structural import SchemaNode, is_transition_rule, list_key_of
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
_PATH = r"\b(?:self|oldSelf)((?:\s*\.\s*[A-Za-z_]\w*(?!\w|\s*\())*)"
_PATH_OF_SELF = re.compile(rf"(\bhas\s*\(\s*)?{_PATH}(?!\w)(\s*\))?")
"""A path below `self` and, in groups 1 and 3, whether the rule asks only if there is something."""
_NAME = re.compile(r"\w+")


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


METADATA_IN_RULES = ("name", "generateName")
"""What rules read of the metadata of a whole object, whether its schema names it or not."""


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
        if key == "metadata" and isinstance(item, dict):
            # Schemas leave its fields out. `estimate_rule_cost` refuses rules that read others, or
            # these where `self` is no whole object.
            names = {name: item[name] for name in METADATA_IN_RULES if name in item}
            found[key] = names | found.get(key, {})
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
    if has_old and not node.has_transition_rules and value == old:
        return []
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
        message = rule.get("messageExpression") or ""
        paths = paths_read(text, message)
        reads_old = has_old and (transition or is_transition_rule(message))
        new = _only_paths(value, paths)
        before = _only_paths(old, paths) if reads_old else None
        key = (node.serial, text, msgspec.json.encode((new, before)))
        if key in _held_rules:
            continue
        data = {"self": to_cel_value(node, new)}
        if reads_old:
            data["oldSelf"] = to_cel_value(node, before)
        problem = _evaluate_rule(rule, data, value, path)
        if problem is not None:
            problems.append(problem)
        else:
            _record_held(key)
    return problems


def reads_no_spec(node: SchemaNode) -> bool:
    """Whether the rules on an object with an unchanged spec may be evaluated without the spec."""
    spec = node.properties.get("spec")
    if spec is not None and spec.has_transition_rules:
        return False
    for rule in node.rules:
        paths = paths_read(rule["rule"], rule.get("messageExpression") or "")
        if paths is None or "spec" in paths:
            return False
    return True


ReadPaths: TypeAlias = Mapping[str, "ReadPaths | None"]
"""Fields by name, with the fields below each; None: all of its value, empty: only whether it is."""


@functools.lru_cache(maxsize=4096)
def paths_read(rule: str, message: str) -> ReadPaths | None:
    """The paths below `self` and `oldSelf` that a rule reads; None: it may read all of the value.

    A rule about one field of a status need not have all of it converted for each write.
    """
    found: dict[str, Any] = {}
    for match in _PATH_OF_SELF.finditer(f"{rule} {message}"):
        names = _NAME.findall(match[2])
        if not names:
            return None
        asks_presence = match[1] is not None and match[3] is not None
        _add_path(found, names, {} if asks_presence else None)
    return found


def _add_path(paths: dict[str, Any], names: list[str], last: ReadPaths | None) -> None:
    for name in names[:-1]:
        below: dict[str, Any] | None = paths.setdefault(name, {})
        if below is None:
            return
        paths = below
    if last is None:
        paths[names[-1]] = None
    else:
        paths.setdefault(names[-1], last)


def _only_paths(value: Json, paths: ReadPaths | None) -> Json:
    """The part of an object that a rule reads; a value that is no object as it is."""
    if paths is None or not isinstance(value, dict):
        return [] if paths is not None and isinstance(value, list) and not paths else value
    found = {}
    for key, item in value.items():
        name = key if key in paths else escape_name(key)
        if name in paths:
            found[key] = _only_paths(item, paths[name])
    return found


_MAX_HELD_RULES = 4_096
_MAX_HELD_BYTES = 1_024
_HeldRule = tuple[int, str, bytes]
_held_rules: set[_HeldRule] = set()
"""Rules that held: the number of the node, the rule, and the JSON of what it read.

A rule reads nothing else, so it would hold again. Rules that compare a status with the one before
hold once for each object, so a large set would only take memory.
"""


def _record_held(key: _HeldRule) -> None:
    if len(key[2]) > _MAX_HELD_BYTES:
        return
    if len(_held_rules) >= _MAX_HELD_RULES:
        _held_rules.clear()
    _held_rules.add(key)


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
