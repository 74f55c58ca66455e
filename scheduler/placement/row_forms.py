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
    are_plain,
    free,
    free_in,
    named,
)

Ints = NDArray[np.int64]

_ONE_CARD = GPU_MILLI + "."
_HELD_BACK = (CPU, "memory")
"""Headroom is held back of these; devices and pods are whole things."""


@dataclass(frozen=True, slots=True)
class Form:
    """What rows that name the same resources in the same order have in common.

    Attributes:
        numbers: the columns that the resources stand in.
        says_count: whether the rows say how many equal nodes they stand for.
        says_pods: whether they say how many pods such a node takes.
        cards: places of the resources that are single cards.
        held_back: columns of which headroom is held back.
    """

    numbers: Ints
    says_count: bool
    says_pods: bool
    cards: tuple[int, ...]
    held_back: tuple[int, ...]


def card_of(resource: str) -> int | None:
    """The number in `kapok.dev/gpu-milli.NUMBER`; None for other resources.

    Raises:
        NotAQuantity: it is no number.
    """
    return _number_of_card(resource) if resource.startswith(_ONE_CARD) else None


@lru_cache(maxsize=256)
def _number_of_card(resource: str) -> int:
    return int(free(resource, resource.rpartition(".")[2]))


def held_back(names: Sequence[str], numbers: Sequence[int]) -> tuple[int, ...]:
    """The columns of which headroom is held back."""
    pairs = zip(names, numbers, strict=True)
    return tuple(number for name, number in pairs if name in _HELD_BACK)


def amounts(
    names: Sequence[str], rows: Sequence[Mapping[str, float | str]], begin: int
) -> list[int]:
    """The amounts of rows of one form, one row after the other.

    Args:
        names: the resources that each row names, in its order.
        rows: the rows.
        begin: the number of the first, for messages.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    width = len(names)
    values = list(chain.from_iterable(row.values() for row in rows))
    for place, name in enumerate(names):
        if name == CPU or type(values[place]) is not int:
            values[place::width] = _column(name, values[place::width], begin)
    if not are_plain(values):
        for place, name in enumerate(names):
            if name != CPU:
                values[place::width] = _column(name, values[place::width], begin)
    return values  # type: ignore[return-value] # all were read


def _column(name: str, written: Sequence[float | str], begin: int) -> list[int]:
    """One resource of several rows.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    try:
        return free_in(name, written)
    except NotAQuantity:
        for place, value in enumerate(written, begin):
            try:
                free(name, value)
            except NotAQuantity as error:
                raise NotAQuantity(f"[{place}]: {named(name, error)}") from None
        raise
