"""Writes YAML that every reader understands alike, also kubectl's.

Readers differ in what they take for a number or a truth value: `1e3` is text to one and a number to
another. Texts that look like either are therefore quoted. Texts of several lines, such as files in
a ConfigMap, keep their lines.
"""

import re

import yaml

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
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


TextDumper.add_representer(str, TextDumper.represent_text)
