"""Checks values of settings against their types, and reports every problem at once.

A group of settings is a msgspec struct whose field types carry range and unit as
`Annotated[float, msgspec.Meta(...)]`; the helpers below write such types. Each problem is a
`SettingFinding`: the setting, what is wrong, and what to write instead. Nothing here reads a file.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

import msgspec

Severity = Literal["error", "warning"]

_LONGEST_SHOWN = 60
_DAY_SECONDS = 86_400
_YEAR_SECONDS = 366 * _DAY_SECONDS

HostName: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
]
"""A host name or IPv4 address, without scheme and port."""

IpAddress: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([0-9.]{7,15}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
        max_length=45,
        description="an IP address",
    ),
]
"""An IPv4 or IPv6 address, as far as a pattern can say."""

PauseSeconds: TypeAlias = Annotated[
    float, msgspec.Meta(ge=0.01, le=_DAY_SECONDS, extra={"unit": "seconds"})
]
"""A pause or an interval: never 0, which would be a loop without a rest; at most a day."""

AgeSeconds: TypeAlias = Annotated[
    float, msgspec.Meta(ge=0.1, le=_YEAR_SECONDS, extra={"unit": "seconds"})
]
"""An age from which something counts as old; at most a year."""

WaitSeconds: TypeAlias = Annotated[
    float, msgspec.Meta(ge=0, le=_YEAR_SECONDS, extra={"unit": "seconds"})
]
"""A time to wait; 0 is allowed, and the setting says what it means."""

RatioSetting: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1, extra={"unit": "ratio"})]
"""A share, from 0 to 1."""

RateSetting: TypeAlias = Annotated[
    float, msgspec.Meta(ge=0.001, le=1_000_000, extra={"unit": "per second"})
]
"""A rate: never 0, which would be for ever."""

Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65_535, extra={"unit": "TCP port"})]
"""A TCP port; 0 means that one is chosen."""


class SettingFinding(msgspec.Struct, frozen=True):
    """One problem of the settings.

    Attributes:
        path: the setting, such as `queue.first_backoff_seconds`; empty: the file as a whole.
        severity: "error": Kapok does not start with it; "warning": it does nothing, or little.
        what: what is wrong.
        instead: what to write.
    """

    path: str
    severity: Severity
    what: str
    instead: str

    @property
    def line(self) -> str:
        """The finding on one line."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.what}; {self.instead}"


def check_group(
    raw: Mapping[Any, Any], group: type[msgspec.Struct], prefix: str = ""
) -> Iterator[SettingFinding]:
    """The problems of each setting of a group, one by one.

    Args:
        raw: the decoded map.
        group: the struct that it is to become.
        prefix: path of the group with a point at its end; empty: the whole.
    """
    fields = {field.name: field for field in msgspec.structs.fields(group)}
    for key, value in raw.items():
        path = f"{prefix}{_shown_key(key)}"
        if key not in fields:
            yield SettingFinding(
                path, "error", "no such setting", _nearest(str(key), fields, prefix)
            )
            continue
        expected = fields[key].type
        if _is_group(expected):
            if isinstance(value, Mapping):
                yield from check_group(value, expected, f"{path}.")
            else:
                known = ", ".join(one.name for one in msgspec.structs.fields(expected))
                what = f"expected a map of settings, not {_shown(value)}"
                yield SettingFinding(path, "error", what, f"its settings are {known}")
        else:
            yield from _check_value(value, expected, path, fields[key].default)


def _check_value(
    value: object,
    expected: Any,  # noqa: ANN401 - a type
    path: str,
    default: object,
) -> Iterator[SettingFinding]:
    # A comparison with NaN is false, so no bound of the type refuses it.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = not is_number or _is_finite(value)
    if is_finite:
        try:
            msgspec.convert(value, expected)
        except (msgspec.ValidationError, OverflowError):
            pass
        else:
            return
    what = f"{_shown_value(value, expected)} is not {describe_type(expected)}"
    hint = _nearest_word(value, expected)
    yield SettingFinding(path, "error", what, hint or f"the default is {_shown(default)}")


def describe_type(expected: Any) -> str:  # noqa: ANN401 - a type
    """What a setting takes, in words: type, range and unit."""
    meta = next((one for one in get_args(expected)[1:] if isinstance(one, msgspec.Meta)), None)
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, get_args(expected)))}"
    base = get_args(expected)[0] if meta else expected
    if get_origin(base) is tuple:
        return "a list of texts" if meta is None else f"a list of {meta.description or 'texts'}"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    text = words.get(base, str(base))
    if meta is None:
        return text
    unit = (meta.extra or {}).get("unit")
    if base in (int, float):
        text += f" from {meta.ge} to {meta.le}"
    if meta.description:
        text += f" ({meta.description})"
    return f"{text} ({unit})" if unit else text


def each_setting(group: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and type of every setting, for tests and documents."""
    for field in msgspec.structs.fields(group):
        if _is_group(field.type):
            yield from each_setting(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.type


def _is_group(expected: object) -> bool:
    return isinstance(expected, type) and issubclass(expected, msgspec.Struct)


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]  # a number, by its caller
    except OverflowError:
        return False


def _nearest(name: str, known: Iterable[str], prefix: str) -> str:
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, n=1)
    return f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"


def _nearest_word(value: object, expected: object) -> str:
    if get_origin(expected) is not Literal:
        return ""
    near = difflib.get_close_matches(str(value).upper(), map(str, get_args(expected)), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _shown_value(value: object, expected: object) -> str:
    """The value; of a setting that may hold a secret only that there is one."""
    metas = [one for one in get_args(expected)[1:] if isinstance(one, msgspec.Meta)]
    is_secret = any((one.extra or {}).get("secret") for one in metas)
    return "what is written" if is_secret else _shown(value)


def _shown_key(key: object) -> str:
    text = str(key)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
