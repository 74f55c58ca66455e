"""How the rows of a report become columns.

Rows that name the same resources in the same order share a schema. A report has few schemas, and
the next report has the same ones. So resource names are resolved once per schema, and the amounts
of all its rows are read as one list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import InFlight
from scheduler.model.kinds.site import FreeRow
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
"""The resources that headroom is kept free of; devices and pods cannot be divided."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class RowSchema:
    """What rows that name the same resources in the same order have in common.

    Attributes:
        version: the version of the fleet's columns that it holds for.
        width: how many resources such a row names.
        resources: those that have a column by name while demands name them.
        positions: the positions of the amounts that have a column.
        column_numbers: the columns of these; [positions].
        has_count: whether the rows say how many equal nodes they stand for.
        has_pods: whether the rows say how many pods such a node takes.
        card_positions: the positions of single GPU cards among the resources, by card number.
        last_card: the highest number of a card; -1 without any.
        headroom_columns: the columns that headroom is kept free of.
    """

    version: int
    width: int
    resources: frozenset[str]
    positions: slice | list[int]
    column_numbers: Ints
    has_count: bool
    has_pods: bool
    card_positions: list[int]
    last_card: int
    headroom_columns: tuple[int, ...]


def card_number(resource: str) -> int | None:
    """The number in `kapok.dev/gpu-milli.NUMBER`; None for other resources.

    Raises:
        NotAQuantity: what follows the prefix is no number.
    """
    return _parse_card_number(resource) if resource.startswith(_CARD_PREFIX) else None


@lru_cache(maxsize=256)
def _parse_card_number(resource: str) -> int:
    return int(free_amount(resource, resource.rpartition(".")[2]))


def as_index(positions: list[int]) -> slice | list[int]:
    """Positions as an index of an array: a slice where they are consecutive, which is faster."""
    side_by_side = positions == list(range(positions[0], positions[-1] + 1)) if positions else True
    return slice(positions[0], positions[-1] + 1) if positions and side_by_side else positions


def headroom_columns(names: Sequence[str], numbers: Sequence[int]) -> tuple[int, ...]:
    """The columns that headroom is kept free of."""
    pairs = zip(names, numbers, strict=True)
    return tuple(number for name, number in pairs if name in _HEADROOM_RESOURCES)


def parse_amounts(
    names: Sequence[str],
    rows: Sequence[Mapping[str, float | str]],
    begin: int,
    *,
    parse_all: bool,
) -> list[int]:
    """The amounts of rows that share a schema, row after row.

    Args:
        names: the resources that each row names, in its order.
        rows: the rows.
        begin: the number of the first row, for messages.
        parse_all: whether every column is parsed. If not, columns whose first amount is an integer
            are returned unparsed; the caller checks with `are_plain_integers` that they hold
            nothing else.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    width = len(names)
    values = list(chain.from_iterable(row.values() for row in rows))
    for index, name in enumerate(names):
        if parse_all or name == CPU or type(values[index]) is not int:
            values[index::width] = _parse_column(name, values[index::width], begin)
    return values  # type: ignore[return-value] # see `parse_all`


def _parse_column(name: str, written: Sequence[float | str], begin: int) -> list[int]:
    """The amounts of one resource in several rows.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    try:
        return free_amounts(name, written)
    except NotAQuantity:
        for row, value in enumerate(written, begin):
            try:
                free_amount(name, value)
            except NotAQuantity as error:
                raise NotAQuantity(f"[{row}]: {with_resource_name(name, error)}") from None
        raise


def free_milli_of_card(rank: int, row: FreeRow) -> int:
    """The free thousandths of one of a row's cards, by its rank among their numbers."""
    cards = sorted(
        (number, at, name)
        for at, name in enumerate(row)
        if (number := card_number(name)) is not None
    )
    if rank >= len(cards):
        return 0
    name = cards[rank][-1]
    return free_amount(name, row[name])


def milli_in_flight(rank: int, entry: InFlight) -> int:
    """What pods in flight take of a card, as a negative amount: they take the first ones."""
    return -entry.gpu_milli if rank < entry.gpu_cards else 0
