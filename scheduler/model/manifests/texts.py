"""What the JSON of manifests shows at a glance, without walking through them. Pure.

Most manifests have nothing of what a rule looks for. Searching their text says so in a few
microseconds, where visiting each value takes a hundred; only the others are walked through. Each
answer errs to the safe side: a text may seem to hold more than the manifest does, never less.
"""

import re
import unicodedata
from typing import Any

import msgspec

_STRING = re.compile(r'"([^"\\]*)"(:?)')
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_NO_LETTERS = bytes(set(range(128)) - set(b"abcdefghijklmnopqrstuvwxyz"))


def text_of(value: Any) -> bytes | None:  # noqa: ANN401 - any JSON
    """The JSON of a value; None: it cannot be written as such, so it has to be walked through."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def names_in(text: bytes) -> set[str] | None:
    """The names of all fields in a JSON text; None: some may be written with escapes."""
    if b"\\" in text:
        return None
    return {name for name, colon in _STRING.findall(text.decode()) if colon}


def is_surely_flat(text: bytes, *, max_depth: int, max_name_length: int) -> bool:
    """Whether a text nests no deeper than that, and has no longer name of a field."""
    if text.count(b"{") + text.count(b"[") > max_depth:
        return False
    if len(text) <= max_name_length:
        return True
    names = names_in(text)
    return names is not None and all(len(one) <= max_name_length for one in names)


def has_long_number(text: bytes) -> bool:
    """Whether a text may hold a number of 19 digits or more."""
    return _LONG_NUMBER.search(text) is not None


def may_hold_letters(text: bytes, word: str) -> bool:
    """Whether a text may hold the letters of a word one after the other.

    Letters are compared without case and in their compatibility form, and whatever is no letter
    is left out: some readers take `Se-cret` for the same word.

    Args:
        text: JSON.
        word: ASCII letters, small ones.
    """
    if b"\\" in text:
        return True
    if text.isascii():
        return word.encode() in text.lower().translate(None, _NO_LETTERS)
    plain = unicodedata.normalize("NFKC", text.decode()).casefold()
    return word in "".join(filter(str.isalpha, plain))


def may_hold(text: bytes, part: str) -> bool:
    """Whether a text may hold a part, in small letters, in any case."""
    if b"\\" in text:
        return True
    return part in text.decode().casefold()
