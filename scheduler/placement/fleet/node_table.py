"""Node rows: the free capacity of the nodes of every site, as columns, and their profile.

A row stands for `count` nodes with one profile and the same free capacity. A row holds the number
of its profile (`nodes/profiles.py`), and the amounts of the resources that a demand has named
(`nodes/columns.py`). What else a site offers stays in its facts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import FreeRow
from scheduler.model.quantities import PODS, NotAQuantity, are_plain_integers, free_amount
from scheduler.placement.fleet.nodes.columns import (
    CARDS_COLUMN,
    COUNT_COLUMN,
    PROFILE_COLUMN,
    ResourceColumns,
)
from scheduler.placement.fleet.nodes.in_flight_change import InFlightChange
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE, ProfileTable
from scheduler.placement.fleet.ragged import RaggedTable
from scheduler.placement.fleet.row_schema import (
    RowSchema,
    as_index,
    card_number,
    free_milli_of_card,
    headroom_columns,
    milli_in_flight,
    parse_amounts,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_MAX_PODS = 110
"""The pods that a node takes where its report does not say (the kubelet's default --max-pods)."""
MAX_CARDS = 64
"""The most GPU cards of one node that are counted one by one; a row has no more entries."""
_MAX_LOG_LENGTH = 65_536
_MAX_LOGGED_AT_ONCE = 256


class _RowGroup(NamedTuple):
    """`length` consecutive rows with the same schema, of nodes of one class."""

    schema: RowSchema
    class_index: int
    length: int


class SiteRows(NamedTuple):
    """A site's rows as they were read, for `NodeTable.write`.

    Attributes:
        values: the rows; the numbers of profiles are not known yet; [columns, rows].
        groups: the rows of the nodes.
        facts: what they were read from.
    """

    values: Floats
    groups: list[_RowGroup]
    facts: SiteFacts

    @property
    def schemas(self) -> frozenset[RowSchema]:
        """The schemas of the nodes' rows."""
        return frozenset([each.schema for each in self.groups])

    @property
    def resources(self) -> frozenset[str]:
        """What the nodes' rows name, without single GPU cards and what always has a column."""
        return frozenset().union(*[each.resources for each in self.schemas])

    @property
    def card_count(self) -> int:
        """The most GPU cards of any node, or of what is in flight."""
        on_nodes = [len(each.card_positions) for each in self.schemas]
        return max([*on_nodes, *[each.gpu_cards for each in self.facts.in_flight]], default=0)

    @property
    def last_card(self) -> int:
        """The highest number of a GPU card; -1 without any."""
        return max([each.last_card for each in self.schemas], default=-1)


class NodeTable:
    """The node rows of all sites; each site's nodes are followed by its rows in flight.

    Args:
        facts: the facts by slot, a list that the fleet keeps up to date; columns that appear are
            filled in from it.

    Attributes:
        rows: the rows.
        profiles: the profiles of the nodes.
        columns: the columns of resources.
        max_cards: the most GPU cards that any node has, or that a pod in flight has shares of.
        on_new_column: called with the number of a new column, its resource, and the slots of the
            sites that offer it or have it in flight.
        changed_slots: a log of slots whose nodes changed, since it was last emptied.
        log_generation: how often the log was emptied.
    """

    def __init__(self, facts: Sequence[SiteFacts | None] = ()) -> None:
        self._facts = facts
        self.rows = RaggedTable()
        self.profiles = ProfileTable()
        self.columns = ResourceColumns(self.rows, self._fill_column)
        self._pods_column = self.columns.number(PODS)
        self.on_new_column: list[Callable[[int, str, Iterable[int]], None]] = []
        self.changed_slots: list[int] = []
        self.log_generation = 0
        self.max_cards = 0
        self._are_cards_named = False
        self._card_numbers: list[int] = []
        self._card_columns: Ints = np.zeros((0, 1), np.int64)
        self._card_count_at: dict[int, int] = {}
        self._sites_by_card_count: Counter[int] = Counter()
        # A schema lives as long as some site has such rows.
        self._schemas: WeakValueDictionary[tuple[str, ...], RowSchema] = WeakValueDictionary()
        self._schemas_at: dict[int, frozenset[RowSchema]] = {}

    def grow_sites(self, sites: int) -> None:
        """Extends the rows to `sites` slots."""
        self.rows.grow_sites(sites)
        self.profiles.grow_sites(sites)

    def column_number(self, resource: str) -> int:
        """The column of a resource that a demand names; a new one may replace `rows.matrix`."""
        return self.columns.number(resource)

    def column_numbers_of(self, resources: Iterable[str]) -> list[int]:
        """The columns of several resources; a new one may replace `rows.matrix`."""
        number = self.columns.number
        return [number(name) for name in resources]

    @property
    def card_columns(self) -> Ints:
        """The columns of single cards, which exist once a demand asks for some; [cards, 1]."""
        return self._card_columns

    def name_cards(self) -> None:
        """Makes the columns of single cards exist: a demand asks for shares of some."""
        if not self._are_cards_named:
            self._are_cards_named = True
            self._extend_card_columns()

    def read(self, facts: SiteFacts) -> SiteRows:
        """Reads a site's node classes and what is in flight there, and changes nothing.

        Raises:
            NotAQuantity: the message names the site and the row.
        """
        # Nearly always all amounts are plain integers, which need no parsing.
        groups, values = self._parse_node_classes(facts)
        if not are_plain_integers(values):
            groups, values = self._parse_node_classes(facts, parse_all=True)
        nodes = sum([part.length for part in groups])
        rows = np.zeros((self.rows.column_count, nodes + len(facts.in_flight)))
        available_ratio = 1.0 - facts.spec.headroom.ratio
        amounts = np.array(values, np.int64)
        begin = used = 0  # rows that are filled, and amounts that are used up
        for part in groups:
            end, last = begin + part.length, used + part.length * part.schema.width
            self._fill_rows(rows[:, begin:end], part, amounts[used:last], available_ratio)
            begin, used = end, last
        for row, flight in enumerate(facts.in_flight, nodes):
            for number, value in self._in_flight_row(flight).items():
                rows[number, row] = value
        return SiteRows(rows, groups, facts)

    def _parse_node_classes(
        self, facts: SiteFacts, *, parse_all: bool = False
    ) -> tuple[list[_RowGroup], list[int]]:
        groups: list[_RowGroup] = []
        values: list[int] = []
        for index, node_class in enumerate(facts.status.node_classes):
            begin = 0
            try:
                for names, group in groupby(node_class.free, tuple):
                    rows = list(group)
                    schema = self._schema_of(names)
                    values += parse_amounts(names, rows, begin, parse_all=parse_all)
                    groups.append(_RowGroup(schema, index, len(rows)))
                    begin += len(rows)
            except NotAQuantity as error:
                where = f"status.nodeClasses[{index}].free"
                raise NotAQuantity(f"Site {facts.name}: {where}{error}") from None
        return groups, values

    def _fill_rows(
        self, rows: Floats, group: _RowGroup, amounts: Ints, available_ratio: float
    ) -> None:
        schema = group.schema
        columns = amounts.reshape(group.length, schema.width).T
        rows[schema.column_numbers] = columns[schema.positions]
        if not schema.has_count:
            rows[COUNT_COLUMN] = 1.0
        if not schema.has_pods:
            rows[self._pods_column] = DEFAULT_MAX_PODS
        if schema.card_positions:
            rows[CARDS_COLUMN] = np.add.reduce(columns[as_index(schema.card_positions)])
        if available_ratio != 1.0:
            for number in schema.headroom_columns:
                rows[number] = np.floor(rows[number] * available_ratio)

    def _schema_of(self, names: tuple[str, ...]) -> RowSchema:
        schema = self._schemas.get(names)
        if schema is None or schema.version != self.columns.version:
            schema = self._schemas[names] = self._new_schema(names)
        return schema

    def _new_schema(self, names: tuple[str, ...]) -> RowSchema:
        cards = sorted(
            (card, at) for at, name in enumerate(names) if (card := card_number(name)) is not None
        )
        card_positions = [at for _, at in cards]
        number_at: dict[int, int] = {}
        resources = set()
        for at, name in enumerate(names):
            if at in card_positions:
                continue
            if name != "count" and name not in self.columns.always:
                resources.add(name)
            number = COUNT_COLUMN if name == "count" else self.columns.known_number(name)
            if number is not None:
                number_at[at] = number
        # Which of a node's cards is which does not matter: the first columns are filled.
        number_at.update(zip(card_positions, self._card_numbers, strict=False))
        positions = sorted(number_at)
        numbers = [number_at[at] for at in positions]
        return RowSchema(
            version=self.columns.version,
            width=len(names),
            resources=frozenset(resources),
            positions=as_index(positions),
            column_numbers=np.array(numbers, np.int64),
            has_count="count" in names,
            has_pods=PODS in names,
            card_positions=card_positions,
            last_card=cards[-1][0] if cards else -1,
            headroom_columns=headroom_columns([names[at] for at in positions], numbers),
        )

    def write(self, slot: int, rows: SiteRows) -> None:
        """Replaces a site's rows.

        Args:
            slot: the site's slot.
            rows: as `read` gave them.
        """
        numbers = self.profiles.replace(slot, rows.facts.status.node_classes)
        profiles, begin = rows.values[PROFILE_COLUMN], 0
        for group in rows.groups:
            profiles[begin : begin + group.length] = numbers[group.class_index]
            begin += group.length
        self.rows.write(slot, rows.values)
        self._log_change(slot)
        schemas, in_flight = rows.schemas, rows.facts.in_flight
        if schemas == self._schemas_at.get(slot) and not in_flight:
            self.columns.drop_in_flight(slot)
            if slot in self._card_count_at:
                self._set_card_count(slot, rows.card_count)
            return
        self._schemas_at[slot] = schemas
        self.columns.replace(slot, rows.resources, [each.requests for each in in_flight])
        self._set_card_count(slot, rows.card_count)

    def clear(self, slot: int) -> None:
        """Removes all rows of a site."""
        self.write(slot, SiteRows(np.zeros((self.rows.column_count, 0)), [], SiteFacts(name="")))
        del self._schemas_at[slot]

    def change_in_flight(self, slot: int, change: InFlightChange) -> None:
        """Changes the rows in flight of a site, and leaves its nodes as they are.

        Args:
            slot: the site's slot.
            change: how what is in flight differs from the rows that are there.
        """
        at = self.rows.length.item(slot) - change.count_before + change.at
        rows = [self._in_flight_row(each) for each in change.added]
        self.rows.splice(slot, at, len(change.dropped), rows)
        always = self.columns.always
        if any(name not in always for each in change.dropped for name in each.requests):
            self.columns.drop_in_flight(slot)
            named = change.now
        else:
            named = change.added
        self.columns.add_in_flight(slot, {name for each in named for name in each.requests})
        most_cards = max((each.gpu_cards for each in change.added), default=0)
        if most_cards > self._card_count_at.get(slot, 0):
            self._set_card_count(slot, most_cards)

    def append_in_flight(self, slot: int, entry: InFlight, copies: int = 1) -> None:
        """Adds pods in flight at a site; several equal entries at once as one by one."""
        self.rows.append(slot, self._in_flight_row(entry), copies)
        self.columns.add_in_flight(slot, entry.requests)
        if entry.gpu_cards > self._card_count_at.get(slot, 0):
            self._set_card_count(slot, entry.gpu_cards)

    def _in_flight_row(self, entry: InFlight) -> dict[int, float]:
        """Pods in flight as a row with negative free capacity, by column number.

        The profile need not be named: `IN_FLIGHT_PROFILE` is 0, as is all that a row does not name.
        """
        row: dict[int, float] = {COUNT_COLUMN: entry.replicas, self._pods_column: -1}
        for name, amount in entry.requests.items():
            number = self.columns.known_number(name)
            if number is not None:
                row[number] = -amount
        count, milli = entry.gpu_cards, entry.gpu_milli
        if count:
            row[CARDS_COLUMN] = -count * milli
            for number in self._card_numbers[:count]:
                row[number] = -milli
        return row

    def _set_card_count(self, slot: int, count: int) -> None:
        before = self._card_count_at.pop(slot, 0)
        if count:
            self._card_count_at[slot] = count
        if count != before:
            self._sites_by_card_count[count] += 1
            self._sites_by_card_count[before] -= 1
            self._sites_by_card_count = +self._sites_by_card_count  # drops what no site has
            self.max_cards = min(max(self._sites_by_card_count, default=0), MAX_CARDS)
        self._extend_card_columns()

    def _extend_card_columns(self) -> None:
        if not self._are_cards_named or len(self._card_columns) == self.max_cards:
            return
        while len(self._card_numbers) < self.max_cards:
            card, number = len(self._card_numbers), self.rows.add_column()
            self._card_numbers.append(number)
            self.columns.version += 1
            for slot, count in self._card_count_at.items():
                if count > card:
                    self._fill_site(
                        slot,
                        number,
                        partial(free_milli_of_card, card),
                        partial(milli_in_flight, card),
                    )
        self._card_columns = np.array(self._card_numbers[: self.max_cards], np.int64)[:, None]

    def _fill_column(self, number: int, resource: str, slots: set[int]) -> None:
        for slot in slots:
            self._fill_site(
                slot,
                number,
                lambda row: free_amount(resource, row.get(resource, 0)),
                lambda entry: -entry.requests.get(resource, 0),
            )
        for each in self.on_new_column:
            each(number, resource, slots)
        if len(slots) > _MAX_LOGGED_AT_ONCE:
            self._begin_log_again()
        else:
            for slot in slots:
                self._log_change(slot)

    def _fill_site(
        self,
        slot: int,
        number: int,
        of_row: Callable[[FreeRow], float],
        of_flight: Callable[[InFlight], float],
    ) -> None:
        """Fills in a column for the rows of one site from its facts."""
        facts = self._facts[slot]
        if facts is None:
            return
        values = [of_row(row) for each in facts.status.node_classes for row in each.free]
        values += [of_flight(each) for each in facts.in_flight]
        begin = self.rows.start.item(slot)
        self.rows.matrix[number, begin : begin + len(values)] = values

    def node_counts(self, index: Ints) -> Floats:
        """How many nodes each row stands for, 0 for rows in flight; [len(index)]."""
        matrix = self.rows.matrix
        counts: Floats = matrix[COUNT_COLUMN].take(index)
        counts *= matrix[PROFILE_COLUMN].take(index) != IN_FLIGHT_PROFILE
        return counts

    def drop_excess_columns(self) -> None:
        """Drops the columns of resources if too many have been named; not during a decision."""
        if self.columns.drop_excess():
            self._begin_log_again()

    def _log_change(self, slot: int) -> None:
        self.changed_slots.append(slot)
        if len(self.changed_slots) > _MAX_LOG_LENGTH:
            self._begin_log_again()

    def _begin_log_again(self) -> None:
        self.changed_slots.clear()
        self.log_generation += 1
