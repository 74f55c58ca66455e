"""Node rows: what is free on each node of every site, as columns, and what kind of node it is.

A row stands for `count` equal nodes with equal free capacity. The kinds of node (labels, taints,
architecture, CPU vendor, GPU model) are few, so each row only carries the number of its kind.
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
from scheduler.placement.fleet.ragged import Ragged
from scheduler.placement.fleet.row_schema import Form, amounts_of, card_of, held_back, places_of

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COUNT: Final = 0
KIND: Final = 1
CARDS: Final = 2
"""Numbers of the columns that every fleet has: how many equal nodes a row stands for, their kind,
free thousandths of all GPU cards of one, less than 0 of what is in flight."""
CARD: Final = "\0card"
"""Columns `CARD + "0"`, `CARD + "1"`, …: free thousandths of single GPU cards."""
IN_FLIGHT: Final = 0
"""The kind of rows that are no nodes: replicas on their way, see `in_flight.py`."""

ASSUMED_PODS = 110
"""What a kubelet allows when nobody says otherwise (its default --max-pods)."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What nodes of one kind have in common."""

    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    architecture: str
    cpu_vendor: str
    gpu_model: str

    @property
    def all_labels(self) -> dict[str, str]:
        """Its labels, with those that every kubelet sets."""
        return {
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": self.architecture,
            **dict(self.labels),
        }


class _Part(NamedTuple):
    """`length` rows of one form and kind."""

    form: Form
    kind: int
    length: int


def kind_of(node_class: NodeClass) -> NodeKind:
    """The kind of the nodes of a class: all but what is free."""
    return NodeKind(
        labels=tuple(sorted(node_class.labels.items())),
        taints=node_class.taints,
        architecture=node_class.architecture,
        cpu_vendor=node_class.cpu_vendor,
        gpu_model=node_class.gpu_model,
    )


class NodeRows:
    """Node rows of all sites, and after the nodes of a site what is in flight there.

    Attributes:
        rows: the columns.
        kinds: the kinds of node by number; the first stands for what is in flight.
        most_cards: the most GPU cards that any node has been seen with.
        changed: slots whose nodes changed, one after the other, since the log was begun anew.
        log: how often that was.
    """

    def __init__(self) -> None:
        self.rows = Ragged()
        for place, name in enumerate(("count", "kind", "cards")):
            assert self.rows.number(f"\0{name}") == place  # noqa: S101 - as the constants say
        self._pods = self.rows.number(PODS)
        self.kinds: list[NodeKind] = [_NO_NODE]
        self.most_cards = 0
        self._first_cards: list[int] = []
        self.changed: list[int] = []
        self.log = 0
        self._card_columns: Ints = np.zeros((0, 1), np.int64)
        self._number_of: dict[NodeKind, int] = {}
        self._number_as_written: dict[Hashable, int] = {}
        self._forms: dict[tuple[str, ...], Form] = {}
        self._answers: dict[Hashable, tuple[Bools, bool]] = {}

    def grow_sites(self, sites: int) -> None:
        """Makes room for more sites."""
        self.rows.grow_sites(sites)

    def read(self, facts: SiteFacts) -> Floats:
        """Reads a site's node classes and what is in flight there; no row of any site is changed.

        Returns:
            Its rows; [columns, rows].

        Raises:
            NotAQuantity: the message names the site and the row.
        """
        parts, values = self._read(facts)
        if not are_plain_integers(values):
            parts, values = self._read(facts, one_by_one=True)
        flights = [self._flight_row(each) for each in facts.in_flight]
        nodes = sum([part.length for part in parts])
        rows = np.zeros((len(self.rows.number_of), nodes + len(flights)))
        left = 1.0 - facts.spec.headroom.ratio
        amounts = np.array(values, np.int64)
        begin = place = 0
        for part in parts:
            end, last = begin + part.length, place + part.length * len(part.form.numbers)
            self._fill(rows[:, begin:end], part, amounts[place:last], left)
            begin, place = end, last
        for place, flight in enumerate(flights, nodes):
            for number, value in flight.items():
                rows[number, place] = value
        return rows

    def _read(self, facts: SiteFacts, *, one_by_one: bool = False) -> tuple[list[_Part], list[int]]:
        parts: list[_Part] = []
        values: list[int] = []
        for index, each in enumerate(facts.status.node_classes):
            kind = self._number(each)
            begin = 0
            try:
                for names, group in groupby(each.free, tuple):
                    rows = list(group)
                    form = self._forms.get(names) or self._new_form(names)
                    values += amounts_of(names, rows, begin, one_by_one=one_by_one)
                    parts.append(_Part(form, kind, len(rows)))
                    begin += len(rows)
            except NotAQuantity as error:
                where = f"status.nodeClasses[{index}].free"
                raise NotAQuantity(f"Site {facts.name}: {where}{error}") from None
        return parts, values

    def _fill(self, rows: Floats, part: _Part, amounts: Ints, left: float) -> None:
        form = part.form
        columns = amounts.reshape(part.length, len(form.numbers)).T
        rows[form.numbers] = columns
        rows[KIND] = part.kind
        if not form.says_count:
            rows[COUNT] = 1.0
        if not form.says_pods:
            rows[self._pods] = ASSUMED_PODS
        if form.has_cards:
            rows[CARDS] = np.add.reduce(columns[form.cards])
        if left != 1.0:
            for number in form.held_back:
                rows[number] = np.floor(rows[number] * left)

    def _new_form(self, names: tuple[str, ...]) -> Form:
        cards = {
            place: card for place, name in enumerate(names) if (card := card_of(name)) is not None
        }
        self.most_cards = max([self.most_cards, *(card + 1 for card in cards.values())])
        numbers = [
            COUNT
            if name == "count"
            else self.rows.number(name if place not in cards else f"{CARD}{cards[place]}")
            for place, name in enumerate(names)
        ]
        form = Form(
            numbers=np.array(numbers, np.int64),
            says_count=COUNT in numbers,
            says_pods=self._pods in numbers,
            has_cards=bool(cards),
            cards=places_of(list(cards)),
            held_back=held_back(names, numbers),
        )
        if len(self._forms) >= _MOST_QUESTIONS:
            self._forms.clear()
        self._forms[names] = form
        return form

    def write(self, slot: int, rows: Floats) -> None:
        """Replaces a site's rows.

        Args:
            slot: the site's slot.
            rows: as `read` gave them; [columns, rows].
        """
        self.rows.write(slot, rows)
        self._note(slot)

    def replace_flights(self, slot: int, held: int, in_flight: Sequence[InFlight]) -> None:
        """Replaces what is in flight at a site, of which `held` are there; its nodes remain."""
        self.rows.cut(slot, held)
        for each in in_flight:
            self.append(slot, each)

    def append(self, slot: int, flight: InFlight) -> None:
        """Adds something in flight at a site."""
        self.rows.append(slot, self._flight_row(flight))

    @property
    def card_columns(self) -> Ints:
        """The columns of single cards; [cards of a node, 1]."""
        if len(self._card_columns) != self.most_cards:
            numbers = [self.rows.number(f"{CARD}{card}") for card in range(self.most_cards)]
            self._card_columns = np.array(numbers, np.int64)[:, None]
        return self._card_columns

    def _flight_row(self, flight: InFlight) -> dict[int, float]:
        """Something in flight as a row: of every resource it has less than nothing free.

        Its kind is `IN_FLIGHT`, which is 0, as all that a row does not name.
        """
        number_of = self.rows.number_of
        row: dict[int, float] = {COUNT: flight.replicas, self._pods: -1}
        for name, amount in flight.requests.items():
            row[number_of[name]] = -amount
        count, milli = flight.gpu_cards, flight.gpu_milli
        if count:
            row[CARDS] = -count * milli
            for number in self._cards(count):
                row[number] = -milli
        return row

    def _cards(self, count: int) -> list[int]:
        """The columns of the first so many single cards."""
        self.most_cards = max(self.most_cards, count)
        while len(self._first_cards) < count:
            self._first_cards.append(self.rows.number(f"{CARD}{len(self._first_cards)}"))
        return self._first_cards[:count]

    def counts(self, index: Ints) -> Floats:
        """How many nodes rows stand for; 0 for what is in flight; [len(index)]."""
        matrix = self.rows.matrix
        counts: Floats = matrix[COUNT].take(index)
        counts *= matrix[KIND].take(index) != IN_FLIGHT
        return counts

    def clear(self, slot: int) -> None:
        """Forgets a site's rows."""
        self.write(slot, np.zeros((0, 0)))

    def _note(self, slot: int) -> None:
        self.changed.append(slot)
        if len(self.changed) > _LONGEST_LOG:
            self.changed.clear()
            self.log += 1

    def fits_kind(
        self, question: Hashable, answer: Callable[[NodeKind], bool]
    ) -> tuple[Bools, bool]:
        """Which kinds of node will do, and whether all will; remembered by question; [kinds]."""
        kept = self._answers.get(question)
        if kept is None or len(kept[0]) < len(self.kinds):
            begun = 0 if kept is None else len(kept[0])
            kinds = enumerate(self.kinds[begun:], begun)
            known = np.array(
                [place == IN_FLIGHT or answer(kind) for place, kind in kinds], np.bool_
            )
            if kept is not None:
                known = np.concatenate([kept[0], known])
            if len(self._answers) > _MOST_QUESTIONS:
                self._answers.clear()
            kept = self._answers[question] = (known, bool(known.all()))
        return kept

    def _number(self, each: NodeClass) -> int:
        """The number of the kind of a class; classes as written before are known at once."""
        labels = tuple(each.labels.items())
        written = (labels, each.taints, each.architecture, each.cpu_vendor, each.gpu_model)
        number = self._number_as_written.get(written)
        if number is None:
            kind = kind_of(each)
            number = self._number_of.get(kind)
            if number is None:
                number = self._number_of[kind] = len(self.kinds)
                self.kinds.append(kind)
            if len(self._number_as_written) >= _MOST_QUESTIONS:
                self._number_as_written.clear()
            self._number_as_written[written] = number
        return number


_NO_NODE = NodeKind(labels=(), taints=(), architecture="", cpu_vendor="", gpu_model="")
_MOST_QUESTIONS = 4096
_LONGEST_LOG = 65_536
