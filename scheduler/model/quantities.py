"""Kubernetes quantities, read exactly.

Grammar and suffixes are those of apimachinery's `resource.Quantity`: a decimal number with a binary
(Ki … Ei), decimal (n, u, m, k … E) or exponent suffix. Requests are rounded up and free capacity is
rounded down, so that rounding never creates capacity.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from typing import Annotated

import msgspec
from msgspec import Meta

_QUANTITY = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)
_DECIMAL_EXPONENTS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SHIFTS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MAX_TEXT_LENGTH = 64
_MAX_CACHED_TEXTS = 32_768
MAX_AMOUNT = 2**62
"""Amounts from here on are refused: no site has them, and sums stay within 64 bits."""

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"
GPU = "nvidia.com/gpu"
GPU_MILLI = "kapok.dev/gpu-milli"
GPU_CARDS = "kapok.dev/gpu-cards"
MILLI_PER_UNIT = 1000


class NotAQuantity(ValueError):
    """A value is not a quantity, or not one that can be used here."""


def parse_quantity(written: float | str) -> Fraction:
    """Reads a quantity exactly.

    Args:
        written: the value in JSON or YAML: `"1Gi"`, `500`, `0.5`, `"1e9"`.

    Raises:
        NotAQuantity: the value is not a quantity; the message says what to write.
    """
    if isinstance(written, int) and not isinstance(written, bool):
        return Fraction(written)
    text = _as_text(written)
    form = _QUANTITY.fullmatch(text) if len(text) <= _MAX_TEXT_LENGTH else None
    if form is None:
        raise NotAQuantity(f"{text[:40]!r} is not a quantity; write 2, 500m, 1.5, 1Gi or 1e9")
    sign, number, suffix = form.groups()
    value = Fraction(number.rstrip(".") if number.endswith(".") else number) * _suffix_factor(
        suffix or ""
    )
    return -value if sign == "-" else value


def _as_text(written: object) -> str:
    if isinstance(written, str):
        return written
    if not isinstance(written, float | int) or isinstance(written, bool) or not isfinite(written):
        raise NotAQuantity(f"{written!r} is not a quantity; write 2, 500m, 1.5, 1Gi or 1e9")
    return repr(written)


def _suffix_factor(suffix: str) -> Fraction:
    if suffix in _BINARY_SHIFTS:
        return Fraction(2 ** _BINARY_SHIFTS[suffix])
    if suffix in _DECIMAL_EXPONENTS:
        return Fraction(10) ** _DECIMAL_EXPONENTS[suffix]
    return Fraction(10) ** int(suffix[1:]) if suffix else Fraction(1)


def requested_amount(resource: str, written: float | str) -> int:
    """A request, rounded up: millicores for cpu, whole units (bytes, cards) for all else.

    Raises:
        NotAQuantity: the value is not a quantity, negative, or `MAX_AMOUNT` or more.
    """
    if type(written) is str:
        quick = _parse_common_form(resource, written)
        if quick is not None and quick < MAX_AMOUNT:
            return quick
    value = _checked_amount(resource, written)
    return -((-value.numerator) // value.denominator)  # division rounded up


def free_amount(resource: str, written: float | str) -> int:
    """A free amount, rounded down; negative counts as 0. Units as in `requested_amount`.

    Raises:
        NotAQuantity: the value is not a quantity, or `MAX_AMOUNT` or more.
    """
    if type(written) is int and 0 <= written < MAX_AMOUNT // MILLI_PER_UNIT:
        return written * MILLI_PER_UNIT if resource == CPU else written
    if type(written) is str:
        quick = _parse_common_form(resource, written)
        if quick is not None and quick < MAX_AMOUNT:
            return quick
        amount = _parse_free_text(resource == CPU, written)
    else:
        amount = _free_amount_of(resource == CPU, written)
    if amount >= MAX_AMOUNT:
        raise NotAQuantity(f"{resource}: {written!r} is too large; no machine has that much")
    return max(0, amount)


def _free_amount_of(is_cpu: bool, written: float | str) -> int:  # noqa: FBT001 - private
    value = parse_quantity(written) * (MILLI_PER_UNIT if is_cpu else 1)
    return value.numerator // value.denominator


_parse_free_text = lru_cache(maxsize=_MAX_CACHED_TEXTS)(_free_amount_of)
"""For texts of uncommon forms: a report is read at the edge, and once more by the fleet."""


def _parse_common_form(resource: str, text: str) -> int | None:
    """Reads `1500m` of cpu, plain integers, and integers with a binary suffix; None for others."""
    if len(text) > _MAX_COMMON_FORM_LENGTH or not text.isascii():
        return None
    if text.isdigit():
        return int(text) * MILLI_PER_UNIT if resource == CPU else int(text)
    if resource == CPU:
        return int(text[:-1]) if text[-1:] == "m" and text[:-1].isdigit() else None
    shift = _BINARY_SHIFTS.get(text[-2:])
    return int(text[:-2]) << shift if shift is not None and text[:-2].isdigit() else None


_MAX_COMMON_FORM_LENGTH = 9


def _checked_amount(resource: str, written: float | str) -> Fraction:
    value = parse_quantity(written) * (MILLI_PER_UNIT if resource == CPU else 1)
    if value < 0:
        raise NotAQuantity(f"{resource}: {written!r} is negative; write 0 or more")
    if value >= MAX_AMOUNT:
        raise NotAQuantity(f"{resource}: {written!r} is too large; no machine has that much")
    return value


def requests_of(written: Mapping[str, float | str]) -> dict[str, int]:
    """Reads requests by resource; units as in `requested_amount`. Zeros are left out.

    Raises:
        NotAQuantity: an entry is not a quantity; the message begins with its name.
    """
    read = {name: _read_named(requested_amount, name, value) for name, value in written.items()}
    return {name: amount for name, amount in sorted(read.items()) if amount > 0}


def refuse_shares(written: Mapping[str, float | str]) -> None:
    """Refuses a part of what pods get in whole: cards and other extended resources.

    A pod that asks for a part of one is refused by its cluster.

    Raises:
        NotAQuantity: the message names the resource and what to write.
    """
    for name, value in written.items():
        if "/" in name and parse_quantity(value).denominator != 1:
            way = f"; a share of a card is {GPU_MILLI}: N, in thousandths" if name == GPU else ""
            raise NotAQuantity(f"{name}: {value} is no whole number, and pods get it in whole{way}")


def free_amounts(resource: str, written: Sequence[float | str]) -> list[int]:
    """Reads the free capacity of many nodes; units as in `free_amount`.

    Raises:
        NotAQuantity: one of them is not a quantity.
    """
    kinds = set(map(type, written))
    if kinds == {str}:
        numbers = _parse_common_texts(resource, written)  # type: ignore[arg-type] # as was just seen
        if len(numbers) == len(written):
            return numbers
    elif resource != CPU and are_plain_integers(written):
        return list(written)  # type: ignore[arg-type] # integers, as was just seen
    return [free_amount(resource, value) for value in written]


def are_plain_integers(written: Sequence[float | str]) -> bool:
    """Whether all are integers that `free_amount` returns unchanged (for resources but cpu)."""
    try:
        msgspec.convert((written,), _PlainIntegers)
    except msgspec.ValidationError:
        return False
    return True


def _parse_common_texts(resource: str, texts: Sequence[str]) -> list[int]:
    """Reads many amounts in the form of agents: `1500m` of cpu, whole numbers for all else.

    Returns an empty list if any has another form.
    """
    joined = ",".join(texts)
    if resource == CPU:
        numbers = joined.replace("m", "") if _MILLICORES.fullmatch(joined) else ""
    else:
        numbers = joined if _WHOLE_NUMBERS.fullmatch(joined) else ""
    return list(map(int, numbers.split(","))) if numbers else []


class _PlainIntegers(msgspec.Struct, array_like=True):
    """Integers in range. A struct, because msgspec caches the type information of structs only."""

    amounts: list[Annotated[int, Meta(ge=0, lt=MAX_AMOUNT)]]


_MILLICORES = re.compile(r"[0-9]{1,15}m(?:,[0-9]{1,15}m)*")
_WHOLE_NUMBERS = re.compile(r"[0-9]{1,18}(?:,[0-9]{1,18})*")
"""The number of digits is limited, so that no amount reaches `MAX_AMOUNT`."""


def _read_named(reader: Callable[[str, float | str], int], name: str, value: float | str) -> int:
    try:
        return reader(name, value)
    except NotAQuantity as error:
        raise NotAQuantity(with_resource_name(name, error)) from None


def with_resource_name(resource: str, error: NotAQuantity) -> str:
    """The message of an error, with the resource's name first unless it has it already."""
    message = str(error)
    return message if message.startswith(resource) else f"{resource}: {message}"


def format_amount(resource: str, amount: int) -> str:
    """Formats an amount in the units of `requested_amount` as a Kubernetes quantity."""
    if resource == CPU:
        whole, rest = divmod(amount, MILLI_PER_UNIT)
        return str(whole) if rest == 0 else f"{amount}m"
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        unit = 2 ** _BINARY_SHIFTS[suffix]
        if amount >= unit and amount % unit == 0:
            return f"{amount // unit}{suffix}"
    return str(amount)
