"""The names of node labels that workloads ask for, so that agents report these first.

An agent reports at most 64 labels of a node; of a label that it leaves out nothing is known. Every
index names the labels that demands select or spread by.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.manifests.pods import HOSTNAME_LABEL, NODE_NAME_FIELD, PodShape

MAX_KEYS = 64
"""As many as an agent reports labels of a node."""

_MAX_KEY_BYTES = 256
_MAX_KEYS_PER_NAMESPACE = 256


@dataclass(slots=True, kw_only=True)
class NodeLabelKeys:
    """Keeps the names of all demands, and chooses those that go to agents.

    Namespaces take turns, so that one of them cannot take the room of the others. A name that was
    sent goes first in its namespace: the choice, and with it the indexes, change seldom.

    Attributes:
        on_change: called when a name goes out that did not before.
    """

    on_change: Callable[[], None]
    _keys_of: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _counts: dict[str, dict[str, int]] = field(default_factory=dict)
    _sent: tuple[str, ...] = ()

    def for_agents(self) -> tuple[str, ...]:
        """The names for agents, at most 64, sorted."""
        return self._sent

    def record(self, key: WorkKey, demand: Demand) -> None:
        """Takes in what the demand of a workload asks for now."""
        self.record_keys(key, frozenset(keys_of(demand)))

    def record_keys(self, key: WorkKey, asked: frozenset[str]) -> None:
        """Does as `record`, with the names that `keys_of` finds in the demand."""
        before = self._keys_of.get(key, frozenset())
        if asked == before:
            return
        self._drop(key)
        counts = self._counts.setdefault(key[0], {})
        kept = {one for one in asked if one in counts or len(counts) < _MAX_KEYS_PER_NAMESPACE}
        for one in sorted(kept):
            counts[one] = counts.get(one, 0) + 1
        if kept:
            self._keys_of[key] = frozenset(kept)
        if not kept <= set(self._sent):
            self._choose()

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload; its names still go to agents until others need their room."""
        self._drop(key)

    def _drop(self, key: WorkKey) -> None:
        counts = self._counts.get(key[0], {})
        for one in self._keys_of.pop(key, frozenset()):
            counts[one] -= 1
            if not counts[one]:
                del counts[one]
        if not counts:
            self._counts.pop(key[0], None)

    def _choose(self) -> None:
        sent, turns = frozenset(self._sent), dict[str, int]()
        for counts in self._counts.values():
            ordered = sorted(counts, key=lambda one: (one not in sent, -counts[one], one))
            for turn, one in enumerate(ordered[:MAX_KEYS]):
                turns[one] = min(turn, turns.get(one, turn))
        chosen = sorted(turns, key=lambda one: (turns[one], one not in sent, one))[:MAX_KEYS]
        if not sent.issuperset(chosen):
            self._sent = tuple(sorted(chosen))
            self.on_change()


def keys_of(demand: Demand) -> Iterator[str]:
    """Names of the node labels that the pods of a demand ask for; a node's name is its host's."""
    shapes = (
        *(one.shape for one in (*demand.unit, *demand.beside)),
        *demand.per_node,
    )
    for shape in shapes:
        for key in _keys_of_shape(shape):
            name = HOSTNAME_LABEL if key == NODE_NAME_FIELD else key
            if 0 < len(name.encode(errors="replace")) <= _MAX_KEY_BYTES:
                yield name


def _keys_of_shape(shape: PodShape) -> Iterable[str]:
    yield from shape.node_selector
    for term in shape.node_affinity:
        yield from (one.key for one in term)
    yield from shape.one_per
    # Nodes of one class spread over their hosts without names.
    yield from (one.topology_key for one in shape.skews if one.topology_key != HOSTNAME_LABEL)
