"""Turns messages from agents into events for the control loops.

A message passes these checks in this order: its topic, its signature by a key that the Site lists,
its decoding, its boot and sequence number. A message that fails one is counted by the reason and
dropped; no input makes `Ingest.handle` raise. If one brings out a fault all the same, messages of
its site and kind are dropped for a while.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agents.protocol import topics
from agents.protocol.diagnosis.answer import ANSWER, OrderAnswer
from agents.protocol.envelope import (
    Envelope,
    read_envelope,
    unseal_envelope,
    unseal_unadmitted,
)
from agents.protocol.errors import WireError
from agents.protocol.heartbeat.chain import ReceivedChain, is_heartbeat, parse_heartbeat
from agents.protocol.keys import TrustedKeys
from agents.protocol.report import OFFLINE, MessageHeader, Offline, Report, ReportDelta
from agents.protocol.status import SiteStatusMessage
from scheduler.control.ports.agents import AgentEventHandler, OrderState, OrderStatusReport
from scheduler.control.ports.telemetry import Telemetry
from scheduler.mqtt.arrivals import parse_site_topic
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.questions.site_questions import SiteQuestions
from scheduler.mqtt.reading.report_reader import ReportReader
from scheduler.mqtt.received_messages import ReceivedMessages
from scheduler.mqtt.site_agents import (
    AgentState,
    EarlierBoot,
    ReadReport,
    SiteAgents,
    SiteMessage,
    VouchedReport,
)
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.mqtt.site_reports import (
    MAX_AGE_SECONDS,
    StatusReader,
    order_status_report_of,
    with_times,
)
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_MAX_VALUES = 500_000
"""A report or a status at all its bounds has 350,000; parsing as many takes some 50 ms."""


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """The JSON of a message that a key of its site has signed.

    Attributes:
        topic: where it arrived.
        data: the JSON.
        key_id: id of the key.
    """

    topic: topics.Topic
    data: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A message that was verified and decoded.

    Attributes:
        topic: where it arrived.
        message: its content.
        key_id: id of the key that signed it.
        size: its bytes as JSON.
        read: what it says, as the control loops take it in; None until `Ingest.read`.
        orders: of a status, the states of its orders that were read with it; None: not yet.
    """

    topic: topics.Topic
    message: SiteMessage | OrderAnswer
    key_id: str
    size: int
    read: "ReadReport | OrderStatusReport | None" = None
    orders: dict[str, OrderState] | None = None

    def with_read(self, read: "ReadReport | OrderStatusReport") -> "OpenedMessage":
        """The message with what was read of it; written out, as one is made for each report."""
        return OpenedMessage(
            self.topic, self.message, self.key_id, self.size, read=read, orders=self.orders
        )


@dataclass(slots=True, kw_only=True)
class Ingest:
    """Receives the messages of all sites.

    Attributes:
        keyring: the keys that each admitted site signs with.
        listener: receives the events.
        telemetry: counts accepted and refused messages.
        clock: for ages and for the dates of figures.
        faults: handles the faults that single messages cause.
        asker: judges how old a message is at least, by the nonce that it carries.
        received: what was received before this process started.
        on_trusted_keys: called with a site and the ids of our keys that its agent trusts.
        questions: takes the answers to questions; None: there are none.
        sites_needing_full_report: sites whose deltas lack their full report; the scheduler takes
            them out and asks for a full report.
    """

    keyring: Keyring
    listener: AgentEventHandler
    telemetry: Telemetry
    clock: Clock
    faults: Faults
    asker: SiteAsker
    received: ReceivedMessages = field(default_factory=ReceivedMessages)
    questions: SiteQuestions | None = None
    on_trusted_keys: Callable[[str, tuple[str, ...]], None] = lambda _site, _keys: None
    sites_needing_full_report: set[str] = field(default_factory=set, init=False)
    _sites: dict[str, SiteAgents] = field(default_factory=dict, init=False)
    _reports: ReportReader = field(default_factory=ReportReader, init=False)
    _statuses: StatusReader = field(default_factory=StatusReader, init=False)

    def handle(self, topic: str, payload: bytes, *, retained: bool = False) -> bool:
        """Verifies, decodes and dispatches one message; a bad one is counted and dropped.

        Returns:
            Whether the message was accepted.
        """
        if is_heartbeat(payload):
            return self._handle_heartbeat(topic, payload, retained=retained)
        is_admitted, verified = None, None
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic = parse_site_topic(topic, retained=retained)
            envelope = read_envelope(payload)
            is_admitted = self.is_admitted(parsed_topic.site, envelope.kid)
            if is_admitted:
                verified = self._verify(parsed_topic, topic, envelope)
        if is_admitted is False:
            self.list_unadmitted(topic, payload)
        opened = self.decode(verified) if verified else None
        return opened is not None and self.apply(opened)

    def check_chain(self, site: str, chain: bytes) -> None:
        """Checks that a report named this chain of heartbeats; if not, the site is asked.

        Raises:
            WireError: "stale".
        """
        known = self._sites.get(site)
        if known is None or known.find_vouched(chain) is None:
            self.asker.ask_lacking(site)
            raise WireError("stale", "a heartbeat whose report has not been received")

    def _handle_heartbeat(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Takes in a heartbeat; only the age of what is known of its site changes."""
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic, heartbeat = (
                parse_site_topic(topic, retained=retained),
                parse_heartbeat(payload),
            )
            if parsed_topic.kind != "report":
                raise WireError("malformed", f"{topic}: a heartbeat is for the topic of reports")
            site = parsed_topic.site
            self.check_chain(site, heartbeat.chain)
            agents = self._sites[site]
            vouched = agents.accept_heartbeat(heartbeat)
            if agents.lacks_status(vouched):
                self.asker.ask_lacking(site)
            sent_seconds = self.asker.sent_seconds(site, vouched.header)
            read = vouched.at_heartbeat(sent_seconds)
            ago = timedelta(seconds=vouched.said.observed_within_seconds)
            self._take_in(
                agents, vouched.header.agent, read, self._instant_of(sent_seconds) - ago, size=0
            )
            self.telemetry.count_message("heartbeat")
            return True
        return False

    def is_admitted(self, site: str, key_id: str) -> bool:
        """Whether a Site lists the key."""
        trusted = self.keyring.keys_of(site)
        return trusted is not None and trusted.find(key_id) is not None

    def list_unadmitted(self, topic: str, payload: bytes) -> None:
        """Notifies the listener of a site that signs with a key that no Site lists."""
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic = parse_site_topic(topic, retained=False)
            self.count_unadmitted(parsed_topic.site)
            _, key = unseal_unadmitted(payload, topic=topic)
            self.listener.on_unadmitted_site(parsed_topic.site, str(key))

    def count_unadmitted(self, site: str) -> None:
        """Counts a message of a site or a key that is not admitted."""
        is_known = self.keyring.keys_of(site) is not None
        self.telemetry.count_bad_message("unknown-key" if is_known else "unknown-site")

    def open(self, topic: str, payload: bytes) -> "OpenedMessage | None":
        """Verifies and decodes a message and changes nothing; may run on any thread.

        Returns:
            The message; None if it is refused, which is counted.
        """
        verified = self.verify(topic, payload)
        return None if verified is None else self.decode(verified)

    def verify(self, topic: str, payload: bytes) -> "VerifiedMessage | None":
        """Checks who has sent a message; as `open`."""
        with self._refusals(topic), self.faults.barrier("message", passing=(WireError,)):
            parsed_topic = parse_site_topic(topic, retained=False)
            return self._verify(parsed_topic, topic, read_envelope(payload))
        return None

    def _verify(
        self, parsed_topic: topics.Topic, topic: str, envelope: Envelope
    ) -> "VerifiedMessage":
        trusted = self.keyring.keys_of(parsed_topic.site) or TrustedKeys()
        data = unseal_envelope(envelope, topic=topic, trusted=trusted)
        return VerifiedMessage(parsed_topic, data, envelope.kid)

    def decode(self, verified: "VerifiedMessage") -> "OpenedMessage | None":
        """Decodes a verified message; as `open`."""
        topic, data = verified.topic, verified.data
        # Only the site itself can have a verified message, so only it is set aside.
        sender = (topic.site, topic.kind)
        decoding = (*sender, "decode")
        if not all(self.faults.admits("message", one) for one in (sender, decoding)):
            return None
        with (
            self._refusals(f"{topic.site} {topic.kind}"),
            self.faults.barrier("message", decoding, passing=(WireError,)),
        ):
            message, orders = self._decode(topic, data)
            return OpenedMessage(topic, message, verified.key_id, len(data), orders=orders)
        return None

    def _decode(
        self, topic: topics.Topic, data: bytes
    ) -> "tuple[SiteMessage | OrderAnswer, dict[str, OrderState] | None]":
        """Decodes a message; one with too many values is not even parsed: no thread shares it."""
        if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
            raise WireError("too-large", f"more than {_MAX_VALUES} values")
        if topic.kind == "status":
            return self._statuses.decode(topic.site, data)
        if topic.kind == "answer":
            return ANSWER.decode(data), None
        if topic.kind == "offline":
            return OFFLINE.decode(data), None
        return self._reports.decode(topic.site, data), None

    def is_newest(self, opened: "OpenedMessage") -> bool:
        """Whether `apply` would accept this message as the newest of its agent and kind."""
        site, message = opened.topic.site, opened.message
        if isinstance(message, OrderAnswer):  # none replaces another
            return False
        agents = self._sites.get(site) or SiteAgents(site=site, received=self.received)
        is_own = message.site == site
        return is_own and agents.is_newest(message, opened.topic.kind, opened.key_id)

    def is_awaited(self, site: str, token: str) -> bool:
        """Whether an answer of this site to the question of this token is waited for."""
        return self.questions is not None and self.questions.is_open(site, token)

    def takes_long(self, site: str) -> bool:
        """Whether a report of a site may take long, however small the message is."""
        known = self._sites.get(site)
        return known is not None and known.has_large_base()

    def read(self, opened: "OpenedMessage") -> "OpenedMessage | None":
        """Reads what a message says and keeps nothing; may run on any thread.

        How old it is, is judged when it is applied: nonces are issued and read on one thread.
        Until `apply`, no other message of the site may be applied.

        Returns:
            The message with what was read; None if it is refused, which is counted.
        """
        topic = opened.topic
        with (
            self._refusals(f"{topic.site} {topic.kind}"),
            self.faults.barrier("message", (topic.site, topic.kind), passing=(WireError,)),
        ):
            return self._read(opened)
        return None

    def apply(self, opened: "OpenedMessage") -> bool:
        """Dispatches an opened message, and reads it first if that was not done yet.

        Returns:
            Whether it was accepted; if not, that is counted.
        """
        topic, sender = opened.topic, (opened.topic.site, opened.topic.kind)
        with (
            self._refusals(f"{topic.site} {topic.kind}"),
            self.faults.barrier("message", sender, passing=(WireError,)),
        ):
            self._dispatch(opened if opened.read else self._read(opened))
            return True
        return False

    @contextmanager
    def _refusals(self, topic: str) -> Iterator[None]:
        """Counts a refused message, and ends normally."""
        try:
            yield
        except WireError as error:
            self.telemetry.count_bad_message(error.reason)
            _log.debug("%s: %s: %s", topic[:300], error.reason, error)

    def forget(self, site: str) -> None:
        """Drops what is known of a site that is gone or has new keys."""
        self._sites.pop(site, None)
        self._statuses.forget(site)
        self._reports.forget(site)
        if self.questions is not None:
            self.questions.forget(site)
        self.sites_needing_full_report.discard(site)

    def _read(self, opened: "OpenedMessage") -> "OpenedMessage":
        """Reads a message that is the newest; `_dispatch` refuses others without reading them.

        Raises:
            WireError: what it says cannot be used.
        """
        message = opened.message
        if isinstance(message, OrderAnswer | Offline) or not self.is_newest(opened):
            return opened
        if isinstance(message, SiteStatusMessage):
            return opened.with_read(order_status_report_of(message, opened.orders))
        if message.observed_seconds_ago > MAX_AGE_SECONDS:
            raise WireError("malformed", f"observed more than {MAX_AGE_SECONDS:g} seconds ago")
        whole, base = self._whole_report(opened.topic.site, message)
        self._reports.check_totals(whole)
        read = ReadReport(whole=whole, base=base, figures=self._reports.site_report_of(whole))
        return opened.with_read(read)

    def _dispatch(self, opened: "OpenedMessage") -> None:
        site, kind, message = opened.topic.site, opened.topic.kind, opened.message
        if isinstance(message, Offline):
            self._handle_offline(site, message)
            return
        if isinstance(message, OrderAnswer):
            self._handle_answer(opened.topic, message)
            return
        if message.site != site:
            raise WireError("wrong-site", f"names {message.site!r} on the topic of {site!r}")
        agents = self._sites.setdefault(site, SiteAgents(site=site, received=self.received))
        is_new_boot = agents.is_first_report(message)
        agent = self._accept_newest(agents, message, kind, opened.key_id)
        if isinstance(opened.read, ReadReport):
            if opened.read.base is not None and opened.read.base is not agent.base:
                raise WireError("stale", "the full report of this delta was dropped meanwhile")
            read = opened.read
            if is_new_boot:
                read = replace(read, figures=replace(read.figures, is_new_boot=True))
            if isinstance(message, Report | ReportDelta):
                self._handle_report(agents, message, read, opened.size)
        elif opened.read is not None:
            sent_seconds = self.asker.sent_seconds(site, message)
            self.telemetry.count_message("status")
            if isinstance(message, SiteStatusMessage):
                self._note_abilities(site, message)
            self.listener.on_order_status(replace(opened.read, sent_seconds=sent_seconds))
        else:
            raise WireError("stale", "the site was forgotten while this was read")

    def _accept_newest(
        self, agents: SiteAgents, message: MessageHeader, kind: str, key_id: str
    ) -> AgentState:
        """As `SiteAgents.accept_newest`; a live agent of an earlier boot is notified."""
        try:
            return agents.accept_newest(message, kind, key_id)
        except EarlierBoot as error:
            newest = error.newest_boot
            is_there = self.asker.on_stale_boot(agents.site, message, newest_boot=newest)
            if is_there and agents.note_second(message):
                _log.warning(
                    "Site %s: two agents with one identity take turns as agent %s, such as two"
                    " machines with copies of one disk; stop one of them, and give it an identity"
                    " of its own: kapok-agent join --again",
                    agents.site,
                    message.agent,
                )
            raise

    def _note_abilities(self, site: str, message: SiteStatusMessage) -> None:
        self.on_trusted_keys(site, message.trusted_hub_keys or ())
        if self.questions is not None:
            self.questions.on_status(site, message)

    def _handle_report(
        self, agents: SiteAgents, message: Report | ReportDelta, read: ReadReport, size: int
    ) -> None:
        name, chain = message.agent, self._chain_of(agents.site, message)
        try:
            sent_seconds = self.asker.sent_seconds(agents.site, message)
        except WireError:
            agents.keep_base(name, read, size=size)  # deltas build on it, however old it is
            raise
        sent_at = self._instant_of(sent_seconds)
        observed_at = sent_at - timedelta(seconds=read.whole.observed_seconds_ago)
        figures = with_times(read.figures, read.whole, sent_seconds=sent_seconds, sent_at=sent_at)
        read = ReadReport(whole=read.whole, base=read.base, figures=figures)
        self._take_in(agents, name, read, observed_at, size=size)
        if chain is not None:
            agents.agents[name].vouched = VouchedReport.of_message(message, read, chain)
        self.telemetry.count_message("report")
        self._check_counter(agents, message, read.whole)

    def _take_in(
        self,
        agents: SiteAgents,
        name: str,
        read: ReadReport,
        observed_at: datetime,
        *,
        size: int,
    ) -> None:
        self.listener.on_report(agents.site_report(name, read, observed_at=observed_at))
        # Nothing is kept of a report that was not taken in.
        agents.keep(name, read, observed_at=observed_at, size=size)

    @staticmethod
    def _chain_of(site: str, message: Report | ReportDelta) -> ReceivedChain | None:
        """The chain of the heartbeats that follow a report; None: none follow."""
        if message.heartbeats is None:
            return None
        return ReceivedChain.of_report(topics.site_topic(site, "report"), message.heartbeats)

    def _check_counter(self, agents: SiteAgents, message: MessageHeader, whole: Report) -> None:
        """Has an agent begin a new energy counter if its totals count more than one machine."""
        agent = agents.find(message)
        if agent is None or whole.energy is None or not agent.counter.note(whole.energy):
            return
        _log.warning(
            "Site %s: the energy totals of agent %s are not exact: they fell, or a second agent has"
            " its identity, such as a machine with a copy of its disk; it is asked to begin at"
            " 0. Give a copied machine an identity of its own: kapok-agent join --again",
            agents.site,
            message.agent,
        )
        self.telemetry.count_bad_message("energy-counter")
        self.asker.ask_to_begin_again(agents.site, message)

    def _instant_of(self, monotonic_seconds: float) -> datetime:
        age_seconds = max(0.0, self.clock.monotonic() - monotonic_seconds)
        return self.clock.now() - timedelta(seconds=age_seconds)

    def _whole_report(
        self, site: str, message: Report | ReportDelta
    ) -> tuple[Report, Report | None]:
        """A full report itself, or the agent's last one with this delta applied, and that one.

        Raises:
            WireError: the full report that the delta builds on is missing, or they do not match.
        """
        if isinstance(message, Report):
            return self._reports.canonicalise(message), None
        self.sites_needing_full_report.add(site)  # unless the delta can be applied
        known = self._sites.get(site)
        agent = known.find(message) if known else None
        base = agent.base_of(message) if agent else None
        if base is None:
            raise WireError("stale", "a delta whose full report has not been received")
        whole = self._reports.apply_delta(base, message)
        self.sites_needing_full_report.discard(site)
        return whole, base

    def _handle_answer(self, topic: topics.Topic, message: OrderAnswer) -> None:
        if self.questions is None:
            raise WireError("stale", "nothing was asked")
        self.questions.on_answer(topic.site, topic.token, message)
        self.telemetry.count_message("answer")

    def _handle_offline(self, site: str, message: Offline) -> None:
        if message.site != site:
            raise WireError(
                "wrong-site", f"a last will of {message.site!r} on the topic of {site!r}"
            )
        agents = self._sites.get(site)
        known = agents.agents.get(message.agent) if agents else None
        if known is None or known.boot != (message.boot_number, message.boot_id):
            raise WireError("stale", "the last will of another boot")
        self.telemetry.count_message("offline")
        self.listener.on_site_offline(site)
