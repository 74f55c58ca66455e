"""All that a story needs: hub, broker, sites, and the schedulers that are started and killed."""

import asyncio
import gc
import heapq
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agents.protocol.keys import SigningKey, TrustedKeys
from benchmarks._chaos import story as stories
from benchmarks._chaos.broker import ChaosBroker, SchedulerSession
from benchmarks._chaos.clock import ChaosClock
from benchmarks._chaos.cluster import Cluster
from benchmarks._chaos.hub.access import HubAccess
from benchmarks._chaos.hub.hub import ChaosHub
from benchmarks._chaos.ledger import LedgerOnLoop
from benchmarks._chaos.own_hub import OwnHub, own_workload
from benchmarks._chaos.site import ChaosSite
from benchmarks._chaos.story import Event, Story
from scheduler.app import Scheduler
from scheduler.control.failover.gate import OpenGate
from scheduler.control.ports.hub import GRANTS, SITES, TENANTS, WORKLOADS, Hub
from scheduler.control.replicas import ReplicaIdentity
from scheduler.hub.health import HubHealth
from scheduler.ledger.replay import replay
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.received_messages import ReceivedMessages
from scheduler.mqtt.receiver import Receiver
from scheduler.runtime.faults import Faults
from scheduler.services import Endpoints, Services
from scheduler.settings import BatchSettings, FailoverSettings, HubSettings, Settings
from scheduler.web.metrics import Metrics

STEP_SECONDS = 2.0
VARIANTS = ("kapok", "no storm control", "evict all at once")
"""What is measured, and two baselines: see `settings_of`, `World.step`."""

_MAX_FALSE = 8
_RECHECKED_OF = 40
"""One of so many decisions is decided again from its record."""


@dataclass(slots=True)
class RunningScheduler:
    """A scheduler that was started and not killed yet."""

    scheduler: Scheduler
    access: HubAccess
    session: SchedulerSession
    ledger: LedgerOnLoop
    task: "asyncio.Task[None]"
    started_at: float
    is_deposed: bool = False


@dataclass(slots=True)
class World:
    """Everything, at one moment of a story."""

    story: Story
    folder: Path
    rng: random.Random
    clock: ChaosClock
    hub: ChaosHub
    broker: ChaosBroker
    key: SigningKey
    sites: list[ChaosSite] = field(default_factory=list)
    schedulers: list[RunningScheduler] = field(default_factory=list)
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lowered: list[tuple[str, str, int]] = field(default_factory=list)
    trouble_until: float = 0.0
    cut_until: dict[int, float] = field(default_factory=dict)
    lost_at: dict[str, float] = field(default_factory=dict)
    replays: list[tuple[str, bool]] = field(default_factory=list)
    own_hub: OwnHub | None = None
    doomed: list[tuple[float, RunningScheduler]] = field(default_factory=list)
    _pending: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _ticket: int = 0
    _names: int = 0
    _seen_records: int = 0

    # ------------------------------------------------------------ time

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """Does something after some simulated seconds."""
        self._ticket += 1
        heapq.heappush(self._pending, (self.clock.monotonic() + seconds, self._ticket, do))

    async def step(self) -> None:
        """One step of the clock: what is due happens, sites act, schedulers decide."""
        until = self.clock.monotonic() + STEP_SECONDS
        while self._pending and self._pending[0][0] <= until:
            heapq.heappop(self._pending)[2]()
        for site in self.sites:
            site.step()
        if self.own_hub is not None:
            await self.own_hub.step(self)
        if self.story.variant != VARIANTS[0]:
            for one in self.schedulers:
                one.scheduler.term.failover.gate = OpenGate()
        await self.clock.advance_to(until)

    # ------------------------------------------------------------ schedulers

    def start_scheduler(self) -> RunningScheduler:
        """Starts a scheduler that knows nothing but the hub, the ledger and what it hears."""
        access, ledger = HubAccess(self.hub), LedgerOnLoop(self.folder)
        client: Hub = access  # so that types say what it lacks; a scheduler asks for a `HubClient`
        metrics, made = Metrics(), []

        def open_connection(
            receiver: Receiver, outbox: Outbox, on_connected: Callable[[], None]
        ) -> SchedulerSession:
            made.append(SchedulerSession(self.broker, receiver, outbox, on_connected, self.clock))
            return made[0]

        public = str(self.key.public)
        nothing = cast(Any, None)
        services = Services(
            client=cast(Any, client),
            hub_process=None,
            broker_address=nothing,
            broker=None,
            ledger=ledger,
            replica=ReplicaIdentity(key=public, ledger="chaos"),
            is_ledger_lost=False,
            hub_keys=frozenset({public}),
            signing_key=self.key,
            received=ReceivedMessages(),
            web_listener=nothing,
            endpoints=Endpoints(
                data_dir=self.folder,
                hub_url="",
                hub_kind="embedded",
                kubeconfig=self.folder,
                broker="",
                broker_kind="external",
                hub_key=public,
                metrics_url="",
                page_url="",
            ),
        )
        scheduler = Scheduler(
            settings=settings_of(self.story.variant),
            services=services,
            clock=self.clock,
            metrics=metrics,
            health=HubHealth(clock=self.clock),
            faults=Faults(clock=self.clock, count=self._count_fault),
            open_connection=open_connection,
            make_jitter=lambda: random.Random(self.rng.random()),  # noqa: S311 - jitter
        )
        # Killed by cancelling it, which no task group can do to one of its members.
        task = asyncio.get_running_loop().create_task(scheduler.schedule(lambda _: gc.unfreeze()))
        one = RunningScheduler(scheduler, access, made[0], ledger, task, self.clock.monotonic())
        self.schedulers.append(one)
        return one

    def _count_fault(self, where: str) -> None:
        self.faults[where] += 1

    async def kill_scheduler(self, one: RunningScheduler) -> None:
        """Ends it at once: nothing that it still wants to say is heard."""
        one.access.is_cut = one.session.is_cut = True
        self.schedulers.remove(one)
        one.task.cancel()
        await asyncio.wait({one.task})
        one.ledger._reader.close()  # noqa: SLF001 - as the end of its process would
        one.ledger._writer.database.close()  # noqa: SLF001 - as above
        self.kills += 1

    @property
    def leader(self) -> RunningScheduler | None:
        """Who has decided for a while and can; None: nobody."""
        for one in self.schedulers:
            if (
                one.scheduler.leadership.epoch
                and not one.is_deposed
                and one.scheduler.term.startup.has_started
            ):
                return one
        return None

    # ------------------------------------------------------------ the start

    def set_up(self) -> None:
        """Sites, rights and workloads, and a first scheduler."""
        self.hub.put(TENANTS, stories.tenant_body())
        trusted = TrustedKeys.parse([str(self.key.public)])
        for number in range(self.story.sites):
            key = SigningKey(self.rng.randbytes(32))
            self.hub.put(SITES, stories.site_body(number, str(key.public)))
            self.hub.put(GRANTS, stories.grant_body(number))
            self.sites.append(
                ChaosSite(
                    name=f"s{number}",
                    key=key,
                    trusted=trusted,
                    broker=self.broker,
                    clock=self.clock,
                    rng=self.rng,
                    report_seconds=self.story.report_seconds,
                    cluster=Cluster(node_cores=8, node_count=self._nodes_per_site()),
                    on_pods_lowered=lambda *words: self.lowered.append(words),
                    foreign_orders=self.some_orders,
                )
            )
        if self.story.has_own_hub:
            self.own_hub = OwnHub()
            self.hub.put(WORKLOADS, own_workload())
        for _ in range(self.story.workloads):
            self.add_workload()
        self.start_scheduler()

    def some_orders(self) -> list[str]:
        """The first order of some sites, and one of no workload."""
        ids = (next(iter(site.cluster.pods), "") for site in self.sites[:_MAX_FALSE])
        return [*filter(None, ids), "kapok/city/nothing/0000000000"]

    def _nodes_per_site(self) -> int:
        """So many that two thirds of the sites hold all workloads: 4.6 cores each at the mean."""
        return max(3, round(self.story.workloads * 4.6 / 0.55 / 8 / self.story.sites))

    def add_workload(self, kind: str = "") -> None:
        """A user creates a workload."""
        self._names += 1
        self.hub.put(WORKLOADS, stories.workload_body(f"w{self._names}", self.rng, kind=kind))

    # ------------------------------------------------------------ ledger

    def replay_some(self) -> None:
        """Decides some of the newest decisions again from their records."""
        for one in self.schedulers[:1]:
            for record in one.ledger.records(self._seen_records, 10_000):
                self._seen_records = record.seq
                if record.kind == "decision" and record.seq % _RECHECKED_OF == 0:
                    same = replay(one.ledger._reader, record).is_same  # noqa: SLF001 - as `kapok replay`
                    if same is not None:
                        self.replays.append((record.id, same))

    async def close(self) -> None:
        """Ends all schedulers and removes the ledger."""
        for one in list(self.schedulers):
            await self.kill_scheduler(one)
        shutil.rmtree(self.folder, ignore_errors=True)


def settings_of(variant: str) -> Settings:
    """The defaults, for a hub that replicas share; batches need a process of their own."""
    at_once = FailoverSettings(after_seconds=1.0)
    return Settings(
        hub=HubSettings(kubeconfig="chaos"),
        batch=BatchSettings(at_workloads=0),
        failover=at_once if variant == VARIANTS[2] else FailoverSettings(),
    )


def make_world(story: Story) -> World:
    """The world of a story, before its first step."""
    rng = random.Random(story.seed ^ 0xC4A05)  # noqa: S311 - a story, nothing secret
    memory = Path("/dev/shm")  # noqa: S108 - a disk that needs no flush, where there is one
    root = memory if memory.is_dir() else None
    clock = ChaosClock()
    return World(
        story=story,
        folder=Path(tempfile.mkdtemp(prefix="kapok-chaos-", dir=root)),
        rng=rng,
        clock=clock,
        hub=ChaosHub(rng, clock),
        broker=ChaosBroker(),
        key=SigningKey(rng.randbytes(32)),
    )


Happen = Callable[[World, Event], None]
