"""Node rows: the free capacity of the nodes of every site, as columns, and their profile.

A row stands for `count` nodes with one profile and the same free capacity. A profile is what nodes
have in common besides that: labels, taints, architecture, CPU vendor and GPU model. There are few
profiles, so a row only holds the number of its profile.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import NodeClass
from scheduler.model.quantities import PODS, NotAQuantity, are_plain_integers
from scheduler.placement.fleet.ragged import RaggedTable
from scheduler.placement.fleet.row_schema import (
    RowSchema,
    as_index,
    card_number,
    headroom_columns,
    parse_amounts,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COUNT_COLUMN: Final = 0
PROFILE_COLUMN: Final = 1
CARDS_COLUMN: Final = 2
"""Numbers of the columns that every fleet has: how many equal nodes a row stands for, the number of
their profile, and the free thousandths of all GPU cards of one node together (negative in rows of
what is in flight)."""
CARD_COLUMN_PREFIX: Final = "\0card"
"""Columns `CARD_COLUMN_PREFIX + "0"`, `CARD_COLUMN_PREFIX + "1"`, … hold the free thousandths of
single GPU cards. No resource can have such a name, as names hold no NUL."""
IN_FLIGHT_PROFILE: Final = 0
"""The profile of rows that are no nodes but pods in flight, see `in_flight.py`."""

DEFAULT_MAX_PODS = 110
"""The pods that a node takes where its report does not say (the kubelet's default --max-pods)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """What pods may ask of a node besides free capacity; labels are sorted."""

    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    architecture: str
    """With another operating system than Linux before it: `amd64`, `windows/amd64`."""
    cpu_vendor: str
    gpu_model: str

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels, with those that every kubelet sets."""
        return {
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": self.architecture.rpartition("/")[2],
            **dict(self.labels),
        }


class _RowGroup(NamedTuple):
    """`length` consecutive rows with the same schema and profile."""

    schema: RowSchema
    profile: int
    length: int


def profile_of(node_class: NodeClass) -> NodeProfile:
    """The profile of the nodes of a class: all that it says of them but the free capacity."""
    return NodeProfile(
        labels=tuple(sorted(node_class.labels.items())),
        taints=node_class.taints,
        architecture=node_class.platform,
        cpu_vendor=node_class.cpu_vendor,
        gpu_model=node_class.gpu_model,
    )


class NodeTable:
    """The node rows of all sites; each site's nodes are followed by its rows in flight.

    Attributes:
        rows: the columns.
        profiles: the node profiles by number; the first stands for pods in flight.
        max_cards: the most GPU cards that any node has been seen with.
        changed_slots: a log of slots whose nodes changed, since it was last emptied.
        log_generation: how often the log was emptied.
    """

    def __init__(self) -> None:
        self.rows = RaggedTable()
        for number, name in enumerate(("count", "profile", "cards")):
            assert self.rows.column_number(f"\0{name}") == number  # noqa: S101 - as the constants say
        self._pods_column = self.rows.column_number(PODS)
        self.profiles: list[NodeProfile] = [_IN_FLIGHT_NODE_PROFILE]
        self.max_cards = 0
        self._first_card_columns: list[int] = []
        self.changed_slots: list[int] = []
        self.log_generation = 0
        self._card_columns: Ints = np.zeros((0, 1), np.int64)
        self._profile_numbers: dict[NodeProfile, int] = {}
        self._profile_numbers_as_written: dict[Hashable, int] = {}
        self._schemas: dict[tuple[str, ...], RowSchema] = {}
        self._matching_profiles: dict[Hashable, tuple[Bools, bool]] = {}

    def grow_sites(self, sites: int) -> None:
        """Extends the rows to `sites` slots."""
        self.rows.grow_sites(sites)

    def read(self, facts: SiteFacts) -> Floats:
        """Reads a site's node classes and what is in flight there, without writing its rows.

        Returns:
            The rows, for `write`; [columns, rows].

        Raises:
            NotAQuantity: the message names the site and the row.
        """
        # Nearly always all amounts are plain integers, which need no parsing.
        groups, values = self._parse_node_classes(facts)
        if not are_plain_integers(values):
            groups, values = self._parse_node_classes(facts, parse_all=True)
        in_flight_rows = [self._in_flight_row(each) for each in facts.in_flight]
        nodes = sum([part.length for part in groups])
        rows = np.zeros((len(self.rows.column_numbers), nodes + len(in_flight_rows)))
        available_ratio = 1.0 - facts.spec.headroom.ratio
        amounts = np.array(values, np.int64)
        begin = used = 0  # rows that are filled, and amounts that are used up
        for part in groups:
            end, last = begin + part.length, used + part.length * len(part.schema.column_numbers)
            self._fill_rows(rows[:, begin:end], part, amounts[used:last], available_ratio)
            begin, used = end, last
        for row, flight in enumerate(in_flight_rows, nodes):
            for number, value in flight.items():
                rows[number, row] = value
        return rows

    def _parse_node_classes(
        self, facts: SiteFacts, *, parse_all: bool = False
    ) -> tuple[list[_RowGroup], list[int]]:
        groups: list[_RowGroup] = []
        values: list[int] = []
        for index, node_class in enumerate(facts.status.node_classes):
            profile = self._profile_number(node_class)
            begin = 0
            try:
                for names, group in groupby(node_class.free, tuple):
                    rows = list(group)
                    schema = self._schemas.get(names) or self._new_schema(names)
                    values += parse_amounts(names, rows, begin, parse_all=parse_all)
                    groups.append(_RowGroup(schema, profile, len(rows)))
                    begin += len(rows)
            except NotAQuantity as error:
                where = f"status.nodeClasses[{index}].free"
                raise NotAQuantity(f"Site {facts.name}: {where}{error}") from None
        return groups, values

    def _fill_rows(
        self, rows: Floats, group: _RowGroup, amounts: Ints, available_ratio: float
    ) -> None:
        schema = group.schema
        columns = amounts.reshape(group.length, len(schema.column_numbers)).T
        rows[schema.column_numbers] = columns
        rows[PROFILE_COLUMN] = group.profile
        if not schema.has_count:
            rows[COUNT_COLUMN] = 1.0
        if not schema.has_pods:
            rows[self._pods_column] = DEFAULT_MAX_PODS
        if schema.has_cards:
            rows[CARDS_COLUMN] = np.add.reduce(columns[schema.card_positions])
        if available_ratio != 1.0:
            for number in schema.headroom_columns:
                rows[number] = np.floor(rows[number] * available_ratio)

    def _new_schema(self, names: tuple[str, ...]) -> RowSchema:
        cards = {
            index: card
            for index, name in enumerate(names)
            if (card := card_number(name)) is not None
        }
        self.max_cards = max([self.max_cards, *(card + 1 for card in cards.values())])
        numbers = [
            COUNT_COLUMN
            if name == "count"
            else self.rows.column_number(
                name if index not in cards else f"{CARD_COLUMN_PREFIX}{cards[index]}"
            )
            for index, name in enumerate(names)
        ]
        schema = RowSchema(
            column_numbers=np.array(numbers, np.int64),
            has_count=COUNT_COLUMN in numbers,
            has_pods=self._pods_column in numbers,
            has_cards=bool(cards),
            card_positions=as_index(list(cards)),
            headroom_columns=headroom_columns(names, numbers),
        )
        if len(self._schemas) >= _MAX_CACHED:
            self._schemas.clear()
        self._schemas[names] = schema
        return schema

    def write(self, slot: int, rows: Floats) -> None:
        """Replaces a site's rows.

        Args:
            slot: the site's slot.
            rows: as `read` gave them; [columns, rows].
        """
        self.rows.write(slot, rows)
        self._log_change(slot)

    def replace_in_flight(
        self, slot: int, present_count: int, in_flight: Sequence[InFlight]
    ) -> None:
        """Replaces the rows in flight of a site, and leaves its nodes as they are.

        Args:
            slot: the site's slot.
            present_count: how many rows in flight it has now.
            in_flight: the new ones.
        """
        self.rows.drop_last(slot, present_count)
        for each in in_flight:
            self.append_in_flight(slot, each)

    def append_in_flight(self, slot: int, entry: InFlight) -> None:
        """Adds pods in flight at a site."""
        self.rows.append(slot, self._in_flight_row(entry))

    @property
    def card_columns(self) -> Ints:
        """The columns of single cards; [cards of a node, 1]."""
        if len(self._card_columns) != self.max_cards:
            numbers = [
                self.rows.column_number(f"{CARD_COLUMN_PREFIX}{card}")
                for card in range(self.max_cards)
            ]
            self._card_columns = np.array(numbers, np.int64)[:, None]
        return self._card_columns

    def _in_flight_row(self, entry: InFlight) -> dict[int, float]:
        """Pods in flight as a row with negative free capacity, by column number.

        The profile need not be named: `IN_FLIGHT_PROFILE` is 0, as is all that a row does not name.
        """
        number_of = self.rows.column_numbers
        row: dict[int, float] = {COUNT_COLUMN: entry.replicas, self._pods_column: -1}
        for name, amount in entry.requests.items():
            row[number_of[name]] = -amount
        count, milli = entry.gpu_cards, entry.gpu_milli
        if count:
            row[CARDS_COLUMN] = -count * milli
            for number in self._card_columns_of(count):
                row[number] = -milli
        return row

    def _card_columns_of(self, count: int) -> list[int]:
        """The columns of the first `count` single cards."""
        self.max_cards = max(self.max_cards, count)
        while len(self._first_card_columns) < count:
            self._first_card_columns.append(
                self.rows.column_number(f"{CARD_COLUMN_PREFIX}{len(self._first_card_columns)}")
            )
        return self._first_card_columns[:count]

    def node_counts(self, index: Ints) -> Floats:
        """How many nodes each row stands for, 0 for rows in flight; [len(index)]."""
        matrix = self.rows.matrix
        counts: Floats = matrix[COUNT_COLUMN].take(index)
        counts *= matrix[PROFILE_COLUMN].take(index) != IN_FLIGHT_PROFILE
        return counts

    def clear(self, slot: int) -> None:
        """Removes all rows of a site."""
        self.write(slot, np.zeros((0, 0)))

    def _log_change(self, slot: int) -> None:
        self.changed_slots.append(slot)
        if len(self.changed_slots) > _MAX_LOG_LENGTH:
            self.changed_slots.clear()
            self.log_generation += 1

    def matching_profiles(
        self, cache_key: Hashable, matches: Callable[[NodeProfile], bool]
    ) -> tuple[Bools, bool]:
        """Which node profiles match, [profiles], and whether all do; cached.

        Args:
            cache_key: all that `matches` depends on.
            matches: whether one profile does.
        """
        cached = self._matching_profiles.get(cache_key)
        if cached is None or len(cached[0]) < len(self.profiles):
            known_count = 0 if cached is None else len(cached[0])
            profiles = enumerate(self.profiles[known_count:], known_count)
            known = np.array(
                [number == IN_FLIGHT_PROFILE or matches(profile) for number, profile in profiles],
                np.bool_,
            )
            if cached is not None:
                known = np.concatenate([cached[0], known])
            if len(self._matching_profiles) > _MAX_CACHED:
                self._matching_profiles.clear()
            cached = self._matching_profiles[cache_key] = (known, bool(known.all()))
        return cached

    def _profile_number(self, node_class: NodeClass) -> int:
        """The number of the profile of a class.

        Classes are cached as they are written, so that labels are sorted and profiles built only
        for those that are new.
        """
        labels = tuple(node_class.labels.items())
        written = (
            labels,
            node_class.taints,
            node_class.architecture,
            node_class.cpu_vendor,
            node_class.gpu_model,
        )
        number = self._profile_numbers_as_written.get(written)
        if number is None:
            profile = profile_of(node_class)
            number = self._profile_numbers.get(profile)
            if number is None:
                number = self._profile_numbers[profile] = len(self.profiles)
                self.profiles.append(profile)
            if len(self._profile_numbers_as_written) >= _MAX_CACHED:
                self._profile_numbers_as_written.clear()
            self._profile_numbers_as_written[written] = number
        return number


_IN_FLIGHT_NODE_PROFILE = NodeProfile(
    labels=(), taints=(), architecture="", cpu_vendor="", gpu_model=""
)
_MAX_CACHED = 4096
_MAX_LOG_LENGTH = 65_536
