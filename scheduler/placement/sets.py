"""Sets of different pods at one site: a lower bound, exact where pods and nodes are few.

A replica may be a set of pods (two Deployments, say), and a site may need pods beside its replicas.
Pods are put on the nodes one after the other, largest first, on the first node that takes them.
What so fits fits for sure; more might fit. Where pods and nodes are few, all assignments are
searched instead.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand import Demand
from scheduler.model.manifests import Pods
from scheduler.model.pods import PodShape
from scheduler.placement.eligible import may_stand, platform_fits
from scheduler.placement.flights import lost_pods
from scheduler.placement.nodes import CARD, COUNT, KIND

if TYPE_CHECKING:
    from scheduler.placement.fleet import Fleet

MOST_NODES = 2000
"""Nodes of a site that are looked at one by one; more are left out, which only lowers the bound."""
MOST_SETS = 256
_SMALL_PODS = 6
_SMALL_NODES = 5


class _Node:
    """One node while pods are tried on it."""

    __slots__ = ("cards", "free", "held", "kind")

    def __init__(self, free: dict[str, float], cards: list[float], kind: int) -> None:
        self.free = free
        self.cards = cards
        self.kind = kind
        self.held: set[int] = set()

    def takes(self, shape: PodShape, number: int) -> bool:
        """Whether one more pod of this shape fits."""
        if shape.one_per_node and number in self.held:
            return False
        free = self.free
        if any(free.get(name, 0.0) < asked for name, asked in shape.requests.items()):
            return False
        return not shape.gpu_cards or (
            sum(card >= shape.gpu_milli for card in self.cards) >= shape.gpu_cards
        )

    def put(self, shape: PodShape, number: int) -> list[int]:
        """Puts a pod there; returns the cards that it took, the fullest that hold it."""
        for name, asked in shape.requests.items():
            self.free[name] -= asked
        self.held.add(number)
        fitting = sorted(
            (card, at) for at, card in enumerate(self.cards) if card >= shape.gpu_milli
        )
        taken = [at for _, at in fitting[: shape.gpu_cards]]
        for at in taken:
            self.cards[at] -= shape.gpu_milli
        return taken

    def take_back(self, shape: PodShape, number: int, cards: list[int], *, was_held: bool) -> None:
        """Undoes `put`."""
        for name, asked in shape.requests.items():
            self.free[name] += asked
        if not was_held:
            self.held.discard(number)
        for at in cards:
            self.cards[at] += shape.gpu_milli


def sets_at(
    fleet: "Fleet", slot: int, demand: Demand, *, permitted: NDArray[np.bool_], is_new: bool
) -> int:
    """How many replicas of a demand that is a set of pods fit at a site.

    Args:
        fleet: the fleet.
        slot: the site.
        demand: with `unit`, `beside` and `per_node`.
        permitted: kinds of node whose CPU vendor the site's grant permits.
        is_new: whether the pods beside the replicas are not there yet.
    """
    shapes = _shapes(demand)
    may = {
        number: [
            bool(permitted[index])
            and platform_fits(kind, demand.architectures, demand.cpu_vendors)
            and may_stand(shape, kind)
            for index, kind in enumerate(fleet.nodes.kinds)
        ]
        for number, shape in enumerate(shapes)
    }
    facts = fleet.facts[slot]
    lost = 0 if facts is None else lost_pods(facts.in_flight, _smallest(shapes))
    once = demand.beside if is_new else ()
    low, high = 0, min(MOST_SETS, max(1, demand.replicas)) + lost
    while low < high:
        middle = (low + high + 1) // 2
        nodes = _nodes_of(fleet, slot)
        if _asks_more_than_all([(demand.unit, middle), (once, 1)], nodes):
            high = middle - 1
            continue
        pods = _pods(demand.unit, middle, shapes) + _pods(once, 1, shapes)
        if is_new:
            _take_per_node(nodes, demand.per_node, shapes, may)
        if _all_fit(nodes, pods, shapes, may):
            low = middle
        else:
            high = middle - 1
    return max(0, low - lost)


def _shapes(demand: Demand) -> list[PodShape]:
    shapes: list[PodShape] = []
    for shape in (*(each.shape for each in (*demand.unit, *demand.beside)), *demand.per_node):
        if shape not in shapes:
            shapes.append(shape)
    return shapes


def _pods(pods: Sequence[Pods], times: int, shapes: list[PodShape]) -> list[int]:
    return [shapes.index(each.shape) for each in pods for _ in range(each.count * times)]


def _asks_more_than_all(sets: Sequence[tuple[Sequence[Pods], int]], nodes: Sequence[_Node]) -> bool:
    """Whether the sum of nodes would not do: then no pod is tried, however many are asked."""
    asked: dict[str, int] = {}
    for pods, times in sets:
        for each in pods:
            for name, amount in each.shape.requests.items():
                asked[name] = asked.get(name, 0) + amount * each.count * times
    return any(
        amount > sum(node.free.get(name, 0.0) for node in nodes) for name, amount in asked.items()
    )


def _smallest(shapes: Sequence[PodShape]) -> dict[str, int]:
    least: dict[str, int] = {}
    for shape in shapes:
        for name, asked in shape.requests.items():
            least[name] = min(asked, least.get(name, asked))
    return least


def _nodes_of(fleet: "Fleet", slot: int) -> list[_Node]:
    rows = fleet.nodes.rows
    index = rows.rows_of(np.array([slot]))
    names = [name for name in rows.number_of if not name.startswith("\0")]
    nodes: list[_Node] = []
    for row in index.tolist():
        free = {name: float(rows.column(name)[row]) for name in names}
        cards = [float(rows.column(f"{CARD}{card}")[row]) for card in range(fleet.nodes.most_cards)]
        count = min(int(rows.column(COUNT)[row]), MOST_NODES - len(nodes))
        kind = int(rows.column(KIND)[row])
        nodes += [_Node(dict(free), list(cards), kind) for _ in range(count)]
    return nodes


def _take_per_node(
    nodes: list[_Node],
    per_node: Sequence[PodShape],
    shapes: list[PodShape],
    may: dict[int, list[bool]],
) -> None:
    for shape in per_node:
        number = shapes.index(shape)
        for node in nodes:
            if may[number][node.kind] and node.takes(shape, number):
                node.put(shape, number)


def _all_fit(
    nodes: list[_Node], pods: list[int], shapes: list[PodShape], may: dict[int, list[bool]]
) -> bool:
    sizes = [_size(shape, nodes) for shape in shapes]
    ordered = sorted(pods, key=lambda number: sizes[number], reverse=True)
    if len(ordered) <= _SMALL_PODS and len(nodes) <= _SMALL_NODES:
        return _search(nodes, ordered, shapes, may)
    for number in ordered:
        shape, kinds = shapes[number], may[number]
        node = next(
            (each for each in nodes if kinds[each.kind] and each.takes(shape, number)), None
        )
        if node is None:
            return False
        node.put(shape, number)
    return True


def _search(
    nodes: list[_Node], pods: list[int], shapes: list[PodShape], may: dict[int, list[bool]]
) -> bool:
    if not pods:
        return True
    number, rest = pods[0], pods[1:]
    shape = shapes[number]
    for node in nodes:
        if may[number][node.kind] and node.takes(shape, number):
            was_held = number in node.held
            cards = node.put(shape, number)
            if _search(nodes, rest, shapes, may):
                return True
            node.take_back(shape, number, cards, was_held=was_held)
    return False


def _size(shape: PodShape, nodes: list[_Node]) -> float:
    largest = 0.0
    for name, asked in shape.requests.items():
        most = max((node.free.get(name, 0.0) for node in nodes), default=0.0)
        largest = max(largest, asked / most if most else np.inf)
    return largest
