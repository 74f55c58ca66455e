"""What a YAML scalar means to Kubernetes: kubectl and the API server read YAML as JSON.

They use sigs.k8s.io/yaml, which follows go-yaml v2 (`resolve.go`): the names of YAML 1.1 for true,
false and null, whole numbers with the prefixes of Go (`0x`, `0o`, `0b`, and `0` for octal), no
numbers to base 60 (`12:30` is text), no timestamps, and `=` is text. A key is text in JSON: that of
a boolean or number is its JSON text, and null is no key.

PyYAML follows YAML 1.1 in all of these: only its parser is used, this module gives the values.
"""

import base64
import binascii
import math
import re

from scheduler.hub.schema.json_types import Json

TAG_PREFIX = "tag:yaml.org,2002:"
_TEXT_TAG = f"{TAG_PREFIX}str"
_BINARY_TAG = f"{TAG_PREFIX}binary"
_NUMBER_TAGS = {f"{TAG_PREFIX}int": "int", f"{TAG_PREFIX}float": "float"}
_RESOLVED_TAGS: dict[str, type] = {f"{TAG_PREFIX}bool": bool, f"{TAG_PREFIX}null": type(None)}
_TEXT_LIKE_TAGS = frozenset(
    {"!", _TEXT_TAG, *(f"{TAG_PREFIX}{name}" for name in ("timestamp", "value", "merge"))}
)

_NAMED: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), True),
    **dict.fromkeys(("on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_FINITE = frozenset(
    sign + name
    for sign in ("", "+", "-")
    for name in (".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN")
    if not (sign and name.lower() == ".nan")
)
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NUMBER_STARTS = frozenset("+-.0123456789")
_MAX_NUMBER_LENGTH = 400
_INT64 = range(-(2**63), 2**63)
_UINT64_END = 2**64
_MAX_EXACT_FLOAT = 1e21
"""encoding/json of Go writes a float below it without an exponent: a whole one reads as integer."""


class YamlScalarError(ValueError):
    """A scalar stands for no JSON value; the message says why."""


def resolve_scalar(text: str, tag: str | None, *, is_plain: bool) -> Json:
    """The JSON value of a scalar.

    Args:
        text: the scalar's text.
        tag: the tag that the document writes, in its long form; None for none.
        is_plain: whether the text stands without quotes.

    Raises:
        YamlScalarError: the tag is unknown, its text is not of its type, or a number is infinite.
    """
    if tag is None:
        return _resolve_plain(text) if is_plain else text
    if tag in _TEXT_LIKE_TAGS:
        return text
    if tag == _BINARY_TAG:
        return _decode_binary(text)
    value = _resolve_plain(text)
    if tag in _NUMBER_TAGS and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if tag in _RESOLVED_TAGS and isinstance(value, _RESOLVED_TAGS[tag]):
        return value
    known = tag in _NUMBER_TAGS or tag in _RESOLVED_TAGS
    short = tag.replace(TAG_PREFIX, "!!")[:80]
    raise YamlScalarError(
        f"cannot decode {text[:80]!r} as {short}"
        if known
        else f"the tag {short!r} is not supported"
    )


def key_text(value: Json) -> str:
    """The key of a JSON object that a scalar stands for.

    Raises:
        YamlScalarError: null is no key.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise YamlScalarError("null is no key; write the key in quotes, as in '~': value")


def _resolve_plain(text: str) -> Json:
    if text in _NAMED:
        return _NAMED[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if text in _NOT_FINITE:
        raise YamlScalarError(f"json: unsupported value: {text}")
    # Go reads underscores as grouping, but not right after a leading point.
    plain = text if text.startswith("._") else text.replace("_", "")
    is_integer = _INTEGER.match(plain) is not None
    if not is_integer and _FLOAT.match(plain) is None:
        return text
    if len(plain) > _MAX_NUMBER_LENGTH:
        raise YamlScalarError("a number is out of range")
    found: Json = _integer_of(plain) if is_integer else _float_of(plain)
    # Go cannot read a number beyond the range of its types: it stays text.
    return text if found is None else found


def _integer_of(plain: str) -> int | float | None:
    digits = plain.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits.startswith("0") else 10)
    size = int(digits, 0) if digits[:2] in {"0x", "0b", "0o"} else int(digits, base)
    value = -size if plain.startswith("-") else size
    if value in _INT64:
        return value
    if plain[0] not in "+-" and value < _UINT64_END:
        return float(value)
    # Beyond 64 bits Go tries a float, which knows no prefix: octal digits count as decimal ones.
    return _float_of(plain) if digits.isdecimal() else None


def _float_of(plain: str) -> int | float | None:
    value = float(plain)
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < _MAX_EXACT_FLOAT and int(value) in _INT64:
        return int(value)
    return value


def _decode_binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise YamlScalarError("!!binary holds no base64 of UTF-8 text") from None
