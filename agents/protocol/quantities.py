"""Kubernetes quantities, read exactly (apimachinery, resource.Quantity), and their bounds."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from agents.protocol.bounds import MAX_QUANTITY

MILLI: Final = 1000

_QUANTITY_PATTERN = re.compile(
    r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,2})", re.ASCII
)
_MAX_CHARACTERS: Final = 64
_DECIMAL: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SCALES: Final[dict[str, Fraction]] = {
    suffix: Fraction(1000) ** (place - 3) for place, suffix in enumerate(_DECIMAL)
} | {suffix: Fraction(1024) ** (place + 1) for place, suffix in enumerate(_BINARY)}
_COMMON_PATTERN = re.compile(r"[0-9]{1,15}m?", re.ASCII)
"""What agents write; so few digits reach no bound, whatever the resource."""


class QuantityError(ValueError):
    """A text is not a valid quantity; the message quotes it."""


@lru_cache(maxsize=4096, typed=True)
def parse_quantity(text: str | float) -> Fraction:
    """The value of a quantity such as `500m`, `1Gi`, `1e9`, `0.5` or 3.

    Raises:
        QuantityError: it is not a valid quantity.
    """
    try:
        word = str(text)
    except ValueError:  # an integer of more digits than Python prints
        raise QuantityError("a number of thousands of digits is not a quantity") from None
    match = _QUANTITY_PATTERN.fullmatch(word) if len(word) <= _MAX_CHARACTERS else None
    if match is None or isinstance(text, bool):
        raise QuantityError(
            f"{word[:_MAX_CHARACTERS]!r} is not a quantity; expected e.g. 500m, 2, 1.5, 4Gi or 1e9"
        )
    sign, digits, suffix = match.groups()
    scale = _SCALES.get(suffix)
    if scale is None:
        if suffix[0] not in "eE" or not suffix[1:]:
            raise QuantityError(f"{word!r}: {suffix!r} is not a unit; known: {', '.join(_SCALES)}")
        scale = Fraction(10) ** int(suffix[1:])
    value = Fraction(digits.rstrip(".")) * scale
    return -value if sign == "-" else value


def largest_milli(resource: str) -> int:
    """The largest amount of a resource in a message, in thousandths; quotas have prefixed names."""
    is_cpu = resource.rpartition(".")[2] == "cpu"
    return MAX_QUANTITY if is_cpu else MAX_QUANTITY * MILLI


def check_amount(resource: str, value: str | int) -> None:
    """Checks a quantity of a message: its form, and that it is from 0 to its largest amount.

    Raises:
        QuantityError: the message says what is wrong.
    """
    if type(value) is str and _COMMON_PATTERN.fullmatch(value):
        return
    amount = parse_quantity(value) * MILLI
    if not 0 <= amount <= largest_milli(resource):
        raise QuantityError(f"{str(value)[:40]!r} is not from 0 to the largest amount that exists")
