"""Sites at the level of messages, for load: one process and one session for all of them.

`python -m benchmarks._load_sites FILE`: FILE is the JSON of `LoadPlan`. A site "applies" an order
by remembering it. Contents arrive on one subscription per site; an order that the index names and
that has not arrived is asked for at most once a second. A large index comes as a base with deltas,
as agents take it; the digest of the result is believed, because only the hub is measured.

Statuses and reports go out when something has changed, and at most so often; everything else only
marks what has to be sent. So a site with thousands of orders costs the machine little beside the
scheduler that is measured.

Each order's first arrival is appended to `arrivals`: the monotonic time and the order's id; when
each message went out is appended to `said`, if the plan names it.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import aiomqtt
import msgspec

from agents.protocol.envelope import seal, unseal
from agents.protocol.errors import WireError
from agents.protocol.index import (
    DESIRED_INDEX,
    DesiredIndex,
    IndexEcho,
    IndexEntry,
    digest_of,
    echo_of,
)
from agents.protocol.index_delta import INDEX_DELTA, MAX_DELTA_BYTES, IndexDelta
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import unpack_content
from agents.protocol.report import (
    REPORT,
    FreeRow,
    OrderBoundPods,
    Report,
    ReportedExecutor,
    ReportedNodeClass,
)
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from agents.protocol.topics import TopicKind, order_token, order_topic, parse_topic, site_topic

_TICK_SECONDS = 0.05
_STATUS_SECONDS, _IDLE_STATUS_SECONDS = 0.2, 2.0
_REPORT_SECONDS, _IDLE_REPORT_SECONDS = 0.5, 5.0
_MAX_PAUSE_SECONDS = 10.0  # as often as agents report
_ASK_AGAIN_SECONDS = 1.0
_ORDERS_AT_FULL_PACE = 500
"""A site with more orders sends its statuses and reports more rarely: each one names all of them,
as those of an agent do, and a burst of long messages would be measured instead of the scheduler."""
_MAX_ASKED_AT_ONCE = 100  # some brokers deliver only so many retained messages per subscription


class HeldOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that a site runs from the beginning.

    Attributes:
        id: its id.
        generation: of its content.
        digest: of its content.
        replicas: that run.
    """

    id: str
    generation: int
    digest: str
    replicas: int


class SitePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One site.

    Attributes:
        name: its name.
        key: its private key, in hexadecimal.
        nodes: number of nodes of 64 cores.
        held: orders that it runs already.
        interval_seconds: it sends both messages at least so often, however many orders it has, and
            states that; None: as the plan of this module is.
    """

    name: str
    key: str
    nodes: int
    held: list[HeldOrder] = []
    interval_seconds: float | None = None


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one process plays.

    Attributes:
        broker: host:port.
        hub_keys: the public keys that sign indexes, `ed25519:BASE64`.
        arrivals: the file for the arrivals of orders.
        sites: the sites.
        said: the file for the times of the messages that were sent; "": none.
    """

    broker: str
    hub_keys: list[str]
    arrivals: str
    sites: list[SitePlan]
    said: str = ""


@dataclass(slots=True)
class LoadSite:
    """One site: what it was ordered, and what it has to say about it."""

    plan: SitePlan
    trusted: TrustedKeys
    arrivals: TextIO
    key: SigningKey = field(init=False)
    site_uid: str | None = None
    base: DesiredIndex | None = None
    base_digest: str = ""
    base_entries: dict[str, IndexEntry] = field(default_factory=dict)
    delta: IndexDelta | None = None
    echo: IndexEcho | None = None
    tokens: dict[str, str] = field(default_factory=dict)
    """Tokens of orders by id: each index names thousands that were named before."""
    entries: dict[str, IndexEntry] = field(default_factory=dict)
    """Listed orders by the token of their topic."""
    held: dict[str, OrderStatus] = field(default_factory=dict)
    """What is said about the orders that are here, by token."""
    digests: dict[str, str] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    """Tokens of orders that have not arrived, and when they were last asked for."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    has_news: bool = True
    has_bound: bool = True
    status_at: float = 0.0
    report_at: float = 0.0
    sequence: int = 0

    def __post_init__(self) -> None:
        self.key = SigningKey(bytes.fromhex(self.plan.key))
        for one in self.plan.held:
            token = order_token(one.id)
            self.held[token] = _running(one.id, one.generation, one.replicas)
            self.digests[token] = one.digest

    def take(self, topic: str, payload: bytes) -> None:
        """Takes in a message of the hub; what cannot be read is ignored."""
        if not payload:
            return
        where = parse_topic(topic)
        if where.kind == "hub":  # whatever it asks for
            self.has_news = self.has_bound = True
            return
        if where.kind not in {"desired", "desired/delta", "orders"}:
            return
        try:
            if where.kind == "desired/delta":
                self._take_delta(
                    unseal(
                        payload,
                        topic=topic,
                        trusted=self.trusted,
                        max_payload_bytes=MAX_DELTA_BYTES,
                    )
                )
                return
            data = unseal(payload, topic=topic, trusted=self.trusted)
            if where.token is None:
                self._take_index(data)
            else:
                self.parts.setdefault(where.token, {})[where.part] = data
                self._assemble(where.token)
        except WireError:
            return

    def _take_index(self, data: bytes) -> None:
        index = DESIRED_INDEX.decode(data)
        entries = {self._token_of(entry.id): entry for entry in index.orders}
        if not index.is_base:
            self.base = self.delta = None
            self._work_by(index.site_uid, echo_of(index, data), entries)
            return
        self.base, self.base_digest, self.base_entries = index, digest_of(data), entries
        if self.delta is not None:
            self._complete(self.delta)

    def _take_delta(self, data: bytes) -> None:
        self.delta = INDEX_DELTA.decode(data)
        self._complete(self.delta)

    def _complete(self, delta: IndexDelta) -> None:
        """Works by the index that a delta makes of the base; asks for the base if it lacks it."""
        if self.base is None or delta.base != self.base_digest:
            self.has_news = True
            return
        entries = self.base_entries | {self._token_of(one.id): one for one in delta.orders}
        for order_id in delta.removed:
            entries.pop(self._token_of(order_id), None)
        echo = IndexEcho(epoch=delta.epoch, sequence=delta.sequence, digest=delta.digest)
        self._work_by(delta.site_uid, echo, entries)

    def _token_of(self, order_id: str) -> str:
        token = self.tokens.get(order_id)
        if token is None:
            token = self.tokens[order_id] = order_token(order_id)
        return token

    def _lacks_base(self) -> bool:
        return self.delta is not None and (self.base is None or self.delta.base != self.base_digest)

    def _work_by(self, site_uid: str, echo: IndexEcho, entries: dict[str, IndexEntry]) -> None:
        """Works by a complete index: entries by the token of their topic."""
        known = self.echo
        if known and (echo.epoch, echo.sequence) < (known.epoch, known.sequence):
            return
        self.site_uid, self.echo, self.entries = site_uid, echo, entries
        for token in self.held.keys() - self.entries.keys():
            del self.held[token], self.digests[token]
            self.has_bound = True
        for token, entry in self.entries.items():
            if self.digests.get(token) != entry.digest and token not in self.missing:
                self.missing[token] = time.monotonic()
                self._assemble(token)
        for token in self.missing.keys() - self.entries.keys():
            del self.missing[token]
        for token in self.parts.keys() - self.entries.keys() - self.missing.keys():
            if len(self.parts) > len(self.entries) + _MAX_ASKED_AT_ONCE:
                del self.parts[token]
        self.has_news = True

    def _assemble(self, token: str) -> None:
        entry, parts = self.entries.get(token), self.parts.get(token, {})
        if entry is None or len(parts) < entry.parts or self.digests.get(token) == entry.digest:
            return
        ordered = [parts[number] for number in range(entry.parts)]
        try:
            content = unpack_content(entry, ordered, site=self.plan.name)
        except WireError:
            return  # of another generation: the next one arrives, or is asked for
        if token not in self.held:
            self.arrivals.write(f"{time.monotonic():.6f} {entry.id}\n")
        replicas = sum(
            int(one["spec"].get("replicas", 0)) for one in content.manifests if "spec" in one
        )
        self.held[token] = _running(entry.id, entry.generation, replicas)
        self.digests[token] = entry.digest
        self.missing.pop(token, None)
        del self.parts[token]
        self.has_news = self.has_bound = True

    def topics_to_ask(self, now: float) -> list[str]:
        """Topics of orders that are missing and were not asked for within a second."""
        topics: list[str] = []
        for token, asked_at in self.missing.items():
            if now - asked_at >= _ASK_AGAIN_SECONDS and len(topics) < _MAX_ASKED_AT_ONCE:
                self.missing[token] = now
                entry = self.entries[token]
                topics += [
                    order_topic(self.plan.name, entry.id, part) for part in range(entry.parts)
                ]
        return topics

    def messages_due(self, now: float) -> list[tuple[str, bytes]]:
        """The sealed messages that are due now, with their topics."""
        due: list[tuple[str, bytes]] = []
        pace = max(1.0, len(self.held) / _ORDERS_AT_FULL_PACE)
        report_seconds = _REPORT_SECONDS if self.has_bound else _IDLE_REPORT_SECONDS
        status_seconds = _STATUS_SECONDS if self.has_news else _IDLE_STATUS_SECONDS
        most = self.plan.interval_seconds or _MAX_PAUSE_SECONDS
        if now - self.report_at >= min(pace * report_seconds, most):
            self.report_at, self.has_bound = now, False
            due.append(self._seal("report", REPORT.encode(self._report())))
        if now - self.status_at >= min(pace * status_seconds, most):
            self.status_at, self.has_news = now, False
            due.append(self._seal("status", SITE_STATUS.encode(self._status())))
        return due

    def _seal(self, kind: TopicKind, payload: bytes) -> tuple[str, bytes]:
        topic = site_topic(self.plan.name, kind)
        return topic, seal(payload, topic=topic, key=self.key, includes_public_key=True)

    def _report(self) -> Report:
        self.sequence += 1
        row = FreeRow(
            count=self.plan.nodes, resources={"cpu": "64", "memory": "256Gi", "pods": 1000}
        )
        return Report(
            site=self.plan.name,
            boot_id="boot-1",
            boot_number=1,
            sequence=self.sequence,
            observed_seconds_ago=0.0,
            node_classes=(ReportedNodeClass(architecture="amd64", free=(row,)),),
            api_kinds=("apps/v1/Deployment", "batch/v1/Job", "v1/Service", "v1/ConfigMap"),
            orders=tuple(
                OrderBoundPods(id=one.id, generation=one.generation, bound=one.bound or 0)
                for one in self.held.values()
            ),
            executor=ReportedExecutor(is_active=True),
            interval_seconds=self.plan.interval_seconds,
        )

    def _status(self) -> SiteStatusMessage:
        self.sequence += 1
        return SiteStatusMessage(
            site=self.plan.name,
            site_uid=self.site_uid,
            boot_id="boot-1",
            boot_number=1,
            sequence=self.sequence,
            observed_seconds_ago=0.0,
            index=self.echo,
            orders=tuple(self.held.values()),
            missing=tuple(self.entries[token].id for token, _ in self.missing.items()),
            is_executing=True,
            takes_deltas=True,
            wants_full_index=self._lacks_base() or None,
        )


def _running(order_id: str, generation: int, replicas: int) -> OrderStatus:
    return OrderStatus(
        id=order_id,
        generation=generation,
        phase="Ready",
        applied_generation=generation,
        desired=replicas,
        ready=replicas,
        bound=replicas,
    )


def open_lines(path: Path) -> TextIO:
    """A file for lines that others read while it is written."""
    return path.open("a", encoding="ascii", buffering=1)


async def play(plan: LoadPlan) -> None:
    """Plays the sites until cancelled; connects again when the broker returns."""
    trusted = TrustedKeys.parse(plan.hub_keys)
    said = Path(plan.said or os.devnull)
    with open_lines(Path(plan.arrivals)) as arrivals, open_lines(said) as times:
        sites = {one.name: LoadSite(one, trusted, arrivals) for one in plan.sites}
        while True:
            try:
                await _session(plan.broker, sites, times)
            except* aiomqtt.MqttError:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)  # noqa: TID251 - a real broker is waited for


async def _session(broker: str, sites: dict[str, LoadSite], said: TextIO) -> None:
    host, _, port = broker.rpartition(":")
    async with aiomqtt.Client(
        host,
        int(port),
        protocol=aiomqtt.ProtocolVersion.V5,
        max_queued_incoming_messages=0,
    ) as client:
        for name in sites:
            await client.subscribe(f"{site_topic(name, 'orders')}/#", qos=1)
            await client.subscribe(site_topic(name, "desired"), qos=1)
            await client.subscribe(site_topic(name, "desired/delta"), qos=1)
            await client.subscribe(site_topic(name, "hub"), qos=0)
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(client, sites))
            group.create_task(_talk(client, sites, said))


async def _listen(client: aiomqtt.Client, sites: dict[str, LoadSite]) -> None:
    async for message in client.messages:
        topic = str(message.topic)
        sites[parse_topic(topic).site].take(topic, bytes(message.payload))


async def _talk(client: aiomqtt.Client, sites: dict[str, LoadSite], said: TextIO) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        now = time.monotonic()
        for site in sites.values():
            if topics := site.topics_to_ask(now):
                await client.subscribe([(topic, 1) for topic in topics])
            for topic, payload in site.messages_due(now):
                said.write(f"{time.monotonic():.6f}\n")
                await client.publish(topic, payload, qos=1)
        await asyncio.sleep(_TICK_SECONDS)  # noqa: TID251 - the pace of these sites
    raise SystemExit(0)  # whom it served is gone


if __name__ == "__main__":
    asyncio.run(play(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoadPlan)))
