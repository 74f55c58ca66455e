"""Canonical form of quantities: `0.5` becomes `500m`, `1024Mi` becomes `1Gi`.

Source: apimachinery's resource.Quantity, "serialized in canonical form": the exponent is as large
as possible without a fraction, and the suffix stays binary, decimal or an exponent.
"""

import re
from decimal import Decimal

from scheduler.hub.schema.json_types import Json
from scheduler.hub.schema.structural import SchemaNode
from scheduler.hub.schema.value_checks import is_quantity_in_range

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))((?:[KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?$")
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL_SUFFIXES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_UNIT_INDEX = _DECIMAL_SUFFIXES.index("")
_KIBI, _KILO = 1024, 1000
_NANO = Decimal("1e-9")


def canonical_quantity(text: str) -> str:
    """The canonical form of a quantity; text that is not a quantity is returned unchanged."""
    match = _QUANTITY.match(text)
    if match is None or not is_quantity_in_range(text):
        return text
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix not in _BINARY_SUFFIXES:
        return _format_exponent(number * Decimal(f"1{suffix}"))
    if suffix in _BINARY_SUFFIXES and suffix:
        value = number * _KIBI ** _BINARY_SUFFIXES.index(suffix)
        if value == value.to_integral_value() and abs(value) >= _KIBI:
            return _format_binary(int(value))
        return _format_decimal(value)
    return _format_decimal(
        number * Decimal(_KILO) ** (_DECIMAL_SUFFIXES.index(suffix) - _UNIT_INDEX)
    )


def _format_binary(value: int) -> str:
    step = 0
    while value and value % _KIBI == 0 and step + 1 < len(_BINARY_SUFFIXES):
        value, step = value // _KIBI, step + 1
    return f"{value}{_BINARY_SUFFIXES[step]}"


def _format_decimal(value: Decimal) -> str:
    nanos = int((value / _NANO).to_integral_value(rounding="ROUND_CEILING"))
    if nanos == 0:
        return "0"
    step = 0
    while nanos % _KILO == 0 and step + 1 < len(_DECIMAL_SUFFIXES):
        nanos, step = nanos // _KILO, step + 1
    return f"{nanos}{_DECIMAL_SUFFIXES[step]}"


def _format_exponent(value: Decimal) -> str:
    plain = _format_decimal(value)
    suffix = plain.lstrip("+-0123456789")
    exponent = 3 * (_DECIMAL_SUFFIXES.index(suffix) - _UNIT_INDEX)
    digits = plain.removesuffix(suffix) if suffix else plain
    return f"{digits}e{exponent}" if exponent else digits


def canonicalise_quantities(node: SchemaNode, value: Json) -> Json:
    """Brings every quantity in a value into canonical form; maps and lists are changed in place."""
    if not node.has_quantities:
        return value
    if node.is_quantity:
        return canonical_quantity(str(value)) if isinstance(value, str | int | float) else value
    if isinstance(value, dict):
        for key, item in value.items():
            child = node.child(key)
            if child is not None and child.has_quantities:
                value[key] = canonicalise_quantities(child, item)
    elif isinstance(value, list) and node.items is not None:
        value[:] = [canonicalise_quantities(node.items, item) for item in value]
    return value
