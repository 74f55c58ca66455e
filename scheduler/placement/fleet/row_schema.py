"""How the rows of a report become columns: read once per form of row, not once per row.

Rows of one form name the same resources in the same order; a report has few forms, and the next
report has the same ones. So what the names mean is looked up once, and the amounts of all rows of a
form are read as one list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from scheduler.model.quantities import (
    CPU,
    GPU_MILLI,
    NotAQuantity,
    free_amount,
    free_amounts,
    with_resource_name,
)

Ints = NDArray[np.int64]

_CARD_PREFIX = GPU_MILLI + "."
_HEADROOM_RESOURCES = (CPU, "memory")
"""Headroom is held back of these; devices and pods are whole things."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """What rows that name the same resources in the same order have in common.

    Attributes:
        column_numbers: the columns that the resources stand in.
        has_count: whether the rows say how many equal nodes they stand for.
        has_pods: whether they say how many pods such a node takes.
        has_cards: whether some of the resources are single cards.
        card_positions: the places of those.
        headroom_columns: columns of which headroom is held back.
    """

    column_numbers: Ints
    has_count: bool
    has_pods: bool
    has_cards: bool
    card_positions: slice | list[int]
    headroom_columns: tuple[int, ...]


def card_number(resource: str) -> int | None:
    """The number in `kapok.dev/gpu-milli.NUMBER`; None for other resources.

    Raises:
        NotAQuantity: it is no number.
    """
    return _parse_card_number(resource) if resource.startswith(_CARD_PREFIX) else None


@lru_cache(maxsize=256)
def _parse_card_number(resource: str) -> int:
    return int(free_amount(resource, resource.rpartition(".")[2]))


def as_index(positions: list[int]) -> slice | list[int]:
    """Places to index with: a slice where they stand side by side, which is quicker."""
    side_by_side = positions == list(range(positions[0], positions[-1] + 1)) if positions else True
    return slice(positions[0], positions[-1] + 1) if positions and side_by_side else positions


def headroom_columns(names: Sequence[str], numbers: Sequence[int]) -> tuple[int, ...]:
    """The columns of which headroom is held back."""
    pairs = zip(names, numbers, strict=True)
    return tuple(number for name, number in pairs if name in _HEADROOM_RESOURCES)


def parse_amounts(
    names: Sequence[str],
    rows: Sequence[Mapping[str, float | str]],
    begin: int,
    *,
    parse_all: bool,
) -> list[int]:
    """The amounts of rows of one form, one row after the other.

    Args:
        names: the resources that each row names, in its order.
        rows: the rows.
        begin: the number of the first, for messages.
        parse_all: whether every column is read. Otherwise those are left as they stand that begin
            with an integer, for the caller to see whether `are_plain` holds for all.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    width = len(names)
    values = list(chain.from_iterable(row.values() for row in rows))
    for place, name in enumerate(names):
        if parse_all or name == CPU or type(values[place]) is not int:
            values[place::width] = _parse_column(name, values[place::width], begin)
    return values  # type: ignore[return-value] # as the caller makes sure


def _parse_column(name: str, written: Sequence[float | str], begin: int) -> list[int]:
    """One resource of several rows.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    try:
        return free_amounts(name, written)
    except NotAQuantity:
        for place, value in enumerate(written, begin):
            try:
                free_amount(name, value)
            except NotAQuantity as error:
                raise NotAQuantity(f"[{place}]: {with_resource_name(name, error)}") from None
        raise
