"""The parser of every command: what is unknown is answered by the nearest word or option."""

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")
_UNKNOWN = re.compile(r"unrecognized arguments: (\S+)")


class CommandParser(argparse.ArgumentParser):
    """argparse's parser whose errors say what was meant; parsers of subcommands are alike."""

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, with options also between those that are none, as kubectl takes them.

        argparse itself reads `get kw -n dev web` as a list that ends at `-n`.
        """
        # Subcommands, and all that follows a word, cannot be read in this way.
        takes_rest = (argparse.PARSER, argparse.REMAINDER)
        if any(action.nargs in takes_rest for action in self._get_positional_actions()):
            return self.parse_args(words)
        found, left = self.parse_known_args(words)
        return self.parse_intermixed_args(words) if left else found

    def error(self, message: str) -> NoReturn:
        """Prints usage and message, and exits with 2."""
        super().error(message + self._hint(message))

    def _hint(self, message: str) -> str:
        if choice := _CHOICE.search(message):
            word, known = choice[1], re.findall(r"'([^']*)'", choice[2]) or choice[2].split(", ")
        elif unknown := _UNKNOWN.search(message):
            word, known = unknown[1].partition("=")[0], _options_of(self)
        else:
            return ""
        near = difflib.get_close_matches(word, known, n=1)
        return f"; did you mean {near[0]}?" if near else ""


def _options_of(parser: argparse.ArgumentParser) -> list[str]:
    """Options of a parser and of its subcommands."""
    found: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list
        choices = action.choices
        if isinstance(choices, dict):
            for one in choices.values():
                found += _options_of(one)
        elif action.help != argparse.SUPPRESS:
            found += action.option_strings
    return found
