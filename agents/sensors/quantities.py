"""Kubernetes quantities, exactly (apimachinery, resource.Quantity).

Amounts are whole milli-units, so that no float rounding makes a node look fuller or emptier than it
is. Requests are rounded up and capacities down, so that free capacity is never overstated.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

MILLI: Final = 1000

_QUANTITY_PATTERN = re.compile(
    r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,3})"
)
_MAX_CHARACTERS: Final = 64
_DECIMAL: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SCALES: Final[dict[str, Fraction]] = {
    suffix: Fraction(1000) ** (place - 3) for place, suffix in enumerate(_DECIMAL)
} | {suffix: Fraction(1024) ** (place + 1) for place, suffix in enumerate(_BINARY)}


class QuantityError(ValueError):
    """A text is not a valid quantity; the message quotes it."""


@lru_cache(maxsize=4096, typed=True)
def parse_quantity(text: str | float) -> Fraction:
    """The value of a quantity such as `500m`, `1Gi`, `1e9`, `0.5` or 3.

    Raises:
        QuantityError: it is not a valid quantity.
    """
    word = str(text)
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


@lru_cache(maxsize=4096, typed=True)
def ceil_milli(text: str | float) -> int:
    """A quantity in whole milli-units, rounded up, for requests."""
    value = parse_quantity(text) * MILLI
    return -((-value.numerator) // value.denominator)


@lru_cache(maxsize=4096, typed=True)
def floor_milli(text: str | float) -> int:
    """A quantity in whole milli-units, rounded down, for capacities."""
    value = parse_quantity(text) * MILLI
    return value.numerator // value.denominator


def format_quantity(resource: str, milli: int) -> str | int:
    """Formats a free amount for a report, rounded down to the unit of the resource.

    CPU in cores or millicores (`7`, `7500m`), memory and storage in bytes as text, all other
    resources as whole counts.
    """
    if resource == "cpu":
        return f"{milli}m" if milli % MILLI else str(milli // MILLI)
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return str(milli // MILLI)
    return milli // MILLI
