"""Which node of a site takes a pod, and which of its GPU cards: best fit, exact.

Among the nodes that can hold the pod, the one with the least GPU free is taken, then the least
CPU, then the first by name; on it, the fullest cards that still have the share. So large holes
stay large.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.simulation.trace.grouping import SiteRecord
from scheduler.simulation.trace.reading import CARD_MILLI, NodeRecord, TracePodShape

BINDING_RULE = "best-fit: least free GPU, then least free CPU, then name; fullest cards that fit"

_NO_CARD = -1
_GPU_WEIGHT = 10**9  # larger than any node's free millicores, so that GPU decides first

NodeFreeState = tuple[str, int, int, tuple[int, ...]]
"""What counts of a node's state: model, free millicores, free MiB, free thousandths per card."""


@dataclass(frozen=True, slots=True)
class PodBinding:
    """A pod's place.

    Attributes:
        node_index: index among the site's nodes.
        card_indexes: indexes of the cards that it uses.
    """

    node_index: int
    card_indexes: tuple[int, ...]


class SiteBinder:
    """The nodes of one site and what is free on them.

    Attributes:
        free_state_counts: how many nodes are in each state.
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
        """Free millicores, MiB and thousandths of cards, summed over the site; [3]."""
        return self._totals

    def refusal_reason(self, shape: TracePodShape) -> str:
        """Why no node holds a pod: `fragmented` when the site's sums would do, else `full`."""
        asked = np.array([shape.cpu_milli, shape.memory_mib, shape.card_count * shape.card_milli])
        return "fragmented" if (self._totals >= asked).all() else "full"

    def bind(self, shape: TracePodShape) -> PodBinding | None:
        """Takes the room for a pod; None when no node has it."""
        fits = (self._cpu >= shape.cpu_milli) & (self._memory >= shape.memory_mib)
        if shape.card_count:
            fits &= (self._cards >= shape.card_milli).sum(axis=1) >= shape.card_count
        if shape.models:
            fits &= np.isin(self._model, shape.models)
        (candidates,) = fits.nonzero()
        if not len(candidates):
            return None
        ranks = self._gpu[candidates] * _GPU_WEIGHT + self._cpu[candidates]
        node = int(candidates[ranks.argmin()])
        bound = PodBinding(node, self._fullest_cards(node, shape))
        self._change_free(bound, shape, -1)
        return bound

    def release(self, binding: PodBinding, shape: TracePodShape) -> None:
        """Gives a pod's room back."""
        self._change_free(binding, shape, 1)

    def node_fits(self, node: int, shape: TracePodShape) -> bool:
        """Whether one node could hold a pod now."""
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
        self._totals = self._totals + sign * change
        self._change_state_count(node, 1)

    def _change_state_count(self, node: int, change: int) -> None:
        state = self._free_state(node)
        self.free_state_counts[state] += change
        if not self.free_state_counts[state]:
            del self.free_state_counts[state]

    def _free_state(self, node: int) -> NodeFreeState:
        cards = tuple(sorted(int(free) for free in self._cards[node] if free != _NO_CARD))
        return (self.nodes[node].model, int(self._cpu[node]), int(self._memory[node]), cards)
