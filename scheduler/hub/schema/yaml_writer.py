"""Writes YAML that every reader understands alike, also kubectl's.

Readers differ in what they take for a number or a truth value: `1e3` is text to one and a number to
another. Texts that look like either are therefore quoted. Texts of several lines, such as files in
a ConfigMap, keep their lines.

The YAML library writes a document in one call that gives way to no other thread. `dump_yaml`
therefore writes a large object in parts, which are put together by their indentation.
"""

import re
from collections.abc import Iterator

import yaml

from scheduler.hub.schema.json_types import Json

_UNLIKE_ALL_ELSE = re.compile(r"[A-Za-z_/][^\n]*")
"""No reader takes such a text for a number; those that it may take for a word follow."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class TextDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # one of two
    """Quotes what readers may take for something else, and writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """No value is written as an alias of an equal one before it."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text, in the style that keeps it a text."""
        style = None
        if "\n" in text:
            style = "|"
        elif text.casefold() in _WORDS or not _UNLIKE_ALL_ELSE.fullmatch(text):
            style = '"'
        node: yaml.ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", text, style=style)
        return node


TextDumper.add_representer(str, TextDumper.represent_text)

_MAX_VALUES = 2_000
"""The most values that one call writes, about 10 ms."""


def dump_yaml(value: Json) -> bytes:
    """A value as block style YAML with sorted keys."""
    return "\n".join(_lines(value)).encode() + b"\n"


def _lines(value: Json) -> Iterator[str]:
    if not _is_large(value):
        yield from _dump_lines(value)
    elif isinstance(value, dict):
        yield from _map_lines(value)
    else:
        yield from _list_lines(value)


def _dump_lines(value: Json) -> list[str]:
    text: str = yaml.dump(value, Dumper=TextDumper, allow_unicode=True)
    return text.rstrip("\n").split("\n")


def _map_lines(value: dict[str, Json]) -> Iterator[str]:
    small: dict[str, Json] = {}
    for key in sorted(value):
        below = value[key]
        if not _is_large(below):
            small[key] = below
            if len(small) < _MAX_VALUES:
                continue
        if small:
            yield from _dump_lines(small)
            small = {}
        if _is_large(below):
            yield from (line.removesuffix(" 0") for line in _dump_lines({key: 0}))
            indent = "  " if isinstance(below, dict) else ""
            yield from (indent + line for line in _lines(below))
    if small:
        yield from _dump_lines(small)


def _list_lines(value: list[Json]) -> Iterator[str]:
    small: list[Json] = []
    for below in value:
        if not _is_large(below):
            small.append(below)
            if len(small) < _MAX_VALUES:
                continue
        if small:
            yield from _dump_lines(small)
            small = []
        if _is_large(below):
            for number, line in enumerate(_lines(below)):
                yield ("  " if number else "- ") + line
    if small:
        yield from _dump_lines(small)


def _is_large(value: Json) -> bool:
    """Whether a value has more values in it than one call writes."""
    left = _MAX_VALUES
    stack = [value]
    while stack:
        children = stack.pop()
        if not isinstance(children, dict | list):
            continue
        left -= len(children)
        if left < 0:
            return True
        stack.extend(children.values() if isinstance(children, dict) else children)
    return False
