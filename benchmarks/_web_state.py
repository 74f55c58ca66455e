"""A state of many sites and workloads, without hub and broker, for the HTTP benchmarks."""

from dataclasses import dataclass, field

import msgspec

from scheduler.control.ports.agents import OrderState, OrderStatusReport, SiteReport
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.state.objects import HubObjects
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import Site, Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import (
    Intensity,
    Location,
    NodeClass,
    Power,
    SiteEnergy,
    SiteSpec,
    SiteStatus,
)
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, WorkloadStatus
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.web.snapshot import SnapshotSources, StateSnapshot, take_snapshot
from tests.support.null_telemetry import NullTelemetry

ROWS_PER_SITE = 20
ORDERS_PER_SITE = 50
_UNPLACED_KINDS = 20


@dataclass(slots=True)
class WebState:
    """Sites that report, and workloads, of which some cannot be placed.

    Attributes:
        clock: gives the age of reports.
        scene: the sources of snapshots.
    """

    clock: Clock
    sources: SnapshotSources = field(init=False)
    _report_count: int = 0

    def __post_init__(self) -> None:
        fleet, faults = Fleet(), Faults(clock=self.clock, count=lambda _: None)

        def tell(site: str, facts: SiteFacts | None) -> None:
            if facts is None:
                fleet.remove(site)
            else:
                fleet.upsert(facts)

        registry = HubObjects(NullTelemetry(), lambda *_: None, faults)
        self.sources = SnapshotSources(
            registry=registry,
            sites=Sites(
                objects=registry, clock=self.clock, silent_after_seconds=45.0, facts_sink=tell
            ),
            fleet=fleet,
            queue=SchedulingQueue(
                clock=self.clock,
                first_backoff_seconds=1.0,
                last_backoff_seconds=60.0,
                recheck_seconds=300.0,
            ),
            unadmitted_sites=UnadmittedSites(self.clock, faults),
            workload_stats=WorkloadStats(self.clock, NullTelemetry()),
            clock=self.clock,
            stale_after_seconds=300.0,
        )

    def admit(self, sites: int) -> None:
        """Creates sites that have not reported."""
        for number in range(sites):
            site = Site(metadata=Metadata(name=name_of(number)), spec=_SPEC)
            self.sources.registry.sites[site.metadata.name] = site
            self.sources.sites.admit(site.metadata.name)

    def report_all(self) -> None:
        """Every site reports figures that it has never reported before."""
        self._report_count += 1
        for number, name in enumerate(self.sources.sites.states):
            self.sources.sites.on_report(
                _report(name, self._report_count + number, self.clock.monotonic())
            )
            self.sources.sites.on_order_status(_order_status_report(name))

    def report_some(self, first: int, number: int) -> None:
        """Some sites report figures that they have never reported before, in a round."""
        names = list(self.sources.sites.states)
        for place in range(first, first + number):
            name = names[place % len(names)]
            self.sources.sites.on_report(_report(name, place, self.clock.monotonic()))

    def place(self, workloads: int) -> None:
        """Creates running workloads, on one site after the other."""
        names = list(self.sources.sites.states)
        for number in range(workloads):
            key, site = ("default", f"work-{number:05}"), names[number % len(names)]
            self.sources.registry.workloads[key] = _workload(*key, site)
            self.sources.workload_stats.usage.set(key, _demand(key[1], "100m"), {site: 3})

    def refuse(self, workloads: int) -> None:
        """Creates workloads that every site refuses: they request more than any node has."""
        for number in range(workloads):
            key = ("default", f"large-{number:05}")
            demand = _demand(key[1], f"{900 + number % _UNPLACED_KINDS}")
            decision = choose(demand, self.sources.fleet, now=self.clock.now())
            self.sources.registry.workloads[key] = Workload(
                metadata=Metadata(namespace=key[0], name=key[1]),
                status=WorkloadStatus(phase="Refused", reason=decision.line),
            )
            self.sources.queue.mark_unschedulable(key, decision.reasons)
            self.sources.workload_stats.record_decision(
                key, decision, demand, self.sources.fleet, DEFAULT_TERMS
            )

    def take_snapshot(self) -> StateSnapshot:
        """A snapshot, as the server takes it."""
        return take_snapshot(self.sources, epoch=1, is_broker_connected=True, outbox_messages=0)


_SPEC = SiteSpec(
    location=Location(province="CN-GD", city="guangzhou", metro="guangzhou"),
    energy=SiteEnergy(grid_zone="CN-GD", pue=1.4, pue_origin="assumed"),
)


def name_of(number: int) -> str:
    """The name of a site."""
    return f"site-{number:05}"


def _report(name: str, number: int, now_seconds: float) -> SiteReport:
    rows: tuple[dict[str, int | float | str], ...] = tuple(
        {
            "count": 2,
            "cpu": f"{1000 + number + row}m",
            "memory": f"{2000 + number + row}Mi",
            "pods": 60,
        }
        for row in range(ROWS_PER_SITE)
    )
    return SiteReport(
        site=name,
        observed_seconds=now_seconds - 3.0,
        figures=SiteStatus(
            executor=True,
            api_kinds=("apps/v1/Deployment",),
            intensity=Intensity(gco2_per_kwh=400.0 + number % 100, origin="estimated"),
            power=Power(watts=4000.0 + number % 1000, origin="measured"),
            node_classes=(NodeClass(architecture="amd64", free=rows),),
        ),
        has_executor=True,
    )


def _order_status_report(name: str) -> OrderStatusReport:
    orders = {
        f"hub/default/{name}-{number}/x": OrderState(id=str(number), generation=1, phase="Ready")
        for number in range(ORDERS_PER_SITE)
    }
    return OrderStatusReport(site=name, site_uid="u", version=(1, 1), digest="d", orders=orders)


def _workload(namespace: str, name: str, site: str) -> Workload:
    group = PlacementGroup(sites=(site,), replicas=3, generation=1, phase="Running")
    return Workload(
        metadata=Metadata(namespace=namespace, name=name),
        status=WorkloadStatus(
            phase="Running",
            replicas=3,
            ready=3,
            placement=PlacementStatus(generation=1, groups=(group,)),
        ),
    )


def _demand(name: str, cpu: str) -> Demand:
    millicores = int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000
    shape = PodShape(requests={"cpu": millicores, "memory": 2**30, "pods": 1})
    pods = msgspec.convert({"shape": shape, "count": 1}, Pods)
    return Demand(key=f"default/{name}", data_class="general-1", replicas=1, unit=(pods,))
