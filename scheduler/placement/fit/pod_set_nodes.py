"""The nodes of one site while pods of several shapes are placed on them, as arrays.

Equal pods are placed together: first fit places them by filling node after node. Only where a pod's
node depends on the pod before it (shares of GPU cards, topology limits) are they placed one by one.
"""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import PodShape, host_ports_conflict
from scheduler.placement.fit.pod_set_topology import DomainCounts
from scheduler.placement.fleet.nodes.profiles import NodeProfile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ShapeCount = tuple[int, int]
"""The number of a shape, and how many pods have it."""


class PodSetNodes:
    """The free capacity of each node of one site.

    Args:
        shapes: as the attribute.
        names: as the attribute.
        free: as the attribute.
        cards: as the attribute.
        profiles: as the attribute.
        all_profiles: the node profiles by number.
        eligible: as the attribute.

    Attributes:
        shapes: the shapes of all pods, by number.
        names: the names of the resources, in the order of `free`.
        free: free amounts; [resources, nodes].
        cards: free thousandths of GPU cards; [cards of a node, nodes].
        profiles: the number of each node's profile; [nodes].
        eligible: which nodes each shape may run on; [nodes] each.
        requested: what a pod of each shape asks; [resources, 1] each.
        conflicts: whether a pod of one shape keeps those of another off its node, by the numbers
            of both.
        blocked: nodes that a shape cannot use because of pods placed there; [shapes, nodes].
        domain_counts: the topology limits of each shape; None where it has none.
    """

    def __init__(
        self,
        *,
        shapes: list[PodShape],
        names: list[str],
        free: Floats,
        cards: Floats,
        profiles: Ints,
        all_profiles: Sequence[NodeProfile],
        eligible: list[Bools],
    ) -> None:
        self.shapes = shapes
        self.names = names
        self.free = free
        self.cards = cards
        self.profiles = profiles
        self.eligible = eligible
        self.requested = [
            np.array([float(shape.requests.get(name, 0)) for name in names])[:, None]
            for shape in shapes
        ]
        self.conflicts = [
            [
                (one == other and shape.one_per_node)
                or host_ports_conflict(shape.host_ports, against.host_ports)
                for other, against in enumerate(shapes)
            ]
            for one, shape in enumerate(shapes)
        ]
        self.blocked = np.zeros((len(shapes), len(profiles)), np.bool_)
        self.domain_counts = [
            DomainCounts(shape, profiles, all_profiles) if shape.skews or shape.one_per else None
            for shape in shapes
        ]
        self._dominant_shares = [self._dominant_share(number) for number in range(len(shapes))]

    def copy(self) -> "PodSetNodes":
        """A copy whose state changes independently."""
        other = copy(self)
        other.free, other.cards = self.free.copy(), self.cards.copy()
        other.blocked = self.blocked.copy()
        other.domain_counts = [each and each.copy() for each in self.domain_counts]
        return other

    def exceeds_free_sums(self, pods: Sequence[ShapeCount]) -> bool:
        """Whether pods ask for more than all nodes have free together."""
        asked = sum(
            (self.requested[number][:, 0] * count for number, count in pods),
            np.zeros(len(self.names)),
        )
        cards = sum(
            count * self.shapes[number].gpu_cards * self.shapes[number].gpu_milli
            for number, count in pods
        )
        return bool((asked > self.free.sum(axis=1)).any()) or cards > float(self.cards.sum())

    def place_all(self, pods: Sequence[ShapeCount], steps_left: list[int]) -> bool:
        """Places all pods, the largest first; False when one does not fit.

        Args:
            pods: how many pods of each shape.
            steps_left: its only entry is how many more pods may be placed one by one; updated.
        """
        ordered = sorted(pods, key=lambda group: self._dominant_shares[group[0]], reverse=True)
        return all(self._place_group(number, count, steps_left) for number, count in ordered)

    def place_on_each(self, number: int) -> None:
        """Places one pod of a shape on every node that takes it."""
        for node in np.flatnonzero(self.pods_per_node(number) >= 1).tolist():
            self.place(number, node)

    def pods_per_node(self, number: int) -> Floats:
        """How many pods of a shape each node takes; [nodes].

        Topology limits are not considered. Of GPU cards it is only checked that one pod finds its
        shares, so for shapes with cards only "at least 1" can be relied on.
        """
        shape = self.shapes[number]
        asked = self.requested[number]
        wanted = asked[:, 0] > 0
        capacity: Floats = np.floor((self.free[wanted] / asked[wanted]).min(axis=0))
        capacity *= self.eligible[number] & ~self.blocked[number]
        if shape.gpu_cards:
            fitting = (self.cards >= shape.gpu_milli).sum(axis=0)
            capacity *= fitting >= shape.gpu_cards
        if self.conflicts[number][number]:
            np.minimum(capacity, 1.0, out=capacity)
        return capacity

    def place(self, number: int, node: int, count: int = 1) -> list[int]:
        """Places pods on a node.

        Returns:
            The positions of the cards that a pod took: the fullest ones that hold its share.
        """
        shape = self.shapes[number]
        self.free[:, node] -= self.requested[number][:, 0] * count
        for other, is_out in enumerate(self.conflicts[number]):
            if is_out:
                self.blocked[other, node] = True
        limits = self.domain_counts[number]
        if limits is not None:
            limits.add_pod(node)
        if not shape.gpu_cards:
            return []
        fitting_cards = sorted(
            (card, at)
            for at, card in enumerate(self.cards[:, node].tolist())
            if card >= shape.gpu_milli
        )
        taken_cards = [at for _, at in fitting_cards[: shape.gpu_cards]]
        self.cards[taken_cards, node] -= shape.gpu_milli
        return taken_cards

    def _place_group(self, number: int, count: int, steps_left: list[int]) -> bool:
        if self.shapes[number].gpu_cards or self.domain_counts[number] is not None:
            return self._place_one_by_one(number, count, steps_left)
        capacity = self.pods_per_node(number)
        filled = np.minimum(np.cumsum(capacity), count)  # pods on this node and all before it
        if not len(filled) or filled[-1] < count:
            return False
        taken = np.diff(filled, prepend=0.0)  # pods on each node
        self.free -= self.requested[number] * taken
        for other, is_out in enumerate(self.conflicts[number]):
            if is_out:
                self.blocked[other] |= taken > 0
        return True

    def _place_one_by_one(self, number: int, count: int, steps_left: list[int]) -> bool:
        limits = self.domain_counts[number]
        for _ in range(count):
            steps_left[0] -= 1
            fits = self.pods_per_node(number) >= 1
            if limits is not None:
                fits &= limits.allowed_nodes()
            node = int(fits.argmax()) if len(fits) else 0  # the first node that takes it
            if steps_left[0] < 0 or not len(fits) or not fits[node]:
                return False
            self.place(number, node)
        return True

    def _dominant_share(self, number: int) -> float:
        """The largest share of any resource that one pod takes of the node with most of it free."""
        if not len(self.profiles):
            return 0.0
        shape = self.shapes[number]
        most = self.free.max(axis=1)
        asked = self.requested[number][:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(asked > 0, asked / most, 0.0)
        cards = float(self.cards.sum(axis=0).max(initial=0.0))
        wanted = shape.gpu_cards * shape.gpu_milli
        return max(float(shares.max()), wanted / cards if wanted and cards else 0.0)
