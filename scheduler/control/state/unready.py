"""Which replicas that are not ready are to be replaced now, and why others are not.

The loop fills it, and decisions read it. Nothing of it outlives a term: what was moved stands in
`Workload.status.failover.unready`, and what is not ready is measured again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from scheduler.model.canonical import canonical_digest
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.failover.unready import HeldUnready, UnreadyEviction, UnreadyReturn

UnreadyTask = UnreadyEviction | UnreadyReturn
"""Replicas to be replaced, or a move to be taken back."""

_NONE: Mapping[str, HeldUnready] = MappingProxyType({})


def content_of(workload: Workload) -> str:
    """Names the manifests of a workload: equal for equal ones, whatever the number of replicas."""
    return canonical_digest(workload.spec.manifests)[-16:]


@dataclass(slots=True)
class UnreadyReplacements:
    """One task of each workload, and what is held, by workload and site."""

    _tasks: dict[WorkKey, UnreadyTask] = field(default_factory=dict)
    _held: dict[WorkKey, dict[str, HeldUnready]] = field(default_factory=dict)
    _refused: dict[WorkKey, tuple[str, HeldUnready]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._tasks)

    def has_task(self, key: WorkKey) -> bool:
        """Whether the next decision about a workload carries out a task."""
        return key in self._tasks

    def ask(self, key: WorkKey, task: UnreadyTask) -> None:
        """Has the next decision about a workload carry out a task."""
        self._tasks[key] = task

    def take(self, key: WorkKey) -> UnreadyTask | None:
        """Removes and returns the task of a workload that is being decided."""
        return self._tasks.pop(key, None)

    def refuse(self, key: WorkKey, site: str, held: HeldUnready) -> None:
        """Notes why replicas at a site could not be replaced, until `pop_refused`."""
        self._refused[key] = (site, held)

    def pop_refused(self) -> dict[WorkKey, tuple[str, HeldUnready]]:
        """Removes and returns what could not be carried out: the site and why, by workload."""
        refused, self._refused = self._refused, {}
        return refused

    def hold(self, key: WorkKey, held: Mapping[str, HeldUnready]) -> bool:
        """Sets why replicas stay, by site; returns whether that is new."""
        if self._held.get(key, _NONE) == held:
            return False
        if held:
            self._held[key] = dict(held)
        else:
            del self._held[key]
        return True

    def held_at(self, key: WorkKey) -> Mapping[str, HeldUnready]:
        """Why replicas of a workload that are not ready stay, by site."""
        return self._held.get(key, _NONE)

    def held(self) -> Iterator[WorkKey]:
        """The workloads with replicas that are not ready and stay."""
        return iter(tuple(self._held))

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone."""
        self._tasks.pop(key, None)
        self._held.pop(key, None)
        self._refused.pop(key, None)
