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

from scheduler.simulation.trace.binder import Bound, SiteBinder
from scheduler.simulation.trace.choosers import Chooser
from scheduler.simulation.trace.reading import NodeRecord, PodRecord, Shape


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a pod ran; `end_seconds` None means that it outlives the trace."""

    pod: PodRecord
    site: int
    node: str
    cards: tuple[int, ...]
    start_seconds: int
    end_seconds: int | None


@dataclass(slots=True)
class Usage:
    """What is allocated over time, by resource: cpu, memory and gpu in the trace's units."""

    capacity: dict[str, int]
    used: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    unit_seconds: Counter[str] = field(default_factory=Counter)
    begun_seconds: int | None = None
    last_seconds: int = 0

    def move_to(self, now_seconds: int) -> None:
        """Lets time pass."""
        if self.begun_seconds is None:
            self.begun_seconds = self.last_seconds = now_seconds
        passed = now_seconds - self.last_seconds
        for resource, amount in self.used.items():
            self.unit_seconds[resource] += amount * passed
        self.last_seconds = now_seconds

    def change(self, shape: Shape, sign: int) -> None:
        """Allocates (1) or frees (-1) what a pod asks."""
        for resource, amount in _amounts(shape).items():
            self.used[resource] += sign * amount
            self.peak[resource] = max(self.peak[resource], self.used[resource])

    def ratios(self) -> dict[str, dict[str, float]]:
        """Peak and mean over time, as ratios of the capacity; no capacity is 0."""
        seconds = self.last_seconds - (self.begun_seconds or 0)
        found = {}
        for resource, capacity in self.capacity.items():
            whole = max(1, capacity)
            mean = self.unit_seconds[resource] / (whole * max(1, seconds))
            found[resource] = {"peak": self.peak[resource] / whole, "mean": mean}
        return found


@dataclass(slots=True)
class Outcome:
    """What became of a trace."""

    usage: Usage
    assignments: list[Assignment] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    waited: int = 0
    wrong_fits: int = 0


@dataclass(frozen=True, slots=True)
class _Unplaced:
    """A pod that waits: why, and at which site; None is in front of all sites."""

    reason: str
    site: int | None = None


class _Waiting:
    """Pods that wait, by shape, oldest first; those that no longer do are skipped."""

    def __init__(self) -> None:
        self._by_shape: dict[Shape, deque[int]] = {}

    def add(self, index: int, shape: Shape) -> None:
        self._by_shape.setdefault(shape, deque()).append(index)

    def shapes(self) -> list[Shape]:
        return list(self._by_shape)

    def head(self, shape: Shape, is_waiting: Callable[[int], bool]) -> int | None:
        queue = self._by_shape.get(shape, deque())
        while queue and not is_waiting(queue[0]):
            queue.popleft()
        if not queue:
            self._by_shape.pop(shape, None)
            return None
        return queue[0]


class Runner:
    """One run of a trace with one chooser. Sites are used up: make new ones for each run."""

    def __init__(self, sites: list[SiteBinder], chooser: Chooser, pods: list[PodRecord]) -> None:
        self._sites = sites
        self._chooser = chooser
        self._pods = sorted(pods, key=lambda pod: pod.created_seconds)  # the index is the age
        self._outcome = Outcome(Usage(_capacity(node for site in sites for node in site.nodes)))
        self._placed: dict[int, tuple[int, Bound]] = {}
        self._unplaced: dict[int, _Unplaced] = {}
        self._hub = _Waiting()
        self._at_site = [_Waiting() for _ in sites]
        self._endings: list[tuple[int, int]] = []

    def run(self, progress: Callable[[int], None] = lambda _done: None) -> Outcome:
        """Plays the trace to its end.

        Args:
            progress: called with the number of pods that have arrived.
        """
        for index, pod in enumerate(self._pods):
            self._end_until(pod.created_seconds)
            self._arrive(index)
            progress(index + 1)
        while self._endings:
            self._end_until(self._endings[0][0])
        self._outcome.waiting = len(self._unplaced)
        return self._outcome

    def _arrive(self, index: int) -> None:
        pod = self._pods[index]
        self._outcome.usage.move_to(pod.created_seconds)
        if pod.deleted_seconds is not None:
            heapq.heappush(self._endings, (pod.deleted_seconds, index))
        if not self._try(index, pod.created_seconds):
            self._outcome.waited += 1

    def _try(self, index: int, now_seconds: int) -> bool:
        """Asks the chooser about a pod that has no site; True when it runs afterwards."""
        pod = self._pods[index]
        choice = self._chooser.choose(pod, now_seconds)
        if choice.site is None:
            if index not in self._unplaced:
                self._hub.add(index, pod.shape)
            self._unplaced[index] = _Unplaced(choice.reason)
            return False
        if self._bind(index, choice.site, now_seconds):
            return True
        self._outcome.wrong_fits += 1
        self._unplaced[index] = _Unplaced(
            self._sites[choice.site].hindrance(pod.shape), choice.site
        )
        self._at_site[choice.site].add(index, pod.shape)
        return False

    def _bind(self, index: int, site: int, now_seconds: int) -> bool:
        pod = self._pods[index]
        bound = self._sites[site].bind(pod.shape)
        if bound is None:
            return False
        self._unplaced.pop(index, None)
        self._placed[index] = (site, bound)
        self._outcome.usage.change(pod.shape, 1)
        node = self._sites[site].nodes[bound.node].name
        self._outcome.assignments.append(
            Assignment(pod, site, node, bound.cards, now_seconds, pod.deleted_seconds)
        )
        self._chooser.changed(site, now_seconds)
        return True

    def _end_until(self, now_seconds: int) -> None:
        """Ends all pods that are over by now, instant by instant."""
        while self._endings and self._endings[0][0] <= now_seconds:
            instant = self._endings[0][0]
            self._outcome.usage.move_to(instant)
            freed: dict[int, list[int]] = {}
            while self._endings and self._endings[0][0] == instant:
                self._end(heapq.heappop(self._endings)[1], freed)
            for site in freed:
                self._chooser.changed(site, instant)
            for site, nodes in freed.items():
                self._wake(site, nodes, instant)

    def _end(self, index: int, freed: dict[int, list[int]]) -> None:
        if index not in self._placed:
            self._outcome.refused[self._unplaced.pop(index).reason] += 1
            return
        site, bound = self._placed.pop(index)
        shape = self._pods[index].shape
        self._sites[site].release(bound, shape)
        self._outcome.usage.change(shape, -1)
        freed.setdefault(site, []).append(bound.node)

    def _wake(self, site: int, nodes: list[int], now_seconds: int) -> None:
        binder = self._sites[site]

        def node_fits(shape: Shape) -> bool:
            return any(binder.node_fits(node, shape) for node in nodes)

        def sum_fits(shape: Shape) -> bool:
            return self._chooser.may_have_room(site, nodes, shape)

        for index in self._oldest_first(self._at_site[site], site, node_fits):
            self._bind(index, site, now_seconds)
        for index in self._oldest_first(self._hub, None, sum_fits):
            self._try(index, now_seconds)

    def _oldest_first(
        self, queue: _Waiting, place: int | None, may_fit: Callable[[Shape], bool]
    ) -> Iterator[int]:
        """Waiting pods that may fit; a shape that was refused once is not offered again."""

        def waits(index: int) -> bool:
            unplaced = self._unplaced.get(index)
            return unplaced is not None and unplaced.site == place

        heads = [
            (index, shape)
            for shape in queue.shapes()
            if may_fit(shape) and (index := queue.head(shape, waits)) is not None
        ]
        heads.sort(key=lambda entry: entry[0])
        while heads:
            index, shape = heads.pop(0)
            yield index
            following = None if waits(index) else queue.head(shape, waits)
            if following is not None:
                bisect.insort(heads, (following, shape), key=lambda entry: entry[0])


def _capacity(nodes: Iterator[NodeRecord]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for node in nodes:
        total["cpu"] += node.cpu_milli
        total["memory"] += node.memory_mib
        total["gpu"] += node.cards * 1000
    return dict(total)


def _amounts(shape: Shape) -> dict[str, int]:
    return {
        "cpu": shape.cpu_milli,
        "memory": shape.memory_mib,
        "gpu": shape.cards * shape.card_milli,
    }
