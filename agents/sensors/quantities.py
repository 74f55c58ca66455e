"""Kubernetes quantities, exactly (apimachinery, resource.Quantity).

Amounts are whole milli-units, so that no float rounding makes a node look fuller or emptier than it
is. Requests are rounded up and capacities down, so that free capacity is never overstated.
"""

from functools import lru_cache

from agents.protocol.quantities import MILLI, QuantityError, largest_milli, parse_quantity

__all__ = [
    "MILLI",
    "QuantityError",
    "ceil_milli",
    "floor_milli",
    "format_quantity",
    "parse_quantity",
]


def ceil_milli(text: object) -> int:
    """A quantity in whole milli-units, rounded up, for requests.

    Raises:
        QuantityError: it is not a valid quantity, or not even text or a number.
    """
    return _ceil_milli(_checked(text))


def floor_milli(text: object) -> int:
    """A quantity in whole milli-units, rounded down, for capacities; raises like `ceil_milli`."""
    return _floor_milli(_checked(text))


def _checked(text: object) -> str | float:
    if not isinstance(text, str | int | float):
        raise QuantityError(f"{type(text).__name__} is not a quantity")
    return text


@lru_cache(maxsize=4096, typed=True)
def _ceil_milli(text: str | float) -> int:
    value = parse_quantity(text) * MILLI
    return -((-value.numerator) // value.denominator)


@lru_cache(maxsize=4096, typed=True)
def _floor_milli(text: str | float) -> int:
    value = parse_quantity(text) * MILLI
    return value.numerator // value.denominator


def format_quantity(resource: str, milli: int) -> str | int:
    """Formats an amount for a report, within the bounds of messages.

    It is rounded down to the unit of the resource. A node that claims more than a message can hold
    has as much as it can hold.

    CPU in cores or millicores (`7`, `7500m`), memory and storage in bytes as text, all other
    resources as whole counts.
    """
    milli = min(max(milli, 0), largest_milli(resource))
    if resource == "cpu":
        return f"{milli}m" if milli % MILLI else str(milli // MILLI)
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return str(milli // MILLI)
    return milli // MILLI
