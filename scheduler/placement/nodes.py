"""Node rows: what is free on each node of every site, as columns, and what kind of node it is.

A row stands for `count` equal nodes with equal free capacity. The kinds of node (labels, taints,
architecture, CPU vendor, GPU model) are few, so each row only carries the number of its kind.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Taint
from scheduler.model.quantities import CPU, GPU_MILLI, PODS, NotAQuantity, free, free_of
from scheduler.model.site import NodeClass
from scheduler.placement.ragged import Ragged

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

COUNT: Final = "\0count"
KIND: Final = "\0kind"
CARD: Final = "\0card"
CARDS: Final = "\0cards"
"""Columns `CARD + "0"`, `CARD + "1"`, …: free thousandths of single GPU cards; `CARDS`: of all."""

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


@dataclass(slots=True)
class ReadRows:
    """Node rows of one site, read and not yet written."""

    values: dict[str, list[float]] = field(default_factory=dict)
    rows: int = 0


class NodeRows:
    """Node rows of all sites.

    Attributes:
        rows: the columns.
        kinds: the kinds of node by number.
        most_cards: the most GPU cards that any node has been seen with.
    """

    def __init__(self) -> None:
        self.rows = Ragged()
        self.kinds: list[NodeKind] = []
        self.most_cards = 0
        self._number_of: dict[NodeKind, int] = {}
        self._answers: dict[Hashable, Bools] = {}

    def grow_sites(self, sites: int) -> None:
        """Makes room for more sites."""
        self.rows.grow_sites(sites)

    def read(self, facts: SiteFacts) -> ReadRows:
        """Reads a site's node classes; nothing is changed if one cannot be read.

        Raises:
            NotAQuantity: the message names the site and the row.
        """
        read = ReadRows()
        left = 1.0 - facts.spec.headroom.ratio
        for index, each in enumerate(facts.status.node_classes):
            number = float(self._number(each))
            for row_number, row in enumerate(each.free):
                try:
                    self._read_row(read, dict(row), number, left)
                except NotAQuantity as error:
                    where = f"status.nodeClasses[{index}].free[{row_number}]"
                    raise NotAQuantity(f"Site {facts.name}: {where}: {error}") from None
        return read

    def _read_row(
        self, read: ReadRows, row: dict[str, float | str], kind: float, left: float
    ) -> None:
        values = read.values
        amounts = free_of(row)
        count = amounts.pop("count", 1)
        amounts.setdefault(PODS, ASSUMED_PODS)
        named: dict[str, float] = {COUNT: count, KIND: kind}
        for name, amount in amounts.items():
            if name.startswith(GPU_MILLI + "."):
                card = _card_of(name)
                self.most_cards = max(self.most_cards, card + 1)
                named[f"{CARD}{card}"] = amount
                named[CARDS] = named.get(CARDS, 0.0) + amount
            else:
                held = left != 1.0 and name in _HELD_BACK
                named[name] = floor(amount * left) if held else amount
        for name, value in named.items():
            column = values.get(name)
            if column is None:
                column = values[name] = [0.0] * read.rows
            column.append(float(value))
        read.rows += 1
        for column in values.values():
            if len(column) < read.rows:
                column.append(0.0)

    def write(self, slot: int, read: ReadRows) -> None:
        """Replaces a site's rows."""
        self.rows.write(slot, read.rows, read.values)

    def clear(self, slot: int) -> None:
        """Forgets a site's rows."""
        self.rows.write(slot, 0, {})

    def fits_kind(self, question: Hashable, answer: Callable[[NodeKind], bool]) -> Bools:
        """Which kinds of node will do; remembered by question; [kinds]."""
        known = self._answers.get(question)
        if known is None or len(known) < len(self.kinds):
            begun = 0 if known is None else len(known)
            more = np.array([answer(kind) for kind in self.kinds[begun:]], np.bool_)
            known = more if known is None else np.concatenate([known, more])
            if len(self._answers) > _MOST_QUESTIONS:
                self._answers.clear()
            self._answers[question] = known
        return known

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


_MOST_QUESTIONS = 4096
