"""Writes an object as YAML that every reader understands alike, also kubectl's.

Readers differ in what they take for a number or a truth value: `1e3` is text to one and a number to
another. Texts that look like either are therefore quoted. Texts of several lines, such as files in
a ConfigMap, keep their lines.
"""

import re
from typing import Any

import yaml

from scheduler.runtime.printable import printable

_UNLIKE_ALL_ELSE = re.compile(r"[A-Za-z_/][^\n]*")
"""No reader takes such a text for a number; those that it may take for a word follow."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_WIDTH = 1_000_000
"""No line is folded: a folded text is hard to compare with its source."""


class _TextDumper(yaml.SafeDumper):
    """Quotes what readers may take for something else, and writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None
        if "\n" in text:
            style = "|"
        elif text.casefold() in _WORDS or not _UNLIKE_ALL_ELSE.fullmatch(text):
            style = '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_TextDumper.add_representer(str, _TextDumper.represent_text)


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
        value, Dumper=_TextDumper, sort_keys=False, allow_unicode=is_unicode, width=_WIDTH
    )
    return text
