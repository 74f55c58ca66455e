"""Writes an object as YAML for people: as other readers understand it, and nothing hidden."""

from typing import Any

import yaml

from scheduler.hub.schema.yaml_writer import TextDumper
from scheduler.runtime.printable import printable

_WIDTH = 1_000_000
"""No line is folded: a folded text is hard to compare with its source."""


def format_object_as_yaml(value: dict[str, Any]) -> str:
    """A value as block style YAML, in its own order of keys.

    Hidden characters are written as escapes, which mean the same characters to a reader.
    """
    text = _dump(value, is_unicode=True)
    if printable(text, keep_newlines=True) != text:
        text = _dump(value, is_unicode=False)
    return text


def _dump(value: dict[str, Any], *, is_unicode: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=TextDumper, sort_keys=False, allow_unicode=is_unicode, width=_WIDTH
    )
    return text
