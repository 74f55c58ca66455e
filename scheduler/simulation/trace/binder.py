"""Binds pods to nodes and GPU cards of a site: best fit, with exact bookkeeping.

Of the nodes that can hold the pod it takes the one with the least free GPU, then the least free
CPU, then the first by name; on that node, the fullest cards that still have enough free. So large
free capacity stays available for large pods.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.simulation.trace.grouping import SiteRecord
from scheduler.simulation.trace.reading import CARD_MILLI, NodeRecord, TracePodShape

BINDING_RULE = "best-fit: least free GPU, then least free CPU, then name; fullest cards that fit"

_NO_CARD = -1  # fills the rows of nodes with fewer cards; no request fits into it
_GPU_WEIGHT = 10**9  # larger than any node's free millicores, so that GPU decides first

NodeFreeState = tuple[str, int, int, tuple[int, ...]]
"""Free capacity of a node: GPU model, millicores, MiB, and thousandths of each card, ascending."""


@dataclass(frozen=True, slots=True)
class PodBinding:
    """The node and cards of a pod.

    Attributes:
        node_index: index among the site's nodes.
        card_indexes: indexes of its cards on the node.
    """

    node_index: int
    card_indexes: tuple[int, ...]


class SiteBinder:
    """The nodes of one site and their free capacity.

    Args:
        site: the site, with all capacity free.

    Attributes:
        nodes: the nodes of the site.
        free_state_counts: number of nodes by free capacity.
    """

    def __init__(self, site: SiteRecord) -> None:
        self.nodes: tuple[NodeRecord, ...] = site.nodes
        count = len(site.nodes)
        most = max((node.card_count for node in site.nodes), default=0)
        self._cpu = np.array([node.cpu_milli for node in site.nodes], np.int64)
        self._memory = np.array([node.memory_mib for node in site.nodes], np.int64)
        self._cards: NDArray[np.int64] = np.full((count, most), _NO_CARD, np.int64)
        for index, node in enumerate(site.nodes):
            self._cards[index, : node.card_count] = CARD_MILLI
        self._gpu = np.array([node.card_count * CARD_MILLI for node in site.nodes], np.int64)
        self._model = np.array([node.model for node in site.nodes])
        self._totals = np.array([self._cpu.sum(), self._memory.sum(), self._gpu.sum()])
        self.free_state_counts: Counter[NodeFreeState] = Counter(
            self._free_state(n) for n in range(count)
        )

    @property
    def free_totals(self) -> NDArray[np.int64]:
        """Free millicores, MiB and thousandths of cards, summed over the site; shape [3]."""
        return self._totals

    def refusal_reason(self, shape: TracePodShape) -> str:
        """Why no node can hold a pod: `fragmented` if the site's sums suffice, else `full`."""
        asked = np.array([shape.cpu_milli, shape.memory_mib, shape.card_count * shape.card_milli])
        return "fragmented" if (self._totals >= asked).all() else "full"

    def bind(self, shape: TracePodShape) -> PodBinding | None:
        """Binds a pod and takes its capacity; None: no node can hold it."""
        fits = (self._cpu >= shape.cpu_milli) & (self._memory >= shape.memory_mib)
        if shape.card_count:
            fits &= (self._cards >= shape.card_milli).sum(axis=1) >= shape.card_count
        if shape.models:
            fits &= np.isin(self._model, shape.models)
        (candidates,) = fits.nonzero()
        if not len(candidates):
            return None
        # argmin takes the first of equal ranks, and nodes are sorted by name.
        ranks = self._gpu[candidates] * _GPU_WEIGHT + self._cpu[candidates]
        node = int(candidates[ranks.argmin()])
        bound = PodBinding(node, self._fullest_cards(node, shape))
        self._change_free(bound, shape, -1)
        return bound

    def release(self, binding: PodBinding, shape: TracePodShape) -> None:
        """Frees a pod's capacity."""
        self._change_free(binding, shape, 1)

    def node_fits(self, node: int, shape: TracePodShape) -> bool:
        """Whether one node can hold a pod now."""
        if self._cpu[node] < shape.cpu_milli or self._memory[node] < shape.memory_mib:
            return False
        if shape.models and self.nodes[node].model not in shape.models:
            return False
        return int((self._cards[node] >= shape.card_milli).sum()) >= shape.card_count

    def _fullest_cards(self, node: int, shape: TracePodShape) -> tuple[int, ...]:
        if not shape.card_count:
            return ()
        free = self._cards[node]
        usable = [card for card in range(len(free)) if free[card] >= shape.card_milli]
        usable.sort(key=lambda card: (free[card], card))
        return tuple(sorted(usable[: shape.card_count]))

    def _change_free(self, binding: PodBinding, shape: TracePodShape, sign: int) -> None:
        node = binding.node_index
        self._change_state_count(node, -1)
        change = np.array([shape.cpu_milli, shape.memory_mib, shape.card_count * shape.card_milli])
        self._cpu[node] += sign * shape.cpu_milli
        self._memory[node] += sign * shape.memory_mib
        for card in binding.card_indexes:
            self._cards[node, card] += sign * shape.card_milli
        self._gpu[node] += sign * shape.card_count * shape.card_milli
        self._totals = self._totals + sign * change  # a new array: callers may keep the old one
        self._change_state_count(node, 1)

    def _change_state_count(self, node: int, change: int) -> None:
        state = self._free_state(node)
        self.free_state_counts[state] += change
        if not self.free_state_counts[state]:
            del self.free_state_counts[state]

    def _free_state(self, node: int) -> NodeFreeState:
        cards = tuple(sorted(int(free) for free in self._cards[node] if free != _NO_CARD))
        return (self.nodes[node].model, int(self._cpu[node]), int(self._memory[node]), cards)
