"""The JSONPath of printer columns, such as `.status.conditions[?(@.type=="Ready")].status`.

It supports what `additionalPrinterColumns` use in practice: fields, quoted fields, indexes, `[*]`
and a comparison as a filter. Source: "JSONPath Support" of the Kubernetes documentation.
"""

import json
import re
from dataclasses import dataclass

from scheduler.apiserver.kinds.unstructured import value_at
from scheduler.hub.schema.json_types import Json

_TOKEN = re.compile(
    r"""\.(?P<field>[^.\[\]]+)
      | \['(?P<quoted>[^']+)'\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<star>\*)\]
      | \[\?\(\s*@\.(?P<path>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[\w.-]+)\s*\)\]
    """,
    re.VERBOSE,
)


class JsonPathError(ValueError):
    """The path does not parse; the message has the position."""


@dataclass(frozen=True, slots=True)
class _Step:
    field: str | None = None
    index: int | None = None
    path: str | None = None
    must_equal: bool = True
    value: Json = None

    def select(self, values: list[Json]) -> list[Json]:
        found: list[Json] = []
        for value in values:
            found.extend(self._select_from(value))
        return found

    def _select_from(self, value: Json) -> list[Json]:
        if self.field is not None:
            return [value[self.field]] if isinstance(value, dict) and self.field in value else []
        if isinstance(value, dict):
            value = list(value.values())
        if not isinstance(value, list):
            return []
        if self.index is not None:
            return value[self.index : self.index + 1 or None]
        if self.path is not None:
            return [
                item
                for item in value
                if (value_at(item, *self.path.split(".")) == self.value) == self.must_equal
            ]
        return value


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path."""

    steps: tuple[_Step, ...]

    def find(self, item: Json) -> list[Json]:
        """All values that the path selects in an object."""
        values = [item]
        for step in self.steps:
            values = step.select(values)
        return values


def parse_json_path(text: str) -> JsonPath:
    """Parses a path.

    Raises:
        JsonPathError: a part of the path is not supported; the message has it.
    """
    path = (
        text.strip().removeprefix("{").removesuffix("}").replace("\\.", "\0")
    )  # `\.` is a dot in a field
    steps = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None:
            raise JsonPathError(f"{text!r}: cannot read {path[position:]!r}")
        steps.append(_parse_step(match))
        position = match.end()
    return JsonPath(tuple(steps))


def _parse_step(match: re.Match[str]) -> _Step:
    name = match["field"] or match["quoted"]
    if name == "*" or match["star"]:
        return _Step()
    if name:
        return _Step(field=name.replace("\0", "."))
    if match["index"]:
        return _Step(index=int(match["index"]))
    raw = match["value"]
    value = raw[1:-1] if raw[0] in "\"'" else json.loads(raw)
    return _Step(path=match["path"], must_equal=match["op"] == "==", value=value)
