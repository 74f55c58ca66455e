"""Which resources have a column in the node rows of the fleet.

A column is as long as all node rows together, so no site's report makes one. A column appears when
a demand, a quota or an order names a resource that some site offers; then it is filled in for these
sites. A resource that no site offers needs none: its column is one that is 0 everywhere.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from scheduler.model.quantities import CPU, MEMORY, PODS
from scheduler.placement.fleet.ragged import RaggedTable

COUNT_COLUMN: Final = 0
PROFILE_COLUMN: Final = 1
CARDS_COLUMN: Final = 2
"""Numbers of the columns that every fleet has: how many equal nodes a row stands for, the number of
their profile, and the free thousandths of all GPU cards of one node together (negative in rows of
what is in flight)."""
ABSENT_COLUMN: Final = 3
"""The column of every resource that no site offers; 0 everywhere."""
_FIRST_NAMED = 4
_ALWAYS_NAMED: Final = (PODS, CPU, MEMORY)
"""Resources that nearly every demand names."""
_MAX_NAMED = 256
"""From here on the columns of named resources are dropped at the next update of a site. Those that
are still in use appear again when they are named next."""


class _Offer(NamedTuple):
    """The resources that a site offers, besides those that always have a column."""

    resources: frozenset[str]
    in_flight: frozenset[str]


_NOTHING = _Offer(frozenset(), frozenset())


class ResourceColumns:
    """The columns of resources by name, and which sites offer a resource.

    Args:
        rows: the node rows.
        fill: called with the number of a new column, its resource, and the slots of the sites that
            offer it or have it in flight; the column is 0 everywhere.

    Attributes:
        always: the columns of resources that always have one.
        version: grows when a name has got another number.
    """

    def __init__(self, rows: RaggedTable, fill: Callable[[int, str, set[int]], None]) -> None:
        self._rows = rows
        self._fill = fill
        for _ in range(_FIRST_NAMED):
            rows.add_column()
        self.always = {name: rows.add_column() for name in _ALWAYS_NAMED}
        self._numbers = dict(self.always)
        self._free_numbers: list[int] = []
        self._slots_of: dict[str, set[int]] = {}
        self._offers: dict[int, _Offer] = {}
        self.version = 0

    @property
    def named(self) -> AbstractSet[str]:
        """The resources that have a column."""
        return self._numbers.keys()

    def known_number(self, resource: str) -> int | None:
        """The column of a resource, if it has one."""
        return self._numbers.get(resource)

    def number(self, resource: str) -> int:
        """The column of a resource that a demand names; a new one may replace `rows.matrix`."""
        number = self._numbers.get(resource)
        if number is None:
            slots = self._slots_of.get(resource)
            if not slots:
                return ABSENT_COLUMN
            number = self._free_numbers.pop() if self._free_numbers else self._rows.add_column()
            self._numbers[resource] = number
            self.version += 1
            self._fill(number, resource, slots)
        return number

    def replace(
        self, slot: int, resources: frozenset[str], in_flight: Iterable[Iterable[str]]
    ) -> None:
        """Replaces what a site offers, and what is in flight there.

        Args:
            slot: the site's slot.
            resources: what its nodes offer, without single GPU cards and what is in `always`.
            in_flight: what each of the pods in flight asks.
        """
        names = frozenset().union(*in_flight)
        self._replace(slot, _Offer(resources, names.difference(self.always) if names else names))

    def add_in_flight(self, slot: int, asked: Iterable[str]) -> None:
        """Adds what a pod in flight at a site asks."""
        names = [name for name in asked if name not in self.always]
        if names:
            offer = self._offers.get(slot, _NOTHING)
            self._replace(slot, _Offer(offer.resources, offer.in_flight.union(names)))

    def drop_in_flight(self, slot: int) -> None:
        """Forgets what is in flight at a site."""
        offer = self._offers.get(slot, _NOTHING)
        if offer.in_flight:
            self._replace(slot, _Offer(offer.resources, frozenset()))

    def _replace(self, slot: int, now: _Offer) -> None:
        before = self._offers.get(slot, _NOTHING)
        if before == now:
            return
        old = before.resources | before.in_flight
        new = now.resources | now.in_flight
        for name in old - new:
            self._slots_of[name].discard(slot)
            if not self._slots_of[name]:
                del self._slots_of[name]
        for name in new - old:
            self._slots_of.setdefault(name, set()).add(slot)
        if new:
            self._offers[slot] = now
        else:
            self._offers.pop(slot, None)

    def drop_excess(self) -> bool:
        """Drops the columns of named resources if there are too many; whether there were.

        Must not be called while a decision uses their numbers.
        """
        if len(self._numbers) <= _MAX_NAMED:
            return False
        for name, number in self._numbers.items():
            if name not in self.always:
                self._rows.clear_column(number)
                self._free_numbers.append(number)
        self._numbers = dict(self.always)
        self.version += 1
        return True
