"""A site at the level of messages: reports what a test says, and follows the index like an agent.

It has no cluster: it "applies" an order by remembering it. With it tests reach states that a real
agent is rarely in, and send false reports as a hostile agent could.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiomqtt

from agents.mqtt.session import raise_if_cancelled
from agents.protocol.envelope import seal, unseal
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, IndexEntry, echo_of
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import OrderContent, unpack_content
from agents.protocol.report import (
    REPORT,
    FreeRow,
    OrderBoundPods,
    Report,
    ReportedExecutor,
    ReportedIntensity,
    ReportedNodeClass,
)
from agents.protocol.status import SITE_STATUS, NotReadyPods, OrderStatus, SiteStatusMessage
from agents.protocol.topics import order_token, order_topic, parse_topic, site_topic

_TICK_SECONDS = 0.1
_ASK_AGAIN_SECONDS = 1.0
_MAX_ASKED_AT_ONCE = 100
"""A broker queues only so many messages for a client, and drops the others."""
_ORDERS_AT_FULL_PACE = 100
"""With more orders it speaks more rarely: each message names all of them, and a thread that only
encodes them takes in none."""


@dataclass(slots=True)
class ScriptedSite:
    """What the site reports, and the messages that it has received.

    Attributes:
        name: name of the site.
        broker: host:port.
        hub_key: `ed25519:BASE64` of the hub.
        nodes: number of equal nodes.
        cpu: free CPU of each node.
        cores_per_replica: cores that each replica takes of one node.
        architecture: CPU architecture of the nodes.
        is_ready: whether orders are ready as soon as their content has arrived.
        not_ready: pods of every order that are not ready.
        is_finished: whether all jobs have ended, and their pods take no capacity.
        intensity: carbon intensity of its grid; None: unknown.
        key: signing key of the site.
        index: the newest accepted index.
        contents: contents of orders by order ID.
        indexes: epoch and sequence of every accepted index, in order.
        index_messages: the messages that they came in, and those that were not accepted.
        listed: order IDs of each of these.
        runs: orders that it reports as running although no index of this session lists them.
        boot_number: boot number of this session.
    """

    name: str
    broker: str
    hub_key: str
    nodes: int = 4
    cpu: str = "8"
    cores_per_replica: int = 0
    architecture: str = "amd64"
    is_ready: bool = True
    not_ready: tuple[NotReadyPods, ...] = ()
    is_talking: bool = True
    is_finished: bool = False
    intensity: ReportedIntensity | None = None
    key: SigningKey = field(default_factory=SigningKey.generate)
    index: DesiredIndex | None = None
    contents: dict[str, OrderContent] = field(default_factory=dict)
    indexes: list[tuple[int, int]] = field(default_factory=list)
    index_messages: list[bytes] = field(default_factory=list)
    listed: list[tuple[str, ...]] = field(default_factory=list)
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    boot_number: int = 1
    _digest: str = ""
    _parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    _entries: dict[str, IndexEntry] = field(default_factory=dict)
    _asked_at: dict[str, float] = field(default_factory=dict)
    _sequence: int = 0

    @property
    def manifest(self) -> str:
        """The Site, a grant of wide rights, and a Tenant for the namespaces of tests, as YAML."""
        return f"""
apiVersion: kapok.dev/v1alpha1
kind: Site
metadata: {{name: {self.name}}}
spec:
  tier: edge
  location: {{province: CN-GD, city: guangzhou, metro: guangzhou}}
  energy: {{gridZone: CN-GD, pue: 1.3, pueOrigin: assumed}}
  prices: {{energyCnyPerKwh: 0.6, coreCnyPerHour: 0.05}}
  delivery: {{mode: Pull, agentKeys: ["{self.key.public}"]}}
---
apiVersion: kapok.dev/v1alpha1
kind: SiteGrant
metadata: {{name: {self.name}-grant}}
spec:
  sites: [{self.name}]
  dataClass: general-3
  protectionLevel: 3
  networkZones: [public-network]
  jurisdiction: CN-GD
  authority: test
  document: test
---
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {{name: tests}}
spec: {{namespaces: [default, zhengwu]}}
---
"""

    async def run(self, stop: threading.Event) -> None:
        """Reports and receives until asked to stop; reconnects when the broker returns."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except* aiomqtt.MqttError:
                pass  # comes back, as an agent does
            await asyncio.sleep(_TICK_SECONDS)  # noqa: TID251 - a real broker is waited for

    async def _session(self, stop: threading.Event) -> None:
        host, _, port = self.broker.rpartition(":")
        version = aiomqtt.ProtocolVersion.V5
        self._asked_at.clear()
        async with aiomqtt.Client(host, int(port), protocol=version) as client:
            await client.subscribe(site_topic(self.name, "desired"), qos=1)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(client))
                group.create_task(self._talk(client, stop, listening))

    async def _talk(
        self, client: aiomqtt.Client, stop: threading.Event, listening: asyncio.Task[None]
    ) -> None:
        spoke_at = float("-inf")
        while not stop.is_set():
            await self._ask_for_missing(client)
            pace = max(1.0, len(self._entries) / _ORDERS_AT_FULL_PACE)
            is_due = time.monotonic() - spoke_at >= _TICK_SECONDS * (pace - 1.0)
            if self.is_talking and is_due:
                spoke_at = time.monotonic()
                await self._publish(client, "report", REPORT.encode(self.report()))
                await self._publish(client, "status", SITE_STATUS.encode(self.status()))
            await asyncio.sleep(_TICK_SECONDS)  # noqa: TID251 - the pace of this site
        listening.cancel()

    async def _publish(self, client: aiomqtt.Client, kind: str, payload: bytes) -> None:
        where = site_topic(self.name, kind)  # type: ignore[arg-type]
        await client.publish(
            where, seal(payload, topic=where, key=self.key, includes_public_key=True), qos=1
        )
        raise_if_cancelled()

    async def _listen(self, client: aiomqtt.Client) -> None:
        trusted = TrustedKeys.parse([self.hub_key])
        async for message in client.messages:
            name = str(message.topic)
            if not message.payload:
                continue
            data = unseal(message.payload, topic=name, trusted=trusted)
            where = parse_topic(name)
            if where.kind == "desired":
                self.index_messages.append(bytes(message.payload))
                await self._take_index(client, data)
            elif where.token is not None:
                self._parts.setdefault(where.token, {})[where.part] = data
                self._assemble(where.token)

    async def _take_index(self, client: aiomqtt.Client, data: bytes) -> None:
        index = DESIRED_INDEX.decode(data)
        if self.index and index.version < self.index.version:
            return
        self.index, self._digest = index, echo_of(index, data).digest
        self.indexes.append(index.version)
        self.listed.append(tuple(entry.id for entry in index.orders))
        self.runs.clear()
        self._entries = {order_token(entry.id): entry for entry in index.orders}
        for token in self._entries:
            self._assemble(token)
        listed = {entry.id for entry in index.orders}
        self.contents = {i: one for i, one in self.contents.items() if i in listed}
        await self._ask_for_missing(client)

    async def _ask_for_missing(self, client: aiomqtt.Client) -> None:
        """Subscribes to missing contents: each at most once a second, and some at once."""
        topics = self.topics_to_ask(time.monotonic())
        if topics:
            await client.subscribe([(topic, 1) for topic in topics])
            raise_if_cancelled()

    def topics_to_ask(self, now: float) -> list[str]:
        """Topics of contents that are missing and were not asked for within a second.

        What was asked for and has not come counts as on its way, so that no more is on its way
        than the broker keeps.
        """
        missing = [entry for entry in self._entries.values() if not self._has(entry)]
        oldest = now - _ASK_AGAIN_SECONDS
        on_their_way = {
            entry.digest for entry in missing if self._asked_at.get(entry.digest, oldest) > oldest
        }
        topics: list[str] = []
        for entry in missing:
            if len(on_their_way) >= _MAX_ASKED_AT_ONCE:
                break
            if entry.digest not in on_their_way:
                on_their_way.add(entry.digest)
                self._asked_at[entry.digest] = now
                topics += [order_topic(self.name, entry.id, part) for part in range(entry.parts)]
        return topics

    def _assemble(self, token: str) -> None:
        entry, parts = self._entries.get(token), self._parts.get(token, {})
        if entry is not None and not self._has(entry) and len(parts) >= entry.parts:
            with contextlib.suppress(ValueError):
                ordered = [parts[number] for number in range(entry.parts)]
                self.contents[entry.id] = unpack_content(entry, ordered, site=self.name)

    def _has(self, entry: IndexEntry) -> bool:
        known = self.contents.get(entry.id)
        return known is not None and known.generation == entry.generation

    def report(self) -> Report:
        """Its report: free capacity and energy."""
        self._sequence += 1
        taken = self.cores_per_replica * sum(map(replicas_of, self.contents.values()))
        cpu = f"{int(self.cpu) - taken}" if taken else self.cpu
        row = FreeRow(count=self.nodes, resources={"cpu": cpu, "memory": "64Gi", "pods": 100})
        return Report(
            site=self.name,
            boot_id=f"boot-{self.boot_number}",
            boot_number=self.boot_number,
            sequence=self._sequence,
            observed_seconds_ago=0.0,
            node_classes=(ReportedNodeClass(architecture=self.architecture, free=(row,)),),
            api_kinds=(
                "apps/v1/Deployment",
                "batch/v1/Job",
                "policy/v1/PodDisruptionBudget",
                "v1/Service",
                "v1/ConfigMap",
            ),
            orders=tuple(
                OrderBoundPods(
                    id=one.id,
                    generation=one.generation,
                    bound=0 if self.is_finished else replicas_of(one),
                )
                for one in self.contents.values()
            ),
            executor=ReportedExecutor(is_active=True),
            intensity=self.intensity,
        )

    def status(self) -> SiteStatusMessage:
        """Its status message: the state of its orders."""
        self._sequence += 1
        index = self.index
        return SiteStatusMessage(
            site=self.name,
            site_uid=index.site_uid if index else None,
            boot_id=f"boot-{self.boot_number}",
            boot_number=self.boot_number,
            sequence=self._sequence,
            observed_seconds_ago=0.0,
            index=echo_of(index, DESIRED_INDEX.encode(index)) if index else None,
            orders=(
                *(self._state(one) for one in self.contents.values()),
                *(self._claimed(i, *words) for i, words in self.runs.items()),
            ),
            missing=tuple(e.id for e in index.orders if not self._has(e)) if index else (),
            is_executing=True,
        )

    def _state(self, one: OrderContent) -> OrderStatus:
        replicas = replicas_of(one)
        if self.is_finished:
            return OrderStatus(
                id=one.id, generation=one.generation, phase="Finished", finished="Succeeded"
            )
        missing = min(replicas, sum(each.pods for each in self.not_ready))
        is_ready = self.is_ready and not missing
        return OrderStatus(
            id=one.id,
            generation=one.generation,
            phase="Ready" if is_ready else "Applied",
            applied_generation=one.generation,
            desired=replicas,
            ready=replicas - missing if self.is_ready else 0,
            bound=replicas,
            not_ready=self.not_ready if missing else None,
        )

    @staticmethod
    def _claimed(order_id: str, generation: int, replicas: int) -> OrderStatus:
        return OrderStatus(
            id=order_id,
            generation=generation,
            phase="Ready",
            applied_generation=generation,
            desired=replicas,
            ready=replicas,
            bound=replicas,
        )


def replicas_of(content: OrderContent) -> int:
    """`spec.replicas` of the first manifest that has it."""
    for manifest in content.manifests:
        spec = manifest.get("spec")
        if isinstance(spec, dict) and "replicas" in spec:
            return int(spec["replicas"])
    return 0


@contextmanager
def running_sites(*sites: ScriptedSite) -> Iterator[None]:
    """Runs sites in a thread of their own, for the time of the context.

    They are asked to stop and never cancelled from here: aiomqtt loses a cancellation that comes
    with an answer of the broker, and one that comes while it connects leaves an open socket, which
    speaks to its loop when it is collected, long after that loop is closed.
    """
    stop = threading.Event()

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for site in sites:
                group.create_task(site.run(stop), name=site.name)

    thread = threading.Thread(
        target=lambda: asyncio.run(all_of_them()), name="scripted sites", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive(), "the scripted sites do not end"
