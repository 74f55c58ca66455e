"""What the loops hold, as a value that another thread may read.

Taken on the event loop in the time of a few copies: arrays are summed by NumPy, everything else is
a reference to a value that never changes. What takes longer is left to `state_text`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from scheduler.control.ports.agents import SiteWord
from scheduler.control.queue.work_queue import WorkQueue
from scheduler.control.state.objects import Registry
from scheduler.control.state.sites import Sites
from scheduler.control.state.unadmitted_sites import PendingSites
from scheduler.control.stats.workloads import Figures
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.web.definitions import RESOURCES

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state that a scrape shows. Sequences and arrays about sites follow `facts`.

    Attributes:
        at: when it was taken.
        epoch: of this leader; 0 while it stands by.
        is_broker_connected: whether the session stands.
        queue: workloads by pool.
        waiting: the reasons of each unschedulable workload.
        workloads: all of them.
        pending_sites: strangers that report and are not admitted.
        outbox: messages that wait to be published.
        facts: what is known of each admitted site, by name.
        is_ready: whether it reports.
        ages_seconds: of its last report; NaN before the first.
        free: by resource, summed over nodes: millicores for cpu, whole units for all else.
        words: what sites said of their orders last.
        used: what placed replicas ask for, by resource; units as in `free`.
        refusals: see `Refusals.answers`.
        reasons: of each unplaced workload, how many sites said no for which reason first.
        names_by_slot: of the fleet, for `refusals`.
        stale_after_seconds: figures older than this place nothing.
    """

    at: datetime
    epoch: int
    is_broker_connected: bool
    queue: dict[str, int]
    waiting: list[frozenset[str]]
    workloads: list[Workload]
    pending_sites: int
    outbox: int
    facts: list[SiteFacts]
    is_ready: list[bool]
    ages_seconds: list[float]
    free: dict[str, Floats]
    words: list[SiteWord]
    used: dict[str, list[int]]
    refusals: list[tuple[bytes, int]]
    reasons: dict[WorkKey, Mapping[str, int]]
    names_by_slot: list[str]
    stale_after_seconds: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What a snapshot is taken of.

    Attributes:
        registry: the hub's objects.
        sites: what was heard of sites.
        fleet: the arrays that decisions stand on.
        queue: of workloads.
        pending: strangers.
        figures: what the loops counted.
        clock: for ages.
        stale_after_seconds: figures older than this place nothing.
    """

    registry: Registry
    sites: Sites
    fleet: Fleet
    queue: WorkQueue
    pending: PendingSites
    figures: Figures
    clock: Clock
    stale_after_seconds: float


def snapshot(scene: Scene, *, epoch: int, is_broker_connected: bool, outbox: int) -> Snapshot:
    """The state now."""
    fleet, states = scene.fleet, scene.sites.states
    names = sorted(name for name in fleet.slot_of if name in states)
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    now = scene.clock.monotonic()
    reports = [states[name].report for name in names]
    return Snapshot(
        at=scene.clock.now(),
        epoch=epoch,
        is_broker_connected=is_broker_connected,
        queue=scene.queue.depths(),
        waiting=scene.queue.waiting_for(),
        workloads=list(scene.registry.workloads.values()),
        pending_sites=len(scene.pending),
        outbox=outbox,
        facts=[fleet.facts_of(name) for name in names],
        is_ready=[states[name].is_ready for name in names],
        ages_seconds=[now - one.observed_seconds if one else float("nan") for one in reports],
        free=_free(fleet, slots),
        words=[word for word in (states[name].word for name in names) if word is not None],
        used=_used(scene.figures, names),
        refusals=scene.figures.refusals.answers(),
        reasons=dict(scene.figures.refusals.reasons),
        names_by_slot=_names_by_slot(fleet),
        stale_after_seconds=scene.stale_after_seconds,
    )


def _free(fleet: Fleet, slots: NDArray[np.int64]) -> dict[str, Floats]:
    rows = fleet.nodes.rows
    index = rows.rows_of(slots)
    nodes = fleet.nodes.counts(index)
    return {name: rows.sums(slots, rows.column(name)[index] * nodes) for name in RESOURCES}


def _used(figures: Figures, names: list[str]) -> dict[str, list[int]]:
    """Lists of numbers, not a copy per site: a thousand new dicts would set the collector off."""
    totals, nothing = figures.usage.totals, Counter[str]()
    return {
        resource: [totals.get(name, nothing)[resource] for name in names] for resource in RESOURCES
    }


def _names_by_slot(fleet: Fleet) -> list[str]:
    return [facts.name if facts else "" for facts in fleet.facts]
