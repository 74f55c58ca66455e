"""Few pods on few nodes: every assignment is tried, so that "does not fit" is proven."""

from collections.abc import Sequence

from scheduler.model.quantities import MILLI_PER_UNIT
from scheduler.placement.fit.pod_set_nodes import PodSetNodes

MAX_SEARCH_STEPS = 4000
"""Pods that are put on nodes in one search; a search that needs more proves nothing."""


class _StepLimitReached(Exception):
    """The search would need more steps than it has."""


def is_assignable(nodes: PodSetNodes, pods: Sequence[tuple[int, int]]) -> bool | None:
    """Whether some assignment takes all pods; None when that was not found out.

    Not decided are pods whose place depends on more than the nodes: shares of GPU cards (which card
    is filled matters) and topology limits (the order matters).

    Args:
        nodes: it is changed.
        pods: how many of each shape.
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
    """Plain numbers: arrays cost more than they save on five nodes."""

    def __init__(self, nodes: PodSetNodes) -> None:
        self._free = nodes.free.T.tolist()
        self._cards = (nodes.cards >= MILLI_PER_UNIT).sum(axis=0).tolist()
        self._eligible = [fits.tolist() for fits in nodes.eligible]
        self._conflicts = nodes.conflicts
        self._requested = [asked[:, 0].tolist() for asked in nodes.requested]
        self._requested_cards = [shape.gpu_cards for shape in nodes.shapes]
        self._kinds = nodes.kinds.tolist()
        self._blocked = [
            [shape for shape in range(len(nodes.shapes)) if nodes.blocked[shape, node]]
            for node in range(len(self._free))
        ]
        self._placed_on: list[list[int]] = [[] for _ in self._free]
        self._steps = 0

    def place(self, pods: list[int], begin: int) -> bool:
        """Puts the first pod on every node that takes it, and then the rest.

        Args:
            pods: shapes, equal ones one after the other.
            begin: equal pods go to this node or later ones: which of them is where is the same.
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
        """Equal for nodes that are the same to every pod that is still to come."""
        return (
            self._kinds[node],
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
