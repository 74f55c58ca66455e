"""A search of all assignments of few pods to few nodes, so that "does not fit" is proven."""

from collections.abc import Sequence

from scheduler.model.quantities import MILLI_PER_UNIT
from scheduler.placement.fit.pod_set_nodes import PodSetNodes

MAX_SEARCH_STEPS = 4000
"""The most pods that one search places; a search that needs more is given up."""


class _StepLimitReached(Exception):
    """The search needs more than `MAX_SEARCH_STEPS`."""


def is_assignable(nodes: PodSetNodes, pods: Sequence[tuple[int, int]]) -> bool | None:
    """Whether some assignment places all pods; None when that is not known.

    Pods are not searched if more than the choice of nodes matters: shares of GPU cards (which card
    is filled) and topology limits (the order of pods).

    Args:
        nodes: the nodes; not changed.
        pods: the number of each shape, and how many pods have it.
    """
    for number, _ in pods:
        shape = nodes.shapes[number]
        shares_cards = shape.gpu_cards and shape.gpu_milli != MILLI_PER_UNIT
        if shares_cards or nodes.domain_counts[number] is not None:
            return None
    each = [number for number, count in pods for _ in range(count)]
    try:
        return _Search(nodes).place(each, 0)
    except _StepLimitReached:
        return None


class _Search:
    """The state of the nodes as lists of numbers: for a handful of nodes arrays are slower."""

    def __init__(self, nodes: PodSetNodes) -> None:
        self._free = nodes.free.T.tolist()
        self._cards = (nodes.cards >= MILLI_PER_UNIT).sum(axis=0).tolist()
        self._eligible = [fits.tolist() for fits in nodes.eligible]
        self._conflicts = nodes.conflicts
        self._requested = [asked[:, 0].tolist() for asked in nodes.requested]
        self._requested_cards = [shape.gpu_cards for shape in nodes.shapes]
        self._profiles = nodes.profiles.tolist()
        self._blocked = [
            [shape for shape in range(len(nodes.shapes)) if nodes.blocked[shape, node]]
            for node in range(len(self._free))
        ]
        self._placed_on: list[list[int]] = [[] for _ in self._free]
        self._steps = 0

    def place(self, pods: list[int], begin: int) -> bool:
        """Tries the first pod on every node that takes it, and then the others.

        Args:
            pods: the shape of each pod, equal ones next to each other.
            begin: the first node to try. Equal pods are interchangeable, so the next one need not
                be tried on nodes before that of the last.
        """
        if not pods:
            return True
        number, rest = pods[0], pods[1:]
        tried: set[tuple[object, ...]] = set()
        for node in range(begin, len(self._free)):
            state = self._node_state(node)
            if state in tried or not self._fits(number, node):
                continue
            tried.add(state)
            self._steps += 1
            if self._steps > MAX_SEARCH_STEPS:
                raise _StepLimitReached
            self._shift(number, node, 1)
            if self.place(rest, node if rest and rest[0] == number else 0):
                return True
            self._shift(number, node, -1)
        return False

    def _node_state(self, node: int) -> tuple[object, ...]:
        """Equal for nodes that are interchangeable for all remaining pods."""
        return (
            self._profiles[node],
            tuple(self._free[node]),
            self._cards[node],
            tuple(self._blocked[node]),
            tuple(sorted(self._placed_on[node])),
        )

    def _fits(self, number: int, node: int) -> bool:
        return (
            self._eligible[number][node]
            and number not in self._blocked[node]
            and self._cards[node] >= self._requested_cards[number]
            and not any(self._conflicts[other][number] for other in self._placed_on[node])
            and all(
                free >= asked
                for free, asked in zip(self._free[node], self._requested[number], strict=True)
            )
        )

    def _shift(self, number: int, node: int, sign: int) -> None:
        self._free[node] = [
            free - sign * asked
            for free, asked in zip(self._free[node], self._requested[number], strict=True)
        ]
        self._cards[node] -= sign * self._requested_cards[number]
        if sign > 0:
            self._placed_on[node].append(number)
        else:
            self._placed_on[node].remove(number)
