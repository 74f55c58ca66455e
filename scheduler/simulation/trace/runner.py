"""Replays a trace in time: pods arrive, are placed or wait, and end.

At each instant first pods end, then waiting pods are tried again (oldest first), then new pods
arrive. A waiting pod is tried again only when capacity was freed that could hold it. A pod that a
chooser sent to a site that cannot hold it (a wrong fit) waits at that site, as in a real cluster. A
pod that ends before it is placed is refused, with the last reason.
"""

import bisect
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scheduler.simulation.trace.binder import PodBinding, SiteBinder
from scheduler.simulation.trace.choosers import SiteChooser
from scheduler.simulation.trace.reading import CARD_MILLI, NodeRecord, PodRecord, TracePodShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where and when a pod ran; `end_seconds` None: it never ended."""

    pod: PodRecord
    site: int
    node: str
    card_indexes: tuple[int, ...]
    start_seconds: int
    end_seconds: int | None


@dataclass(slots=True, kw_only=True)
class TraceUsage:
    """Allocation over time, by resource: cpu, memory and gpu, in the units of the trace.

    Attributes:
        capacity: capacity of all nodes.
        used: allocated now.
        peak: the most that was allocated at one time.
        unit_seconds: allocation integrated over time.
        began_at_seconds: time of the first pod; None: no pod yet.
        last_at_seconds: the current time.
    """

    capacity: dict[str, int]
    used: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    unit_seconds: Counter[str] = field(default_factory=Counter)
    began_at_seconds: int | None = None
    last_at_seconds: int = 0

    def advance_to(self, now_seconds: int) -> None:
        """Advances the time, and integrates the allocation over it."""
        if self.began_at_seconds is None:
            self.began_at_seconds = self.last_at_seconds = now_seconds
        passed = now_seconds - self.last_at_seconds
        for resource, amount in self.used.items():
            self.unit_seconds[resource] += amount * passed
        self.last_at_seconds = now_seconds

    def add(self, shape: TracePodShape, sign: int) -> None:
        """Allocates (`sign` 1) or frees (-1) the requests of a pod."""
        for resource, amount in _requests_of(shape).items():
            self.used[resource] += sign * amount
            self.peak[resource] = max(self.peak[resource], self.used[resource])

    def ratios(self) -> dict[str, dict[str, float]]:
        """Peak and mean over time, as ratios of the capacity; 0 for a resource without capacity."""
        seconds = self.last_at_seconds - (self.began_at_seconds or 0)
        found = {}
        for resource, capacity in self.capacity.items():
            whole = max(1, capacity)
            mean = self.unit_seconds[resource] / (whole * max(1, seconds))
            found[resource] = {"peak": self.peak[resource] / whole, "mean": mean}
        return found


@dataclass(slots=True, kw_only=True)
class TraceOutcome:
    """Result of a run.

    Attributes:
        usage: allocation over time.
        assignments: placed pods, by start time.
        refused: number of refused pods by reason.
        waiting: pods that still wait at the end.
        waited: pods that had to wait.
        wrong_fits: choices of a site that could not hold the pod.
    """

    usage: TraceUsage
    assignments: list[Assignment] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    waited: int = 0
    wrong_fits: int = 0


@dataclass(frozen=True, slots=True)
class _WaitingPod:
    """A waiting pod: the reason, and the site at which it waits; None: no site was chosen yet."""

    reason: str
    site: int | None = None


class _WaitingPods:
    """Queues of waiting pods by shape, oldest first; pods that no longer wait are skipped."""

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
    """One run of a trace with one chooser.

    Args:
        sites: binders of all sites; the run changes them, so each run needs new ones.
        chooser: chooses a site for each pod.
        pods: the pods, in any order.
    """

    def __init__(
        self, *, sites: list[SiteBinder], chooser: SiteChooser, pods: list[PodRecord]
    ) -> None:
        self._sites = sites
        self._chooser = chooser
        self._pods = sorted(pods, key=lambda pod: pod.created_seconds)  # the index is the age
        self._outcome = TraceOutcome(
            usage=TraceUsage(capacity=_capacity_of(node for site in sites for node in site.nodes))
        )
        self._placed: dict[int, tuple[int, PodBinding]] = {}
        self._waiting: dict[int, _WaitingPod] = {}
        self._waiting_for_site = _WaitingPods()
        self._waiting_at_site = [_WaitingPods() for _ in sites]
        self._ends: list[tuple[int, int]] = []

    def run(self, progress: Callable[[int], None] = lambda _done: None) -> TraceOutcome:
        """Replays the trace to its end.

        Args:
            progress: called with the number of pods that have arrived so far.
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
        """Chooses a site for a pod and binds it there; returns whether the pod runs now."""
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
            Assignment(
                pod=pod,
                site=site,
                node=node,
                card_indexes=bound.card_indexes,
                start_seconds=now_seconds,
                end_seconds=pod.deleted_seconds,
            )
        )
        self._chooser.on_site_change(site, now_seconds)
        return True

    def _end_until(self, now_seconds: int) -> None:
        """Ends all pods whose time is over, instant by instant."""
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
            return self._chooser.may_have_capacity(site, nodes, shape)

        for index in self._oldest_first(self._waiting_at_site[site], site, node_fits):
            self._bind(index, site, now_seconds)
        for index in self._oldest_first(self._waiting_for_site, None, sum_fits):
            self._try_to_place(index, now_seconds)

    def _oldest_first(
        self, queue: _WaitingPods, site: int | None, may_fit: Callable[[TracePodShape], bool]
    ) -> Iterator[int]:
        """Waiting pods that may fit, oldest first; after a failure the rest of a shape is skipped.

        The caller tries to place each pod before it takes the next one.
        """

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
            # Still waiting means that it did not fit, and so does no other pod of this shape.
            following = None if waits(index) else queue.oldest(shape, waits)
            if following is not None:
                bisect.insort(heads, (following, shape), key=lambda entry: entry[0])


def _capacity_of(nodes: Iterator[NodeRecord]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for node in nodes:
        total["cpu"] += node.cpu_milli
        total["memory"] += node.memory_mib
        total["gpu"] += node.card_count * CARD_MILLI
    return dict(total)


def _requests_of(shape: TracePodShape) -> dict[str, int]:
    return {
        "cpu": shape.cpu_milli,
        "memory": shape.memory_mib,
        "gpu": shape.card_count * shape.card_milli,
    }
