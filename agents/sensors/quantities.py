"""Kubernetes quantities, exactly (apimachinery, resource.Quantity).

Whole milli-units inside, so that no float ever rounds a node fuller or emptier than it is. Requests
are rounded up and capacities down: what does not divide is never given away twice.
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
    """Not a quantity; the message shows it."""


@lru_cache(maxsize=4096, typed=True)
def parse_quantity(text: str | float) -> Fraction:
    """The value of a quantity, as `500m`, `1Gi`, `1e9`, `0.5`, 3.

    Raises:
        QuantityError: it is none.
    """
    word = str(text)
    match = _QUANTITY_PATTERN.fullmatch(word) if len(word) <= _MAX_CHARACTERS else None
    if match is None or isinstance(text, bool):
        raise QuantityError(
            f"{word[:_MAX_CHARACTERS]!r} is no quantity; write 500m, 2, 1.5, 4Gi or 1e9"
        )
    sign, digits, suffix = match.groups()
    scale = _SCALES.get(suffix)
    if scale is None:
        if suffix[0] not in "eE" or not suffix[1:]:
            raise QuantityError(f"{word!r}: {suffix!r} is no unit; known: {', '.join(_SCALES)}")
        scale = Fraction(10) ** int(suffix[1:])
    value = Fraction(digits.rstrip(".")) * scale
    return -value if sign == "-" else value


@lru_cache(maxsize=4096, typed=True)
def ceil_milli(text: str | float) -> int:
    """Whole milli-units, rounded up: for requests."""
    value = parse_quantity(text) * MILLI
    return -((-value.numerator) // value.denominator)


@lru_cache(maxsize=4096, typed=True)
def floor_milli(text: str | float) -> int:
    """Whole milli-units, rounded down: for capacities."""
    value = parse_quantity(text) * MILLI
    return value.numerator // value.denominator


def format_quantity(resource: str, milli: int) -> str | int:
    """A free amount as a report has it; rounded down to what the resource is counted in.

    cpu in millicores (`7500m`, `7`), memory and storage in bytes as text, all others as whole
    counts.
    """
    if resource == "cpu":
        return f"{milli}m" if milli % MILLI else str(milli // MILLI)
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return str(milli // MILLI)
    return milli // MILLI
