"""Plays one trace with the placement code and with the baselines, from the same start."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.runtime.clock import Clock
from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.choosers import Chooser, RoundRobin, SumOfFree
from scheduler.simulation.trace.grouping import BY_HARDWARE, SHUFFLED, SiteRecord, group
from scheduler.simulation.trace.kapok import Kapok
from scheduler.simulation.trace.reading import NodeRecord, PodRecord
from scheduler.simulation.trace.report import Run
from scheduler.simulation.trace.runner import Outcome, Runner

BASELINES: dict[str, Callable[[list[SiteBinder]], Chooser]] = {
    "round-robin": RoundRobin,
    "sum-of-free": SumOfFree,
}

_MOST_STRETCH = 1e6

Progress = Callable[[str, int, int], None]
"""Called with the name of a run, pods that have arrived, pods in all."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What is played.

    Attributes:
        nodes: all machines.
        pods: all pods.
        sites: how many sites the machines are grouped into.
        seed: None groups by hardware; a number shuffles.
        stretch: how many times as long as recorded every pod stays.
    """

    nodes: list[NodeRecord]
    pods: list[PodRecord]
    sites: int
    seed: int | None = None
    stretch: float = 1.0

    def stretched(self) -> list[PodRecord]:
        """The pods, with their ends moved.

        Raises:
            ValueError: the factor is no positive number.
        """
        if not 0 < self.stretch < _MOST_STRETCH:
            raise ValueError(f"--stretch {self.stretch}: write a factor above 0, below 1e6")
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


def simulate(trace: Trace, policy: PlacementPolicy, *, clock: Clock, progress: Progress) -> Run:
    """Plays a trace.

    Raises:
        ValueError: the sites cannot be made.
        NotForTraces: the policy cannot decide about single pods.
    """
    began = clock.monotonic()
    pods = trace.stretched()
    sites = group(trace.nodes, trace.sites, seed=trace.seed)
    binders = _binders(sites)
    kapok = Kapok(binders, [site.name for site in sites], policy, clock=clock)
    outcome = _run("kapok", pods, binders, kapok, progress)
    baselines: dict[str, Outcome] = {}
    for name, chooser in BASELINES.items():
        binders = _binders(sites)
        baselines[name] = _run(name, pods, binders, chooser(binders), progress)
    return Run(
        pods=len(trace.pods),
        nodes=len(trace.nodes),
        sites=[site.name for site in sites],
        rule=BY_HARDWARE if trace.seed is None else f"{SHUFFLED} ({trace.seed})",
        policy=policy.metadata.name,
        stretch=trace.stretch,
        kapok=outcome,
        effort=kapok.effort,
        baselines=baselines,
        seconds=clock.monotonic() - began,
    )


def _binders(sites: list[SiteRecord]) -> list[SiteBinder]:
    return [SiteBinder(site) for site in sites]


def _run(
    name: str,
    pods: list[PodRecord],
    binders: list[SiteBinder],
    chooser: Chooser,
    progress: Progress,
) -> Outcome:
    whole = len(pods)
    return Runner(binders, chooser, pods).run(lambda done: progress(name, done, whole))
