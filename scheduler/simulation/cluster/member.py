"""One simulated member cluster: its watches, its queue, its workers.

Informers update the mirror, changes of the mirror become keys in the queue, and workers plan and
write. All state is in the API, so the process may be killed and restarted at any time.
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
from scheduler.runtime.faults import Faults
from scheduler.simulation.cluster.controllers.autoscalers import plan_autoscaler
from scheduler.simulation.cluster.controllers.budgets import plan_disruption_budget
from scheduler.simulation.cluster.controllers.cron_jobs import plan_cron_job
from scheduler.simulation.cluster.controllers.daemon_sets import plan_daemon_set
from scheduler.simulation.cluster.controllers.deployments import plan_deployment
from scheduler.simulation.cluster.controllers.garbage import plan_garbage_collection
from scheduler.simulation.cluster.controllers.jobs import plan_job
from scheduler.simulation.cluster.controllers.namespaces import NamespaceController
from scheduler.simulation.cluster.controllers.quotas import plan_quota
from scheduler.simulation.cluster.controllers.replica_sets import plan_replica_set
from scheduler.simulation.cluster.controllers.stateful_sets import plan_stateful_set
from scheduler.simulation.cluster.description import (
    DEFAULT_NODES,
    LoadDescription,
    NodeDescription,
)
from scheduler.simulation.cluster.effects import ClusterWriter, decode_or_skip
from scheduler.simulation.cluster.kubelet import SimulationPace, plan_pod
from scheduler.simulation.cluster.leases import NodeLeases
from scheduler.simulation.cluster.mirror import Mirror
from scheduler.simulation.cluster.nodes import plan_node, registration_writes
from scheduler.simulation.cluster.objects import (
    AUTOSCALERS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    STATEFUL_SETS,
    VIEW_TYPES,
    ObjectView,
)
from scheduler.simulation.cluster.plan import NO_CHANGE, ControllerPlan
from scheduler.simulation.cluster.reactions import (
    COLLECT_GARBAGE,
    HANDLE_NAMESPACE,
    RUN_LIFECYCLE,
    ChangeHandler,
    TaskKey,
)
from scheduler.simulation.cluster.work_queue import MemberWorkQueue

_log = logging.getLogger(__name__)

_WORKERS = 8
_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 10.0

_MAX_DOUBLINGS = 10  # keeps 2**failures small

_CONTROLLERS: dict[ApiResource, Callable[..., ControllerPlan]] = {
    DEPLOYMENTS: plan_deployment,
    REPLICA_SETS: plan_replica_set,
    STATEFUL_SETS: plan_stateful_set,
    DAEMON_SETS: plan_daemon_set,
    JOBS: plan_job,
    CRON_JOBS: plan_cron_job,
    DISRUPTION_BUDGETS: plan_disruption_budget,
    RESOURCE_QUOTAS: plan_quota,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """One cluster to simulate.

    Attributes:
        name: its name in logs.
        kubeconfig: its kubeconfig.
        context: context of the kubeconfig; None: the current one.
        nodes: nodes to register; empty: the existing ones, or a default if there are none.
        pace: durations of pods' steps.
        loads: what the pods of scaled objects use; autoscalers act on it.
    """

    name: str
    kubeconfig: Path
    context: str | None = None
    nodes: list[NodeDescription] = field(default_factory=list)
    pace: SimulationPace = field(default_factory=SimulationPace)
    loads: list[LoadDescription] = field(default_factory=list)


class MemberCluster:
    """Simulates the nodes and controllers of one cluster.

    Args:
        settings: the cluster.
        client: client of its API.
        clock: the time.
        jitter: spreads retries.
    """

    def __init__(
        self, *, settings: MemberSettings, client: HubClient, clock: Clock, jitter: random.Random
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._mirror = Mirror(self._on_change)
        self._queue: MemberWorkQueue[TaskKey] = MemberWorkQueue(clock)
        self._effects = ClusterWriter(client=client, mirror=self._mirror, clock=clock)
        self._namespaces = NamespaceController(
            client=client, mirror=self._mirror, effects=self._effects
        )
        self._leases = NodeLeases(client=client, mirror=self._mirror, clock=clock)
        self._client = client
        self._failures: Counter[TaskKey] = Counter()
        self._faults = Faults(clock=clock, count=lambda _: None)
        self._node_descriptions: dict[str, NodeDescription] = {}
        self._reactions = ChangeHandler(self._mirror)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Simulates the cluster until cancelled.

        Args:
            on_ready: called once, when all watches are synchronised and the nodes are registered.
        """
        informers = await self._synchronise()
        async with asyncio.TaskGroup() as group:
            for resource, informer in informers.items():
                group.create_task(informer.run(), name=f"watch {resource.plural}")
            group.create_task(self._queue.run_timer(), name="timer")
            for number in range(_WORKERS):
                group.create_task(self._run_worker(), name=f"worker {number}")
            await self._retry_while_busy(self._register_nodes)
            group.create_task(self._leases.run(), name="leases")
            on_ready()

    # ------------------------------------------------------------ start

    async def _synchronise(self) -> dict[ApiResource, Informer]:
        informers = {
            resource: Informer(
                self._client,
                resource,
                self._on_event,
                clock=self._clock,
                jitter=self._jitter,
                faults=self._faults,
            )
            for resource in VIEW_TYPES
        }
        for resource, informer in list(informers.items()):
            try:
                await self._retry_while_busy(informer.synchronise)
            except NotFound:
                _log.warning("%s: the server has no %s", self._settings.name, resource.plural)
                del informers[resource]
        return informers

    async def _register_nodes(self) -> None:
        nodes = self._settings.nodes
        if not nodes and not self._mirror.nodes():
            nodes = DEFAULT_NODES
        single = [one for described in nodes for one in described.expand()]
        self._node_descriptions = {one.name: one for one in single}
        for one in single:
            for write in registration_writes(self._mirror, one):
                await self._effects.execute(write)
            self._queue.add((RUN_LIFECYCLE, NODES, ("", one.name)))

    async def _retry_while_busy(self, action: Callable[[], object]) -> None:
        """Repeats an action while the server is busy, with growing pauses; raises other errors."""
        pause_seconds = _MIN_BACKOFF_SECONDS
        while True:
            try:
                await action()  # type: ignore[misc]
            except (Busy, Conflict) as error:
                _log.warning("%s: %s; retrying", self._settings.name, error)
                await self._clock.sleep(pause_seconds * (0.5 + self._jitter.random()))
                pause_seconds = min(pause_seconds * 2, _MAX_BACKOFF_SECONDS)
            else:
                return

    # ------------------------------------------------------------ changes

    def _on_event(self, resource: ApiResource, change: WatchEvent) -> None:
        view = decode_or_skip(resource, change.object)
        if view is None:
            return
        if change.type == "DELETED":
            self._mirror.tombstone(resource, view)
        else:
            self._mirror.put(resource, view, self._clock.now())

    def _on_change(
        self, resource: ApiResource, before: ObjectView | None, after: ObjectView | None
    ) -> None:
        for key, after_seconds in self._reactions.keys_for(resource, before, after):
            self._queue.add(key, after_seconds)

    # ------------------------------------------------------------ work

    async def _run_worker(self) -> None:
        while True:
            key = await self._queue.take()
            error: object = "no controller can make sense of it"
            with self._faults.barrier("object"):
                try:
                    await self._handle(key)
                    error = None
                except HubError as refusal:
                    error = refusal
            if error is None:
                self._failures.pop(key, None)
            else:
                self._requeue_after_error(key, error)
            self._queue.done(key)

    def _requeue_after_error(self, key: TaskKey, error: object) -> None:
        """Queues a key again, with growing pauses; one bad object does not stop the others."""
        self._failures[key] = min(self._failures[key] + 1, _MAX_DOUBLINGS)
        pause_seconds = min(_MIN_BACKOFF_SECONDS * 2 ** self._failures[key], _MAX_BACKOFF_SECONDS)
        what = f"{key[1].kind} {'/'.join(filter(None, key[2]))}"
        _log.info("%s: %s: %s; retrying in %.1f s", self._settings.name, what, error, pause_seconds)
        self._queue.add(key, pause_seconds * (0.5 + self._jitter.random()))

    async def _handle(self, key: TaskKey) -> None:
        task, _, name = key
        if task == HANDLE_NAMESPACE:
            again_seconds = await self._namespaces.handle(name[1])
            if again_seconds is not None:
                self._queue.add(key, again_seconds)
            return
        plan = self._plan(key)
        for write in plan.writes:
            await self._effects.execute(write)
        if plan.requeue_after_seconds is not None:
            # A key that is due at once again must not keep the workers from the others.
            self._queue.add(key, max(plan.requeue_after_seconds, 0.01))

    def _plan(self, key: TaskKey) -> ControllerPlan:
        task, resource, name = key
        now = self._clock.now()
        if task == COLLECT_GARBAGE:
            return plan_garbage_collection(self._mirror, resource, name, now)
        if resource is PODS:
            return plan_pod(self._mirror, name, now, self._settings.pace)
        if resource is NODES:
            return plan_node(self._mirror, name[1], now, self._node_descriptions.get(name[1]))
        if resource is AUTOSCALERS:
            return plan_autoscaler(self._mirror, name, now, self._settings.loads)
        controller = _CONTROLLERS.get(resource)
        return controller(self._mirror, name, now) if controller else NO_CHANGE


async def run_members(
    members: list[MemberSettings],
    *,
    clock: Clock,
    seed: int | None = None,
    on_ready: Callable[[str], None] = lambda _name: None,
) -> None:
    """Simulates several clusters in this process, until cancelled.

    Args:
        members: the clusters.
        clock: the time.
        seed: seed of the jitter in back-offs; None: random.
        on_ready: called with each cluster's name when it is ready.
    """
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_hub(one.kubeconfig, context=one.context))
            for one in members
        ]
        async with asyncio.TaskGroup() as group:
            for settings, client in zip(members, clients, strict=True):
                jitter = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
                member = MemberCluster(settings=settings, client=client, clock=clock, jitter=jitter)
                ready = _ready_callback(on_ready, settings.name)
                group.create_task(member.run(ready), name=settings.name)


def _ready_callback(on_ready: Callable[[str], None], name: str) -> Callable[[], None]:
    return lambda: on_ready(name)
