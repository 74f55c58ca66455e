"""Kapok's chooser: the same `demand_of`, `Fleet` and `choose` as in `kapok up`.

Each site sends a new report as soon as a pod was bound or ended there: free capacity node by node,
equal nodes counted, single cards with their free thousandths. Sites differ only in their capacity:
they have the same grant, and no prices.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts, site_facts_of
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.fields import NameReference
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import PlacementPolicy
from scheduler.model.kinds.rights import SiteGrant, SiteGrantSpec
from scheduler.model.kinds.site import NodeClass, Site, SiteSpec, SiteStatus
from scheduler.model.kinds.workload import PodDemand, Workload, WorkloadSpec
from scheduler.model.quantities import GPU_CARDS, GPU_MILLI, MILLI_PER_UNIT
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.simulation.trace.binder import NodeFreeState, SiteBinder
from scheduler.simulation.trace.choosers import SiteChoice
from scheduler.simulation.trace.reading import PodRecord, TracePodShape

_NAMESPACE = "trace"
_TRACE_START = datetime(2023, 1, 1, tzinfo=UTC)
"""The time of second 0 of a trace; traces have no calendar."""
_TERMS = Terms(report_stale_seconds=315_360_000)
"""Reports stay fresh for ten years: a site reports every change, so an old report is still true."""
_ARCHITECTURE = "amd64"


class UnsupportedTracePolicy(ValueError):
    """A policy cannot be used for single pods; the message says why."""


@dataclass(slots=True)
class DecisionTimings:
    """Time that decisions took.

    Attributes:
        decisions: number of decisions.
        deciding_seconds: time in `choose`.
        reporting_seconds: time to update the fleet with reports of sites.
    """

    decisions: int = 0
    deciding_seconds: float = 0.0
    reporting_seconds: float = 0.0


class KapokChooser:
    """Chooses sites with the placement code.

    Args:
        sites: the binders of all sites.
        names: names of the sites, in the same order.
        policy: the placement policy of all pods.
        clock: measures the time of decisions.

    Attributes:
        stats: time that decisions took so far.
    """

    def __init__(
        self,
        *,
        sites: list[SiteBinder],
        names: list[str],
        policy: PlacementPolicy,
        clock: Clock,
    ) -> None:
        self._sites = sites
        self._policy = policy
        self._clock = clock
        self._index = {name: number for number, name in enumerate(names)}
        grant = SiteGrant(spec=SiteGrantSpec(sites=tuple(names)), metadata=Metadata(name="trace"))
        self._reported_facts = [
            site_facts_of(Site(metadata=Metadata(name=name), spec=SiteSpec()), [grant])
            for name in names
        ]
        self._fleet = Fleet()
        self._demands: dict[TracePodShape, Demand] = {}
        self.stats = DecisionTimings()
        for number in range(len(sites)):
            self.on_site_change(number, 0)

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """Runs a decision; a pod that is not placed waits, with the reason.

        Raises:
            UnsupportedTracePolicy: the policy runs a pod more than once.
        """
        demand = self._demand_for(pod)
        began = self._clock.monotonic()
        decision = choose(demand, self._fleet, now=time_at(now_seconds), terms=_TERMS)
        self.stats.deciding_seconds += self._clock.monotonic() - began
        self.stats.decisions += 1
        if decision.phase != "Placed":
            return SiteChoice(None, _reason_of(decision))
        if decision.replicas != 1:
            name = self._policy.metadata.name
            raise UnsupportedTracePolicy(
                f"{name} runs a pod {decision.replicas} times; a pod runs once"
            )
        return SiteChoice(self._index[decision.assignment[0].site])

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """Updates the fleet with a new report of the site."""
        began = self._clock.monotonic()
        status = SiteStatus(
            observed_at=time_at(now_seconds),
            executor=True,
            node_classes=node_classes_of(self._sites[site]),
        )
        facts: SiteFacts = msgspec.structs.replace(self._reported_facts[site], status=status)
        self._fleet.upsert(facts)
        self.stats.reporting_seconds += self._clock.monotonic() - began

    def may_have_capacity(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Whether one of these nodes can hold the shape; otherwise the decision cannot change."""
        return any(self._sites[site].node_fits(node, shape) for node in nodes)

    def _demand_for(self, pod: PodRecord) -> Demand:
        found = self._demands.get(pod.shape)
        if found is None:
            found = self._demands[pod.shape] = _demand_of_shape(pod.shape, self._policy)
        key = f"{_NAMESPACE}/{pod.name}"
        return msgspec.structs.replace(found, key=key, uid=pod.name)


def _demand_of_shape(shape: TracePodShape, policy: PlacementPolicy) -> Demand:
    requests: dict[str, int | float | str] = {
        "cpu": f"{shape.cpu_milli}m",
        "memory": f"{shape.memory_mib}Mi",
    }
    if shape.card_count:
        requests |= {GPU_CARDS: shape.card_count, GPU_MILLI: shape.card_milli}
    workload = Workload(
        metadata=Metadata(name="pod", namespace=_NAMESPACE),
        spec=WorkloadSpec(
            data_class="general-1",
            demand=PodDemand(requests=requests, gpu_models=shape.models),
            policy_ref=NameReference(name=policy.metadata.name),
        ),
    )
    demand = demand_of(workload, policies=[policy])
    if isinstance(demand, NotAccepted):
        raise UnsupportedTracePolicy(demand.message)
    if demand.strategy == "Duplicated":
        raise UnsupportedTracePolicy(
            "strategy Duplicated runs every pod at every site; a pod runs once"
        )
    return demand


def node_classes_of(site: SiteBinder) -> tuple[NodeClass, ...]:
    """Free capacity of a site as in a report: nodes with equal free capacity are counted."""
    rows: dict[str, list[dict[str, int | float | str]]] = {}
    for state, count in site.free_state_counts.items():
        rows.setdefault(state[0], []).append({"count": count, **_free_row(state)})
    return tuple(
        NodeClass(architecture=_ARCHITECTURE, gpu_model=model, free=tuple(free))
        for model, free in rows.items()
    )


@lru_cache(maxsize=65_536)
def _free_row(free_state: NodeFreeState) -> dict[str, int | float | str]:
    _, cpu_milli, memory_mib, cards = free_state
    free = {f"{GPU_MILLI}.{number}": milli for number, milli in enumerate(cards)}
    cores, rest = divmod(cpu_milli, MILLI_PER_UNIT)
    cpu: int | str = f"{cpu_milli}m" if rest else cores
    return {"cpu": cpu, "memory": memory_mib * 2**20, **free}


def _reason_of(decision: Decision) -> str:
    """One slug of several: `fragmented` if any site has it, else the most frequent one."""
    if "fragmented" in decision.reasons:
        return "fragmented"
    ranked = sorted(decision.reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    return ranked[0][0] if ranked else "full"


def time_at(seconds: int) -> datetime:
    """The time of a second of the trace."""
    return _TRACE_START + timedelta(seconds=seconds)
