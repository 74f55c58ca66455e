"""When an object is ready, as its manifest states it by an annotation. Pure.

`kapok.dev/ready-when: "{.status.phase}=Running"` is what `kubectl wait --for=jsonpath=…` takes: a
path, and the value that it is to have; without a value, the path is to exist. The path knows names,
`['names']`, `[numbers]` and `[?(@.type=="Ready")]`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from agents.member.trees import integer_at, map_at, text_at

READY_WHEN: Final = "kapok.dev/ready-when"

_MAX_CHARACTERS: Final = 512
_MAX_VALUES: Final = 256
_EXPRESSION = re.compile(r"\s*\{(?P<path>[^{}]*)\}\s*(?:==?(?P<value>.*))?", re.DOTALL)
_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,252})"
    r"|\['(?P<quoted>[^']{1,253})'\]"
    r"|\[(?P<index>[0-9]{1,4})\]"
    r"""|\[\?\(@\.(?P<key>[A-Za-z0-9_-]{1,253})\s*==\s*["'](?P<text>[^"']{0,253})["']\)\]"""
)


def find_unready(tree: Mapping[str, Any]) -> str | None:
    """Why an object is not ready by its annotation; "" when it is, None when it states nothing."""
    expression = text_at(map_at(tree, "metadata", "annotations"), READY_WHEN)
    if not expression:
        return None
    parsed = _parse(expression)
    if parsed is None:
        return (
            f"{READY_WHEN} cannot be read: {expression[:100]!r}; write a path and a value, such as"
            " {.status.phase}=Running"
        )
    steps, wanted = parsed
    generation = integer_at(map_at(tree, "metadata"), "generation", 0)
    if integer_at(map_at(tree, "status"), "observedGeneration", generation) < generation:
        return "its controller has not seen the newest change"
    found = [_as_text(each) for each in _values_at(tree, steps)]
    if wanted is None:
        return "" if found else f"{expression} is not there yet"
    if wanted in found:
        return ""
    present = f"it is {found[0][:100]}" if found else "it is not there"
    return f"{expression} is not so yet: {present}"


def _parse(expression: str) -> tuple[list[re.Match[str]], str | None] | None:
    match = _EXPRESSION.fullmatch(expression)
    if match is None or len(expression) > _MAX_CHARACTERS:
        return None
    path, at, steps = match["path"].strip(), 0, []
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        steps.append(step)
        at = step.end()
    value = match["value"]
    return (steps, None if value is None else value.strip().strip("\"'")) if steps else None


def _values_at(tree: Mapping[str, Any], steps: list[re.Match[str]]) -> list[Any]:
    values: list[Any] = [tree]
    for step in steps:
        values = [found for each in values for found in _step_into(each, step)][:_MAX_VALUES]
    return values


def _step_into(value: object, step: re.Match[str]) -> list[Any]:
    if name := step["name"] or step["quoted"]:
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return []
    if step["index"]:
        return value[int(step["index"]) :][:1]
    key, text = step["key"], step["text"]
    return [each for each in value if isinstance(each, dict) and _as_text(each.get(key)) == text]


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
