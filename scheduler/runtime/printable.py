r"""Makes text that came from elsewhere safe to print: on a terminal, in a table, in a log line.

An order's message, a name or an error may hold characters that move the cursor, begin a line that
looks like another row, or reverse the order of what is read (Unicode TR 36 and TR 9; the "Trojan
Source" paper, Boucher and Anderson 2021). They are shown as escapes, such as `\x1b` or `\u202e`.
Chinese text and every other visible character stays as it is.
"""

import json
import unicodedata
from typing import Final

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (bidirectional marks, zero width), surrogate, line and paragraph separator."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Zero width non-joiner and joiner: some scripts and emoji are not readable without them."""


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """The text with every hidden character written as an escape.

    Args:
        text: the text, from a message, an object, a file or an error.
        keep_newlines: whether line feeds stay, for text of our own that has lines.
    """
    if text.isprintable():  # quick, and true for nearly every text
        return text
    return "".join(
        one
        if (one == "\n" and keep_newlines) or one in _JOINERS or not _is_hidden(one)
        else _escape(one)
        for one in text
    )


def printable_json(text: str) -> str:
    """JSON text with every hidden character written as an escape of JSON, which means the same.

    Args:
        text: JSON on one line; hidden characters are only in its strings.
    """
    if text.isprintable():
        return text
    return "".join(one if printable(one) == one else json.dumps(one)[1:-1] for one in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 - two digits suffice
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four digits suffice
