"""What is served before the hub has answered for the first time: why nothing is served yet."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from scheduler.control.ports.access import AccessAnswer, AccessQuestion
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.sites.sites import Sites
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.state.objects import HubObjects
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.hub.health import HubHealth
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from scheduler.web.snapshot import SnapshotSources, StateSnapshot, take_snapshot


@asynccontextmanager
async def serve_while_waiting(
    listener: WebListener, *, metrics: Metrics, health: HubHealth, clock: Clock, faults: Faults
) -> AsyncIterator[None]:
    """Serves `/readyz` and `/metrics` as long as the context lasts.

    Raises:
        OSError: the port is taken, or the address is none of this machine.
    """
    nothing = _nothing_known(metrics, clock, faults)

    def snapshot() -> StateSnapshot:
        return take_snapshot(
            nothing,
            epoch=0,
            hub_problem=health.problem,
            is_broker_connected=False,
            outbox_messages=0,
        )

    sources = WebSources(
        take_snapshot=snapshot,
        render_metrics=metrics.render,
        ledger=LedgerSource(
            find_decision=_find_nothing,
            read_page=_find_nothing,
            read_blob=_find_nothing,
            read_blob_of=_find_nothing,
        ),
        readiness_problem=lambda: (
            f"nothing is decided without the lease: {health.sentence or 'waiting for the hub'}"
        ),
        review_token=_accept_nobody,
        clock=clock,
        faults=faults,
    )
    async with serve_web(listener, sources):
        yield


def _nothing_known(metrics: Metrics, clock: Clock, faults: Faults) -> SnapshotSources:
    objects = HubObjects(telemetry=metrics, on_change=lambda *_: None, faults=faults)
    sites = Sites(
        objects=objects, clock=clock, silent_after_seconds=0.0, facts_sink=lambda *_: None
    )
    return SnapshotSources(
        registry=objects,
        sites=sites,
        fleet=Fleet(),
        queue=SchedulingQueue(
            clock=clock, first_backoff_seconds=1.0, last_backoff_seconds=1.0, recheck_seconds=1.0
        ),
        unadmitted_sites=UnadmittedSites(clock, faults),
        workload_stats=WorkloadStats(clock=clock, telemetry=metrics),
        clock=clock,
        stale_after_seconds=0.0,
    )


def _find_nothing(*_: str | Mapping[str, str]) -> bytes:
    raise LookupError("the ledger is not open yet: the hub has not answered")


async def _accept_nobody(_token: str, _question: AccessQuestion) -> AccessAnswer:
    return "unauthenticated"
