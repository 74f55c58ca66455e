"""One simulated member cluster: its watches, its queue, its workers.

Three tasks matter: informers tell the mirror, its changes become keys, workers plan and write.
Everything follows from what the API holds, so the process may be killed and started at any time.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.control.ports.hub import ApiResource, Busy, Conflict, HubError, NotFound, WatchEvent
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.informer import Informer
from scheduler.runtime.clock import Clock
from scheduler.simulation.cluster.controllers.cron_jobs import plan_cron_job
from scheduler.simulation.cluster.controllers.daemon_sets import plan_daemon_set
from scheduler.simulation.cluster.controllers.deployments import plan_deployment
from scheduler.simulation.cluster.controllers.garbage import plan_collection
from scheduler.simulation.cluster.controllers.jobs import plan_job
from scheduler.simulation.cluster.controllers.namespaces import NamespaceController
from scheduler.simulation.cluster.controllers.replica_sets import plan_replica_set
from scheduler.simulation.cluster.controllers.stateful_sets import plan_stateful_set
from scheduler.simulation.cluster.description import DEFAULT_NODES, NodeDescription
from scheduler.simulation.cluster.effects import Effects, read
from scheduler.simulation.cluster.kubelet import Pace, plan_pod
from scheduler.simulation.cluster.leases import Leases
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.nodes import plan_node, register
from scheduler.simulation.cluster.objects import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    VIEWS,
    View,
)
from scheduler.simulation.cluster.plan import NOTHING, Plan
from scheduler.simulation.cluster.reactions import COLLECT, LIVE, NAMESPACE, Key, Reactions
from scheduler.simulation.cluster.work_queue import WorkQueue

_log = logging.getLogger(__name__)

_WORKERS = 8
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.1, 10.0

_MOST_DOUBLINGS = 10
_NOT_UNDERSTOOD = (ArithmeticError, LookupError, TypeError, ValueError)
"""What a planner may meet in an object that no controller can make sense of."""

_CONTROLLERS: dict[ApiResource, Callable[..., Plan]] = {
    DEPLOYMENTS: plan_deployment,
    REPLICA_SETS: plan_replica_set,
    STATEFUL_SETS: plan_stateful_set,
    DAEMON_SETS: plan_daemon_set,
    JOBS: plan_job,
    CRON_JOBS: plan_cron_job,
}


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """One cluster to play.

    Attributes:
        name: for logs.
        kubeconfig: how to reach it.
        context: the kubeconfig's context; None takes the current one.
        nodes: to register; none means those that are there, or a default when there are none.
        pace: how fast things go.
    """

    name: str
    kubeconfig: Path
    context: str | None = None
    nodes: list[NodeDescription] = field(default_factory=list)
    pace: Pace = field(default_factory=Pace)


class Member:
    """Plays the controllers of one cluster."""

    def __init__(
        self, settings: MemberSettings, client: HubClient, *, clock: Clock, jitter: random.Random
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._mirror = Mirror(self._on_change)
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._effects = Effects(client, self._mirror, clock)
        self._namespaces = NamespaceController(client, self._mirror, self._effects)
        self._leases = Leases(client, self._mirror, clock)
        self._client = client
        self._failures: Counter[Key] = Counter()
        self._described: dict[str, NodeDescription] = {}
        self._reactions = Reactions(self._mirror)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Plays the cluster for ever.

        Args:
            on_ready: called once, when all watches are in step and the nodes are registered.
        """
        informers = await self._synchronise()
        async with asyncio.TaskGroup() as group:
            for resource, informer in informers.items():
                group.create_task(informer.run(), name=f"watch {resource.plural}")
            group.create_task(self._queue.run_timer(), name="timer")
            for number in range(_WORKERS):
                group.create_task(self._work(), name=f"worker {number}")
            await self._insist(self._register)
            group.create_task(self._leases.run(), name="leases")
            on_ready()

    # ------------------------------------------------------------ start

    async def _synchronise(self) -> dict[ApiResource, Informer]:
        informers = {
            resource: Informer(
                self._client, resource, self._on_event, clock=self._clock, jitter=self._jitter
            )
            for resource in VIEWS
        }
        for resource, informer in list(informers.items()):
            try:
                await self._insist(informer.synchronise)
            except NotFound:
                _log.warning("%s: serves no %s", self._settings.name, resource.plural)
                del informers[resource]
        return informers

    async def _register(self) -> None:
        nodes = self._settings.nodes
        if not nodes and not self._mirror.nodes():
            nodes = DEFAULT_NODES
        single = [one for described in nodes for one in described.each()]
        self._described = {one.name: one for one in single}
        for one in single:
            for write in register(self._mirror, one):
                await self._effects.carry_out(write)
            self._queue.add((LIVE, NODES, ("", one.name)))

    async def _insist(self, action: Callable[[], object]) -> None:
        """Repeats what meets a busy server; other errors are the caller's."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await action()  # type: ignore[misc]
            except (Busy, Conflict) as error:
                _log.warning("%s: %s; trying again", self._settings.name, error)
                await self._clock.sleep(pause_seconds * (0.5 + self._jitter.random()))
                pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)
            else:
                return

    # ------------------------------------------------------------ news

    def _on_event(self, resource: ApiResource, change: WatchEvent) -> None:
        view = read(resource, change.object)
        if view is None:
            return
        if change.type == "DELETED":
            self._mirror.bury(resource, view)
        else:
            self._mirror.put(resource, view, self._clock.now())

    def _on_change(self, resource: ApiResource, before: View | None, after: View | None) -> None:
        for key, after_seconds in self._reactions.to(resource, before, after):
            self._queue.add(key, after_seconds)

    # ------------------------------------------------------------ work

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._handle(key)
            except HubError as error:
                self._later(key, error, logging.INFO)
            except _NOT_UNDERSTOOD as error:
                self._later(key, error, logging.WARNING)
            else:
                self._failures.pop(key, None)
            finally:
                self._queue.done(key)

    def _later(self, key: Key, error: Exception, level: int) -> None:
        """Tries again with growing pauses; one bad object never stops the others."""
        self._failures[key] = min(self._failures[key] + 1, _MOST_DOUBLINGS)
        pause_seconds = min(_FIRST_PAUSE_SECONDS * 2 ** self._failures[key], _LAST_PAUSE_SECONDS)
        what = f"{key[1].kind} {'/'.join(filter(None, key[2]))}"
        _log.log(
            level,
            "%s: %s: %s; again in %.1f s",
            self._settings.name,
            what,
            error,
            pause_seconds,
            exc_info=error if level > logging.INFO else None,
        )
        self._queue.add(key, pause_seconds * (0.5 + self._jitter.random()))

    async def _handle(self, key: Key) -> None:
        task, _, name = key
        if task == NAMESPACE:
            again_seconds = await self._namespaces.handle(name[1])
            if again_seconds is not None:
                self._queue.add(key, again_seconds)
            return
        plan = self._plan(key)
        for write in plan.writes:
            await self._effects.carry_out(write)
        if plan.again_seconds is not None:
            self._queue.add(key, max(plan.again_seconds, 0.01))

    def _plan(self, key: Key) -> Plan:
        task, resource, name = key
        now = self._clock.now()
        if task == COLLECT:
            return plan_collection(self._mirror, resource, name, now)
        if resource is PODS:
            return plan_pod(self._mirror, name, now, self._settings.pace)
        if resource is NODES:
            return plan_node(self._mirror, name[1], now, self._described.get(name[1]))
        controller = _CONTROLLERS.get(resource)
        return controller(self._mirror, name, now) if controller else NOTHING

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due now."""
        return self._queue.is_idle


async def play(
    members: list[MemberSettings],
    *,
    clock: Clock,
    seed: int | None = None,
    on_ready: Callable[[str], None] = lambda _name: None,
) -> None:
    """Plays several clusters in this process, until cancelled.

    Args:
        members: the clusters.
        clock: the time.
        seed: of the jitter in back-offs.
        on_ready: called with each cluster's name when it is played.
    """
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_hub(one.kubeconfig, context=one.context))
            for one in members
        ]
        async with asyncio.TaskGroup() as group:
            for settings, client in zip(members, clients, strict=True):
                jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
                member = Member(settings, client, clock=clock, jitter=jitter)
                ready = _told(on_ready, settings.name)
                group.create_task(member.run(ready), name=settings.name)


def _told(on_ready: Callable[[str], None], name: str) -> Callable[[], None]:
    return lambda: on_ready(name)
