"""Plays a trace in time: pods arrive, are placed, wait, end.

At one instant first pods end, then those that wait are asked about again (oldest first), then new
ones arrive. A waiting pod is asked about again only when room was made that could hold it. A pod
that a chooser sent to a site which cannot hold it (a wrong fit) waits at that site, as in a real
cluster; a pod whose time ends before it is placed is refused with the last reason.
"""

import bisect
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scheduler.simulation.trace.binder import PodBinding, SiteBinder
from scheduler.simulation.trace.choosers import SiteChooser
from scheduler.simulation.trace.reading import NodeRecord, PodRecord, TracePodShape


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a pod ran; `end_seconds` None means that it outlives the trace."""

    pod: PodRecord
    site: int
    node: str
    card_indexes: tuple[int, ...]
    start_seconds: int
    end_seconds: int | None


@dataclass(slots=True)
class TraceUsage:
    """What is allocated over time, by resource: cpu, memory and gpu in the trace's units."""

    capacity: dict[str, int]
    used: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    unit_seconds: Counter[str] = field(default_factory=Counter)
    began_at_seconds: int | None = None
    last_at_seconds: int = 0

    def advance_to(self, now_seconds: int) -> None:
        """Lets time pass."""
        if self.began_at_seconds is None:
            self.began_at_seconds = self.last_at_seconds = now_seconds
        passed = now_seconds - self.last_at_seconds
        for resource, amount in self.used.items():
            self.unit_seconds[resource] += amount * passed
        self.last_at_seconds = now_seconds

    def add(self, shape: TracePodShape, sign: int) -> None:
        """Allocates (1) or frees (-1) what a pod asks."""
        for resource, amount in _requests_of(shape).items():
            self.used[resource] += sign * amount
            self.peak[resource] = max(self.peak[resource], self.used[resource])

    def ratios(self) -> dict[str, dict[str, float]]:
        """Peak and mean over time, as ratios of the capacity; no capacity is 0."""
        seconds = self.last_at_seconds - (self.began_at_seconds or 0)
        found = {}
        for resource, capacity in self.capacity.items():
            whole = max(1, capacity)
            mean = self.unit_seconds[resource] / (whole * max(1, seconds))
            found[resource] = {"peak": self.peak[resource] / whole, "mean": mean}
        return found


@dataclass(slots=True)
class TraceOutcome:
    """What became of a trace."""

    usage: TraceUsage
    assignments: list[Assignment] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    waited: int = 0
    wrong_fits: int = 0


@dataclass(frozen=True, slots=True)
class _WaitingPod:
    """A pod that waits: why, and at which site; None is in front of all sites."""

    reason: str
    site: int | None = None


class _WaitingPods:
    """Pods that wait, by shape, oldest first; those that no longer do are skipped."""

    def __init__(self) -> None:
        self._by_shape: dict[TracePodShape, deque[int]] = {}

    def add(self, index: int, shape: TracePodShape) -> None:
        self._by_shape.setdefault(shape, deque()).append(index)

    def shapes(self) -> list[TracePodShape]:
        return list(self._by_shape)

    def oldest(self, shape: TracePodShape, is_waiting: Callable[[int], bool]) -> int | None:
        queue = self._by_shape.get(shape, deque())
        while queue and not is_waiting(queue[0]):
            queue.popleft()
        if not queue:
            self._by_shape.pop(shape, None)
            return None
        return queue[0]


class TraceRunner:
    """One run of a trace with one chooser. Sites are used up: make new ones for each run."""

    def __init__(
        self, sites: list[SiteBinder], chooser: SiteChooser, pods: list[PodRecord]
    ) -> None:
        self._sites = sites
        self._chooser = chooser
        self._pods = sorted(pods, key=lambda pod: pod.created_seconds)  # the index is the age
        self._outcome = TraceOutcome(
            TraceUsage(_capacity_of(node for site in sites for node in site.nodes))
        )
        self._placed: dict[int, tuple[int, PodBinding]] = {}
        self._waiting: dict[int, _WaitingPod] = {}
        self._waiting_for_site = _WaitingPods()
        self._waiting_at_site = [_WaitingPods() for _ in sites]
        self._ends: list[tuple[int, int]] = []

    def run(self, progress: Callable[[int], None] = lambda _done: None) -> TraceOutcome:
        """Plays the trace to its end.

        Args:
            progress: called with the number of pods that have arrived.
        """
        for index, pod in enumerate(self._pods):
            self._end_until(pod.created_seconds)
            self._arrive(index)
            progress(index + 1)
        while self._ends:
            self._end_until(self._ends[0][0])
        self._outcome.waiting = len(self._waiting)
        return self._outcome

    def _arrive(self, index: int) -> None:
        pod = self._pods[index]
        self._outcome.usage.advance_to(pod.created_seconds)
        if pod.deleted_seconds is not None:
            heapq.heappush(self._ends, (pod.deleted_seconds, index))
        if not self._try_to_place(index, pod.created_seconds):
            self._outcome.waited += 1

    def _try_to_place(self, index: int, now_seconds: int) -> bool:
        """Asks the chooser about a pod that has no site; True when it runs afterwards."""
        pod = self._pods[index]
        choice = self._chooser.choose(pod, now_seconds)
        if choice.site is None:
            if index not in self._waiting:
                self._waiting_for_site.add(index, pod.shape)
            self._waiting[index] = _WaitingPod(choice.reason)
            return False
        if self._bind(index, choice.site, now_seconds):
            return True
        self._outcome.wrong_fits += 1
        self._waiting[index] = _WaitingPod(
            self._sites[choice.site].refusal_reason(pod.shape), choice.site
        )
        self._waiting_at_site[choice.site].add(index, pod.shape)
        return False

    def _bind(self, index: int, site: int, now_seconds: int) -> bool:
        pod = self._pods[index]
        bound = self._sites[site].bind(pod.shape)
        if bound is None:
            return False
        self._waiting.pop(index, None)
        self._placed[index] = (site, bound)
        self._outcome.usage.add(pod.shape, 1)
        node = self._sites[site].nodes[bound.node_index].name
        self._outcome.assignments.append(
            Assignment(pod, site, node, bound.card_indexes, now_seconds, pod.deleted_seconds)
        )
        self._chooser.on_site_change(site, now_seconds)
        return True

    def _end_until(self, now_seconds: int) -> None:
        """Ends all pods that are over by now, instant by instant."""
        while self._ends and self._ends[0][0] <= now_seconds:
            instant = self._ends[0][0]
            self._outcome.usage.advance_to(instant)
            freed: dict[int, list[int]] = {}
            while self._ends and self._ends[0][0] == instant:
                self._end(heapq.heappop(self._ends)[1], freed)
            for site in freed:
                self._chooser.on_site_change(site, instant)
            for site, nodes in freed.items():
                self._retry_waiting(site, nodes, instant)

    def _end(self, index: int, freed: dict[int, list[int]]) -> None:
        if index not in self._placed:
            self._outcome.refused[self._waiting.pop(index).reason] += 1
            return
        site, bound = self._placed.pop(index)
        shape = self._pods[index].shape
        self._sites[site].release(bound, shape)
        self._outcome.usage.add(shape, -1)
        freed.setdefault(site, []).append(bound.node_index)

    def _retry_waiting(self, site: int, nodes: list[int], now_seconds: int) -> None:
        binder = self._sites[site]

        def node_fits(shape: TracePodShape) -> bool:
            return any(binder.node_fits(node, shape) for node in nodes)

        def sum_fits(shape: TracePodShape) -> bool:
            return self._chooser.may_have_room(site, nodes, shape)

        for index in self._oldest_first(self._waiting_at_site[site], site, node_fits):
            self._bind(index, site, now_seconds)
        for index in self._oldest_first(self._waiting_for_site, None, sum_fits):
            self._try_to_place(index, now_seconds)

    def _oldest_first(
        self, queue: _WaitingPods, site: int | None, may_fit: Callable[[TracePodShape], bool]
    ) -> Iterator[int]:
        """Waiting pods that may fit; a shape that was refused once is not offered again."""

        def waits(index: int) -> bool:
            unplaced = self._waiting.get(index)
            return unplaced is not None and unplaced.site == site

        heads = [
            (index, shape)
            for shape in queue.shapes()
            if may_fit(shape) and (index := queue.oldest(shape, waits)) is not None
        ]
        heads.sort(key=lambda entry: entry[0])
        while heads:
            index, shape = heads.pop(0)
            yield index
            following = None if waits(index) else queue.oldest(shape, waits)
            if following is not None:
                bisect.insort(heads, (following, shape), key=lambda entry: entry[0])


def _capacity_of(nodes: Iterator[NodeRecord]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for node in nodes:
        total["cpu"] += node.cpu_milli
        total["memory"] += node.memory_mib
        total["gpu"] += node.card_count * 1000
    return dict(total)


def _requests_of(shape: TracePodShape) -> dict[str, int]:
    return {
        "cpu": shape.cpu_milli,
        "memory": shape.memory_mib,
        "gpu": shape.card_count * shape.card_milli,
    }
