"""Reads one YAML document as JSON values, from the events of the parser.

libyaml parses where PyYAML has it. Values are built from events without recursion, so that depth is
bounded before anything nests; aliases are refused, because nested ones can expand to an exponential
size. `scheduler.hub.schema.yaml_scalars` says what a scalar means.
"""

from dataclasses import dataclass, field

import yaml

from scheduler.apiserver.base.value_bounds import (
    MAX_BODY_VALUES,
    MAX_DEPTH,
    MAX_KEY_LENGTH,
    MAX_SHOWN_PATH_LENGTH,
    key_too_long,
    too_many_values,
)
from scheduler.hub.schema.json_types import Json
from scheduler.hub.schema.yaml_scalars import (
    TAG_PREFIX,
    YamlScalarError,
    key_text,
    resolve_scalar,
)
from scheduler.runtime.clock import yield_thread

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTAINER_TAGS = frozenset({None, "!", f"{TAG_PREFIX}map", f"{TAG_PREFIX}seq"})
_EVENTS_PER_YIELD = 500
_MAX_DUPLICATE_KEYS = 1_000


class NotYamlValue(ValueError):
    """The text is not one YAML document with JSON values; the message says why."""


@dataclass(slots=True)
class _Container:
    """A map or list whose end has not come yet."""

    value: dict[str, Json] | list[Json]
    key: str | None = None
    """The key that waits for its value, in a map."""
    last_key: str = ""
    """The newest key of a map."""

    @property
    def step(self) -> str:
        """The path from this container to its newest value."""
        return f"[{len(self.value) - 1}]" if isinstance(self.value, list) else f".{self.last_key}"


@dataclass(slots=True)
class _Builder:
    stack: list[_Container] = field(default_factory=list)
    duplicate_keys: list[str] = field(default_factory=list)
    result: Json = None
    document_count: int = 0
    value_count: int = 0

    def add(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add_value(_scalar_of(event), is_key_text=True)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            raise NotYamlValue("aliases are not supported; repeat the value instead")
        elif isinstance(event, yaml.DocumentStartEvent):
            self.document_count += 1
            if self.document_count > 1:
                raise NotYamlValue("expected a single document in the body")

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag not in _CONTAINER_TAGS:
            raise NotYamlValue(f"the tag {str(event.tag)[:80]!r} is not supported")
        if len(self.stack) >= MAX_DEPTH:
            raise NotYamlValue(f"the body is nested deeper than {MAX_DEPTH} levels")
        opened: dict[str, Json] | list[Json] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        self._add_value(opened, is_key_text=False)
        self.stack.append(_Container(opened))

    def _add_value(self, value: Json, *, is_key_text: bool) -> None:
        """Adds a key or a value to the innermost container."""
        self.value_count += 1
        if self.value_count > 2 * MAX_BODY_VALUES:  # keys count here too
            raise too_many_values()
        if not self.stack:
            self.result = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if top.key is None:
            if not is_key_text:
                raise NotYamlValue("a key of a map is no scalar")
            self._start_entry(top, key_text(value))
            return
        top.value[top.key] = value
        top.last_key, top.key = top.key, None

    def _start_entry(self, top: _Container, key: str) -> None:
        if key == "<<":
            raise NotYamlValue("merge keys are not supported; repeat the values instead")
        if len(key) > MAX_KEY_LENGTH:
            raise NotYamlValue(key_too_long())
        if key in top.value and len(self.duplicate_keys) < _MAX_DUPLICATE_KEYS:
            steps = [container.step for container in self.stack[:-1]]
            path = "".join([*steps, f".{key}"]).removeprefix(".")
            self.duplicate_keys.append(path[:MAX_SHOWN_PATH_LENGTH])
        top.key = key


def _scalar_of(event: yaml.ScalarEvent) -> Json:
    text = str(event.value)
    if not text.isascii():
        _check_encodable(text)
    return resolve_scalar(text, event.tag, is_plain=bool(event.implicit[0]))


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotYamlValue("a text holds half of a surrogate pair") from None


def load_yaml(data: bytes) -> tuple[Json, list[str]]:
    """Reads a document; returns its value and the paths of keys that occur twice.

    Raises:
        NotYamlValue: the bytes are no such document, or it exceeds a bound.
    """
    builder = _Builder()
    try:
        for number, event in enumerate(yaml.parse(data, Loader=_PARSER), start=1):
            builder.add(event)
            if number % _EVENTS_PER_YIELD == 0:
                yield_thread()
    except NotYamlValue:
        raise
    except (yaml.YAMLError, YamlScalarError, ValueError, OverflowError) as error:
        raise NotYamlValue(str(error)[:300]) from None
    return builder.result, builder.duplicate_keys
