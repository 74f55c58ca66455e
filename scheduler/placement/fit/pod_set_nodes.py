"""The nodes of one site while pods of several shapes are put on them, as arrays.

Equal pods are put down all at once: filling node after node is what first fit does with them. Only
where a pod's place depends on the one before it (shares of cards, topology limits) are they put
down one by one.
"""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape, host_ports_conflict
from scheduler.placement.fit.pod_set_topology import Limits
from scheduler.placement.fleet.node_table import NodeKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Group = tuple[int, int]


class SetNodes:
    """What is left on each node.

    Attributes:
        shapes: of all pods that are put down, by number.
        names: of the resources, in the order of `free`.
        free: [resources, nodes].
        cards: free thousandths of GPU cards; [cards of a node, nodes].
        kinds: the kind of each node, by number; [nodes].
        may: which nodes each shape may stand on; [nodes] each.
    """

    def __init__(
        self,
        *,
        shapes: list[PodShape],
        names: list[str],
        free: Floats,
        cards: Floats,
        kinds: Ints,
        all_kinds: Sequence[NodeKind],
        may: list[Bools],
    ) -> None:
        self.shapes = shapes
        self.names = names
        self.free = free
        self.cards = cards
        self.kinds = kinds
        self.may = may
        self.asked = [
            np.array([float(shape.requests.get(name, 0)) for name in names])[:, None]
            for shape in shapes
        ]
        self.keeps_out = [
            [
                (one == other and shape.one_per_node)
                or host_ports_conflict(shape.host_ports, against.host_ports)
                for other, against in enumerate(shapes)
            ]
            for one, shape in enumerate(shapes)
        ]
        self.blocked = np.zeros((len(shapes), len(kinds)), np.bool_)
        self.limits = [
            Limits(shape, kinds, all_kinds) if shape.skews or shape.one_per else None
            for shape in shapes
        ]
        self._sizes = [self._size(number) for number in range(len(shapes))]

    def copy(self) -> "SetNodes":
        """Another one in the same state."""
        other = copy(self)
        other.free, other.cards = self.free.copy(), self.cards.copy()
        other.blocked = self.blocked.copy()
        other.limits = [each and each.copy() for each in self.limits]
        return other

    def lacks(self, pods: Sequence[Group]) -> bool:
        """Whether not even the sums of all nodes would do."""
        asked = sum(
            (self.asked[number][:, 0] * count for number, count in pods), np.zeros(len(self.names))
        )
        cards = sum(
            count * self.shapes[number].gpu_cards * self.shapes[number].gpu_milli
            for number, count in pods
        )
        return bool((asked > self.free.sum(axis=1)).any()) or cards > float(self.cards.sum())

    def take_all(self, pods: Sequence[Group], single: list[int]) -> bool:
        """Puts all pods down, the largest first; False when one does not fit.

        Args:
            pods: how many of each shape.
            single: how many more pods may be put down one by one, in its only entry.
        """
        ordered = sorted(pods, key=lambda group: self._sizes[group[0]], reverse=True)
        return all(self._take(number, count, single) for number, count in ordered)

    def put_on_each(self, number: int) -> None:
        """Puts one pod on every node that takes it."""
        for node in np.flatnonzero(self.room(number) >= 1).tolist():
            self.put(number, node)

    def room(self, number: int) -> Floats:
        """How many pods of a shape each node takes, topology limits and cards' shares apart."""
        shape = self.shapes[number]
        asked = self.asked[number]
        wanted = asked[:, 0] > 0
        room: Floats = np.floor((self.free[wanted] / asked[wanted]).min(axis=0))
        room *= self.may[number] & ~self.blocked[number]
        if shape.gpu_cards:
            fitting = (self.cards >= shape.gpu_milli).sum(axis=0)
            room *= fitting >= shape.gpu_cards
        if self.keeps_out[number][number]:
            np.minimum(room, 1.0, out=room)
        return room

    def put(self, number: int, node: int, count: int = 1) -> list[int]:
        """Puts pods on a node; returns the cards that one took, the fullest that hold it."""
        shape = self.shapes[number]
        self.free[:, node] -= self.asked[number][:, 0] * count
        for other, is_out in enumerate(self.keeps_out[number]):
            if is_out:
                self.blocked[other, node] = True
        limits = self.limits[number]
        if limits is not None:
            limits.put(node)
        if not shape.gpu_cards:
            return []
        fitting = sorted(
            (card, at)
            for at, card in enumerate(self.cards[:, node].tolist())
            if card >= shape.gpu_milli
        )
        taken = [at for _, at in fitting[: shape.gpu_cards]]
        self.cards[taken, node] -= shape.gpu_milli
        return taken

    def _take(self, number: int, count: int, single: list[int]) -> bool:
        if self.shapes[number].gpu_cards or self.limits[number] is not None:
            return self._take_singly(number, count, single)
        room = self.room(number)
        filled = np.minimum(np.cumsum(room), count)
        if not len(filled) or filled[-1] < count:
            return False
        taken = np.diff(filled, prepend=0.0)
        self.free -= self.asked[number] * taken
        for other, is_out in enumerate(self.keeps_out[number]):
            if is_out:
                self.blocked[other] |= taken > 0
        return True

    def _take_singly(self, number: int, count: int, single: list[int]) -> bool:
        limits = self.limits[number]
        for _ in range(count):
            single[0] -= 1
            fits = self.room(number) >= 1
            if limits is not None:
                fits &= limits.allow()
            node = int(fits.argmax()) if len(fits) else 0
            if single[0] < 0 or not len(fits) or not fits[node]:
                return False
            self.put(number, node)
        return True

    def _size(self, number: int) -> float:
        """The largest share of a node's free capacity that one pod takes."""
        if not len(self.kinds):
            return 0.0
        shape = self.shapes[number]
        most = self.free.max(axis=1)
        asked = self.asked[number][:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(asked > 0, asked / most, 0.0)
        cards = float(self.cards.sum(axis=0).max(initial=0.0))
        wanted = shape.gpu_cards * shape.gpu_milli
        return max(float(shares.max()), wanted / cards if wanted and cards else 0.0)
