"""Replays one trace with the placement code and with the baselines, from the same start."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.runtime.clock import Clock
from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.choosers import RoundRobin, SiteChooser, SumOfFree
from scheduler.simulation.trace.grouping import BY_HARDWARE, SHUFFLED, SiteRecord, group_nodes
from scheduler.simulation.trace.kapok import KapokChooser
from scheduler.simulation.trace.reading import NodeRecord, PodRecord
from scheduler.simulation.trace.report import TraceComparison
from scheduler.simulation.trace.runner import TraceOutcome, TraceRunner

BASELINES: dict[str, Callable[[list[SiteBinder]], SiteChooser]] = {
    "round-robin": RoundRobin,
    "sum-of-free": SumOfFree,
}

_MAX_STRETCH = 1e6

ProgressCallback = Callable[[str, int, int], None]
"""Called with the name of a run, the number of pods that have arrived, and the number of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace and how to replay it.

    Attributes:
        nodes: all machines.
        pods: all pods.
        site_count: number of sites to group the machines into.
        seed: None groups by hardware; a number shuffles.
        stretch: factor on the time that every pod stays.
    """

    nodes: list[NodeRecord]
    pods: list[PodRecord]
    site_count: int
    seed: int | None = None
    stretch: float = 1.0

    def stretched_pods(self) -> list[PodRecord]:
        """The pods, with the time that they stay multiplied by `stretch`.

        Raises:
            ValueError: `stretch` is out of range.
        """
        if not 0 < self.stretch < _MAX_STRETCH:
            raise ValueError(f"--stretch {self.stretch}: expected a factor above 0 and below 1e6")
        if self.stretch == 1:
            return self.pods
        return [
            replace(
                pod,
                deleted_seconds=pod.created_seconds
                + round((pod.deleted_seconds - pod.created_seconds) * self.stretch),
            )
            if pod.deleted_seconds is not None
            else pod
            for pod in self.pods
        ]


def simulate(
    trace: Trace, policy: PlacementPolicy, *, clock: Clock, progress: ProgressCallback
) -> TraceComparison:
    """Replays a trace with the placement code and with each baseline.

    Args:
        trace: the trace.
        policy: the placement policy of all pods.
        clock: measures the time of decisions.
        progress: called after each pod that arrives.

    Raises:
        ValueError: the number of sites or the stretch is out of range.
        UnsupportedTracePolicy: the policy cannot be used for single pods.
    """
    began = clock.monotonic()
    pods = trace.stretched_pods()
    sites = group_nodes(trace.nodes, trace.site_count, seed=trace.seed)
    binders = _make_binders(sites)
    kapok = KapokChooser(
        sites=binders, names=[site.name for site in sites], policy=policy, clock=clock
    )
    outcome = _run_trace("kapok", pods, binders, kapok, progress)
    baselines: dict[str, TraceOutcome] = {}
    for name, chooser in BASELINES.items():
        binders = _make_binders(sites)
        baselines[name] = _run_trace(name, pods, binders, chooser(binders), progress)
    return TraceComparison(
        pod_count=len(trace.pods),
        node_count=len(trace.nodes),
        site_names=[site.name for site in sites],
        grouping=BY_HARDWARE if trace.seed is None else f"{SHUFFLED} ({trace.seed})",
        policy=policy.metadata.name,
        stretch=trace.stretch,
        kapok=outcome,
        timings=kapok.stats,
        baselines=baselines,
        elapsed_seconds=clock.monotonic() - began,
    )


def _make_binders(sites: list[SiteRecord]) -> list[SiteBinder]:
    return [SiteBinder(site) for site in sites]


def _run_trace(
    name: str,
    pods: list[PodRecord],
    binders: list[SiteBinder],
    chooser: SiteChooser,
    progress: ProgressCallback,
) -> TraceOutcome:
    whole = len(pods)
    return TraceRunner(sites=binders, chooser=chooser, pods=pods).run(
        lambda done: progress(name, done, whole)
    )
