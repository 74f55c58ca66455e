"""Node rows: what is free on each node of every site, as columns, and what kind of node it is.

A row stands for `count` equal nodes with equal free capacity. The kinds of node (labels, taints,
architecture, CPU vendor, GPU model) are few, so each row only carries the number of its kind.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.model.facts import InFlight, SiteFacts
from scheduler.model.fields import Taint
from scheduler.model.quantities import CPU, GPU_MILLI, PODS, NotAQuantity, free, free_in, named
from scheduler.model.site import NodeClass
from scheduler.placement.ragged import Part, Ragged

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
"""The kind of rows that are no nodes: replicas on their way, see `flights.py`."""

ASSUMED_PODS = 110
"""What a kubelet allows when nobody says otherwise (its default --max-pods)."""
_HELD_BACK = (CPU, "memory")
"""Headroom is held back of these; devices and pods are whole things."""


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
        self.kinds: list[NodeKind] = [_NO_NODE]
        self.most_cards = 0
        self.changed: list[int] = []
        self.log = 0
        self._card_columns: Ints = np.zeros((0, 1), np.int64)
        self._number_of: dict[NodeKind, int] = {}
        self._answers: dict[Hashable, tuple[Bools, bool]] = {}

    def grow_sites(self, sites: int) -> None:
        """Makes room for more sites."""
        self.rows.grow_sites(sites)

    def read(self, facts: SiteFacts) -> list[Part]:
        """Reads a site's node classes; nothing is changed if one cannot be read.

        Raises:
            NotAQuantity: the message names the site and the row.
        """
        left = 1.0 - facts.spec.headroom.ratio
        parts: list[Part] = []
        for index, each in enumerate(facts.status.node_classes):
            try:
                parts += self._read_class(each, left)
            except NotAQuantity as error:
                where = f"status.nodeClasses[{index}].free"
                raise NotAQuantity(f"Site {facts.name}: {where}{error}") from None
        return parts

    def _read_class(self, node_class: NodeClass, left: float) -> Iterator[Part]:
        """Rows that name the same resources are read together."""
        kind = float(self._number(node_class))
        free = node_class.free
        begin = 0
        while begin < len(free):
            names = free[begin].keys()
            end = begin + 1
            while end < len(free) and free[end].keys() == names:
                end += 1
            yield end - begin, self._read_rows(free[begin:end], begin, kind, left)
            begin = end

    def _read_rows(
        self, rows: Sequence[Mapping[str, float | str]], begin: int, kind: float, left: float
    ) -> dict[int, list[float]]:
        number = self.rows.number
        columns: dict[int, list[float]] = {KIND: [kind] * len(rows)}
        cards: list[list[float]] = []
        for name in rows[0]:
            amounts = _column(name, rows, begin)
            if name == "count":
                columns[COUNT] = amounts
            elif name.startswith(_ONE_CARD):
                card = _card_of(name)
                self.most_cards = max(self.most_cards, card + 1)
                columns[number(f"{CARD}{card}")] = amounts
                cards.append(amounts)
            elif left != 1.0 and name in _HELD_BACK:
                columns[number(name)] = [floor(amount * left) for amount in amounts]
            else:
                columns[number(name)] = amounts
        columns.setdefault(COUNT, [1.0] * len(rows))
        columns.setdefault(number(PODS), [float(ASSUMED_PODS)] * len(rows))
        if cards:
            columns[CARDS] = [sum(each) for each in zip(*cards, strict=True)]
        return columns

    def write(self, slot: int, nodes: list[Part], flights: Sequence[InFlight]) -> None:
        """Replaces a site's rows."""
        self.rows.write(slot, [*nodes, *((1, _as_column(self.flight_row(f))) for f in flights)])
        self._note(slot)

    def append(self, slot: int, flight: InFlight) -> None:
        """Adds something in flight at a site."""
        self.rows.append(slot, self.flight_row(flight))

    @property
    def card_columns(self) -> Ints:
        """The columns of single cards; [cards of a node, 1]."""
        if len(self._card_columns) != self.most_cards:
            numbers = [self.rows.number(f"{CARD}{card}") for card in range(self.most_cards)]
            self._card_columns = np.array(numbers, np.int64)[:, None]
        return self._card_columns

    def flight_row(self, flight: InFlight) -> dict[int, float]:
        """Something in flight as a row: of every resource it has less than nothing free."""
        number = self.rows.number
        row: dict[int, float] = {COUNT: flight.replicas, KIND: IN_FLIGHT, number(PODS): -1}
        for name, amount in flight.requests.items():
            row[number(name)] = -amount
        if flight.gpu_cards:
            self.most_cards = max(self.most_cards, flight.gpu_cards)
            row[CARDS] = -flight.gpu_cards * flight.gpu_milli
            for card in range(flight.gpu_cards):
                row[number(f"{CARD}{card}")] = -flight.gpu_milli
        return row

    def counts(self, index: Ints) -> Floats:
        """How many nodes rows stand for; 0 for what is in flight; [len(index)]."""
        matrix = self.rows.matrix
        counts: Floats = matrix[COUNT].take(index)
        counts *= matrix[KIND].take(index) != IN_FLIGHT
        return counts

    def clear(self, slot: int) -> None:
        """Forgets a site's rows."""
        self.rows.write(slot, ())
        self._note(slot)

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
        kind = kind_of(each)
        number = self._number_of.get(kind)
        if number is None:
            number = self._number_of[kind] = len(self.kinds)
            self.kinds.append(kind)
        return number


@lru_cache(maxsize=256)
def _card_of(resource: str) -> int:
    """The number in `kapok.dev/gpu-milli.NUMBER`; there are few, and rows are read often."""
    return int(free(resource, resource.rpartition(".")[2]))


def _column(name: str, rows: Sequence[Mapping[str, float | str]], begin: int) -> list[float]:
    """One resource of several rows.

    Raises:
        NotAQuantity: the message begins with the number of the row.
    """
    written = [row[name] for row in rows]
    try:
        return free_in(name, written)
    except NotAQuantity:
        for place, value in enumerate(written, begin):
            try:
                free(name, value)
            except NotAQuantity as error:
                raise NotAQuantity(f"[{place}]: {named(name, error)}") from None
        raise


def _as_column(row: Mapping[int, float]) -> dict[int, list[float]]:
    return {number: [value] for number, value in row.items()}


_NO_NODE = NodeKind(labels=(), taints=(), architecture="", cpu_vendor="", gpu_model="")
_ONE_CARD = GPU_MILLI + "."
_MOST_QUESTIONS = 4096
_LONGEST_LOG = 65_536
