"""A site at the level of messages: it follows the signed index, and has nodes, pods and a disk.

The index is the only thing that withdraws. The disk keeps the newest (epoch, sequence), so that
what the broker rolls back is refused. Pods are bound to nodes first-fit and are ready a little
later. What it says is in `reports`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.protocol.envelope import seal, unseal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import HUB_REQUEST
from agents.protocol.index import DESIRED_INDEX, DesiredIndex, IndexEcho, IndexEntry, echo_of
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.orders import OrderContent, unpack_content
from agents.protocol.report import (
    REPORT,
    Report,
)
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from agents.protocol.topics import TopicKind, order_topic, parse_topic, site_topic
from benchmarks._chaos.broker import ChaosBroker
from benchmarks._chaos.cluster import Cluster, Pods
from benchmarks._chaos.reports import make_report, make_status
from scheduler.runtime.clock import Clock

_APPLY_SECONDS, _STOP_SECONDS = 1.0, 4.0
_STATUS_PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class Disk:
    """What the agent keeps over restarts; lost with the disk."""

    index: DesiredIndex | None = None
    echo: IndexEcho | None = None
    boot_number: int = 0
    finished: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class ChaosSite:
    """One site.

    Attributes:
        name: its name.
        key: signs its messages.
        trusted: the hub's keys.
        broker: where its messages go.
        clock: the time.
        rng: small differences in time.
        report_seconds: time between two reports.
        is_running: its power is on; its pods are gone when it is not.
        on_since: since when it is.
        hears, speaks: the directions in which its link works.
        is_slow: its messages take long.
        lies: what it lies about: "", or a key of `reports.LIES`.
        foreign_orders: orders of other sites, and of none, that it says it runs when it lies.
        cluster: its nodes and pods.
        heard_at: when a scheduler last received a report of it.
        disks: number of disks that were lost.
        ended_runs: orders whose pods have run to their end since the last look.
        on_pods_lowered: called with (site, order id, pods that stay) before the index takes pods
            away that are on nodes.
    """

    name: str
    key: SigningKey
    trusted: TrustedKeys
    broker: ChaosBroker
    clock: Clock
    rng: random.Random
    report_seconds: float
    cluster: Cluster
    on_pods_lowered: Callable[[str, str, int], None]
    is_running: bool = True
    on_since: float = 0.0
    hears: bool = True
    speaks: bool = True
    is_slow: bool = False
    lies: str = ""
    foreign_orders: Callable[[], Sequence[str]] = tuple
    disk: Disk = field(default_factory=Disk)
    ended_runs: list[str] = field(default_factory=list)
    heard_at: float | None = None
    disks: int = 0
    _contents: dict[str, OrderContent] = field(default_factory=dict)
    _nonces: dict[str, tuple[int, str]] = field(default_factory=dict)
    _sequence: int = 0
    _report_at: float = 0.0
    _status_at: float = 0.0
    _has_news: bool = True
    _wants_report: bool = False
    _due: list[tuple[float, str]] = field(default_factory=list)
    _held: list[tuple[float, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._report_at = self.clock.monotonic() + self.rng.uniform(0, self.report_seconds)
        self.boot()

    # ------------------------------------------------------------ what happens to it

    def boot(self) -> None:
        """The agent starts: memory is empty, the disk and the pods are as they were."""
        self.disk.boot_number += 1
        self._sequence, self._has_news, self._wants_report = 0, True, True
        self._nonces.clear()
        self._contents.clear()
        self.connect()

    def power_off(self) -> None:
        """All pods are gone, and nothing is sent."""
        self.is_running = False
        self.broker.sites.pop(self.name, None)
        self.cluster.power_off()
        self._due.clear()
        self._held.clear()

    def power_on(self, *, loses_disk: bool) -> None:
        """The nodes return; pods that the disk knows of start again."""
        self.is_running, self.on_since = True, self.clock.monotonic()
        if loses_disk:
            self.cluster.clear()
            self.disk, self.disks = Disk(), self.disks + 1
        self.boot()

    def lose_agent_disk(self) -> None:
        """The agent's own memory is gone; the cluster and its pods are not."""
        self.disk, self.disks = Disk(), self.disks + 1
        self.boot()

    def roll_disk_back(self) -> None:
        """The disk forgets how new its index was, which no agent's disk may do."""
        if self.disk.index is not None:
            self.disk.index = replace(self.disk.index, epoch=0, sequence=0)

    def connect(self) -> None:
        """Subscribes again, so that the broker delivers what it retains."""
        self.broker.sites.pop(self.name, None)
        if not (self.is_running and self.hears and self.broker.is_up):
            return
        self.broker.sites[self.name] = self.take
        kept = self.broker.retained.get(site_topic(self.name, "desired"))
        if kept is not None:
            self.take(site_topic(self.name, "desired"), kept, is_retained=True)

    def lose_node(self) -> None:
        """One node is gone, with its pods; the others take them as far as they can."""
        if self.cluster.lose_node():
            self._has_news = True

    def add_node(self) -> None:
        """A node returns."""
        if self.cluster.add_node():
            self._has_news = True

    # ------------------------------------------------------------ what the hub says

    def take(self, topic: str, payload: bytes, *, is_retained: bool = False) -> None:
        """Takes in a message; what cannot be used is ignored."""
        if not (self.is_running and self.hears):
            return
        where = parse_topic(topic)
        try:
            data = unseal(payload, topic=topic, trusted=self.trusted)
            if where.kind == "desired":
                self._take_index(data, is_retained=is_retained)
            elif where.kind == "hub":
                self._take_request(data)
            else:
                self._fetch_missing()
        except WireError:
            return

    def _take_request(self, data: bytes) -> None:
        request = HUB_REQUEST.decode(data)
        if request.nonce is not None:
            known = self._nonces.get(request.nonce.asker, (-1, ""))
            if request.nonce.number > known[0]:
                self._nonces[request.nonce.asker] = (request.nonce.number, request.nonce.value)
                while len(self._nonces) > 4:  # noqa: PLR2004 - as many schedulers as may ask
                    del self._nonces[next(iter(self._nonces))]
        if request.higher_boot is not None and request.higher_boot.boot_id == self._boot_id():
            self.disk.boot_number = request.higher_boot.above
            self.boot()
        self._has_news = self._wants_report = True

    def _take_index(self, data: bytes, *, is_retained: bool) -> None:
        index, held = DESIRED_INDEX.decode(data), self.disk.index
        if held is not None and index.version <= held.version:
            return  # older, or the same: what a broker has rolled back
        if held is None and is_retained:
            return  # of any age: the hub publishes it again to a site that echoes none
        self.disk.index, self.disk.echo, self._has_news = index, echo_of(index, data), True
        self._due.append((self.clock.monotonic() + _APPLY_SECONDS, "index"))
        self._fetch_missing()

    def _fetch_missing(self) -> None:
        """Fetches the contents that the index names and that are not here."""
        for entry in self._entries():
            known = self._contents.get(entry.id)
            if known is not None and known.generation == entry.generation:
                continue
            topics = [order_topic(self.name, entry.id, part) for part in range(entry.parts)]
            kept = [self.broker.retained.get(topic) for topic in topics]
            if None in kept or not (self.hears and self.broker.is_up):
                continue
            try:
                parts = [
                    unseal(payload, topic=topic, trusted=self.trusted)
                    for topic, payload in zip(topics, kept, strict=True)
                    if payload is not None
                ]
                self._contents[entry.id] = unpack_content(entry, parts, site=self.name)
            except WireError:
                continue
            self._due.append((self.clock.monotonic() + _APPLY_SECONDS, "index"))

    def _entries(self) -> tuple[IndexEntry, ...]:
        return self.disk.index.orders if self.disk.index else ()

    # ------------------------------------------------------------ what it does

    def step(self) -> None:
        """Does what is due now, and says what there is to say."""
        if not self.is_running:
            return
        now = self.clock.monotonic()
        if self._due and any(at <= now for at, _ in self._due):
            self._due = [one for one in self._due if one[0] > now]
            self._work()
        self._let_pods_go(now)
        self._speak(now)

    def _work(self) -> None:
        """Makes the pods what the index says."""
        now, index = self.clock.monotonic(), self.disk.index
        if index is None:
            return
        listed = {entry.id for entry in index.orders}
        for order_id in sorted(self.cluster.pods.keys() - listed):
            self._withdraw(order_id, now)
        for entry in index.orders:
            content = self._contents.get(entry.id)
            if content is not None and content.generation == entry.generation:
                self._apply(entry, content, index.epoch)
        self.cluster.bind(now)
        self._has_news = True

    def _apply(self, entry: IndexEntry, content: OrderContent, epoch: int) -> None:
        replicas, cores, run_seconds = _read(content)
        pods = self.cluster.pods.get(entry.id)
        if pods is None or pods.stops_at is not None:
            if pods is not None:
                self.cluster.unbind(pods)
            pods = self.cluster.pods[entry.id] = Pods(entry.generation, epoch, replicas, cores)
            pods.run_seconds = run_seconds
            pods.ended = entry.id in self.disk.finished
            return
        if pods.generation == entry.generation and pods.replicas == replicas:
            return
        if replicas < pods.replicas:
            self._note_lowered(entry.id, pods, replicas)
            self.cluster.lower(pods, replicas)
        pods.generation, pods.epoch, pods.replicas = entry.generation, epoch, replicas

    def _withdraw(self, order_id: str, now: float) -> None:
        pods = self.cluster.pods[order_id]
        if pods.stops_at is None:
            self._note_lowered(order_id, pods, 0)
            pods.stops_at = now + _STOP_SECONDS

    def _note_lowered(self, order_id: str, pods: Pods, left: int) -> None:
        """Tells of pods on nodes that are taken away; what waits for a node does not run."""
        if not pods.ended and len(pods.nodes) > left:
            self.on_pods_lowered(self.name, order_id, left)

    def _let_pods_go(self, now: float) -> None:
        changed = False
        for order_id, pods in list(self.cluster.pods.items()):
            if pods.stops_at is not None and now >= pods.stops_at:
                self.cluster.unbind(pods)
                del self.cluster.pods[order_id]
                changed = True
            elif pods.has_run_to_its_end(now):
                self.cluster.unbind(pods)
                pods.ended = changed = True
                self.disk.finished.add(order_id)
                self.ended_runs.append(order_id)
            elif pods.becomes_ready(now):
                changed = True
        if changed or any(one.is_short for one in self.cluster.pods.values()):
            self.cluster.bind(now)
        self._has_news = self._has_news or changed

    # ------------------------------------------------------------ what it says

    def _speak(self, now: float) -> None:
        late = [one for one in self._held if one[0] <= now]
        if late:
            self._held = [one for one in self._held if one[0] > now]
            for _, topic, payload in late:
                self._send(topic, payload)
        if now >= self._report_at or self._wants_report:
            self._wants_report = False
            self._report_at = now + self.report_seconds
            self._say("report", REPORT.encode(self._report()), now)
            self._has_news = True
        if self._has_news and now >= self._status_at:
            self._has_news, self._status_at = False, now + _STATUS_PAUSE_SECONDS
            self._fetch_missing()
            self._say("status", SITE_STATUS.encode(self._status(now)), now)

    def _say(self, kind: TopicKind, payload: bytes, now: float) -> None:
        topic = site_topic(self.name, kind)
        sealed = seal(payload, topic=topic, key=self.key)
        if self.is_slow:
            self._held.append((now + self.rng.uniform(5, 25), topic, sealed))
        else:
            self._send(topic, sealed)

    def _send(self, topic: str, payload: bytes) -> None:
        if self.speaks and self.broker.is_up and self.broker.send_up(topic, payload):
            self.heard_at = self.clock.monotonic()

    def _boot_id(self) -> str:
        return f"boot-{self.disk.boot_number}"

    def _header(self) -> dict[str, Any]:
        self._sequence += 1
        return {
            "site": self.name,
            "boot_id": self._boot_id(),
            "boot_number": self.disk.boot_number,
            "sequence": self._sequence,
            "observed_seconds_ago": 0.0,
            "nonces": {asker: value for asker, (_, value) in self._nonces.items()},
        }

    def _report(self) -> Report:
        return make_report(
            self.cluster,
            lies=self.lies,
            foreign=self.foreign_orders() if self.lies == "orders" else (),
            interval_seconds=self.report_seconds,
            **self._header(),
        )

    def _status(self, now: float) -> SiteStatusMessage:
        index = self.disk.index
        return make_status(
            self.cluster,
            now,
            lies=self.lies,
            foreign=self.foreign_orders() if self.lies == "orders" else (),
            index=self.disk.echo,
            site_uid=index.site_uid if index else None,
            missing=self._missing(),
            **self._header(),
        )

    def _missing(self) -> tuple[str, ...]:
        return tuple(
            entry.id
            for entry in self._entries()
            if (known := self._contents.get(entry.id)) is None
            or known.generation != entry.generation
        )


def _read(content: OrderContent) -> tuple[int, int, float | None]:
    """Replicas, cores of each pod, and how long its pods run; None: they do not end."""
    for manifest in content.manifests:
        spec = manifest.get("spec")
        if not isinstance(spec, dict) or "template" not in spec:
            continue
        pod: Any = spec["template"]["spec"]
        cores = int(str(pod["containers"][0]["resources"]["requests"]["cpu"]))
        if manifest.get("kind") == "Job":
            replicas = spec.get("parallelism", 1)
            return int(str(replicas)), cores, 40.0
        replicas = content.replicas
        return int(str(spec.get("replicas", 0) if replicas is None else replicas)), cores, None
    return 0, 1, None
