"""Builds the messages that the agent publishes: reports, statuses and the last will, signed."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agents.mqtt.heartbeats import SaidReport, observed_within_seconds
from agents.mqtt.nonces import CarriedNonces
from agents.mqtt.report_bounds import bring_within_bounds, halve_report
from agents.protocol.bounds import MAX_SECONDS
from agents.protocol.delta import SECTION_NAMES, canonicalise_report, compute_delta
from agents.protocol.diagnosis.answer import ANSWER, OrderAnswer
from agents.protocol.envelope import seal
from agents.protocol.errors import WireError
from agents.protocol.heartbeat.chain import SentChain
from agents.protocol.index import HeldHead, IndexEcho
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    OFFLINE,
    REPORT,
    REPORT_DELTA,
    Offline,
    Report,
    ReportedEnergy,
)
from agents.protocol.status import (
    ACTS_ON,
    MAX_TRUSTED_KEYS,
    SITE_STATUS,
    KeptClaim,
    OrderStatus,
    SiteStatusMessage,
)
from agents.protocol.topics import TopicKind, site_topic
from agents.runtime.data_dir import Boot
from agents.sensors.sensor import Observation

_FULL_INTERVALS: Final = 12
"""Full reports, and statuses that say the same, are so rare where heartbeats vouch for them: a hub
that lacks one asks."""


@dataclass(slots=True, kw_only=True)
class ReportBuilder:
    """Builds and signs the messages of one agent during one boot.

    Attributes:
        site: name of the site.
        agent: name of the agent within the site.
        boot: this start of the agent.
        key: key to sign with.
        full_interval_seconds: time between full reports; the reports in between are deltas.
        interval_seconds: time between reports, which each of them states; None: it is not stated.
        nonces: what every message carries, as proof that it is new.
        random_bytes: makes so many random bytes.
    """

    site: str
    agent: str
    boot: Boot
    key: SigningKey
    full_interval_seconds: float
    interval_seconds: float | None = None
    nonces: CarriedNonces = field(default_factory=CarriedNonces)
    random_bytes: Callable[[int], bytes] = os.urandom
    _sequence: int = field(default=0, init=False)
    _base_report: Report | None = field(default=None, init=False)
    _base_sent_at: float = field(default=0.0, init=False)
    _said: SaidReport | None = field(default=None, init=False)
    _said_status: SiteStatusMessage | None = field(default=None, init=False)
    _status_sequence: int | None = field(default=None, init=False)
    _status_sent_at: float = field(default=0.0, init=False)

    def topic_of(self, kind: TopicKind) -> str:
        """One of this site's topics."""
        return site_topic(self.site, kind)

    def request_full_report(self) -> None:
        """Makes the next report a full one."""
        self._base_report = self._said = None

    def renew_boot(self, boot: Boot) -> None:
        """Counts as another boot from now on; the next report is a full one."""
        self.boot, self._base_report, self._said = boot, None, None
        self._said_status = self._status_sequence = None

    def build_report(
        self,
        observation: Observation,
        energy: ReportedEnergy | None,
        *,
        observed_seconds_ago: float,
    ) -> Report:
        """Builds a full report with the next sequence number, within the bounds of messages."""
        report = Report(
            **self._header_fields(observed_seconds_ago),
            site=self.site,
            interval_seconds=self.interval_seconds,
            **_sections_of(observation, energy),
        )
        return canonicalise_report(bring_within_bounds(report))

    def build_heartbeat(
        self,
        observation: Observation,
        energy: ReportedEnergy | None,
        *,
        observed_seconds_ago: float,
        now: float,
    ) -> bytes | None:
        """Builds the next heartbeat; None: it would not say all, and a report is due.

        Args: as of `build_report_message`.
        """
        if self._said is None or not self.nonces.take_heartbeats(now):
            return None
        return self._said.heartbeat(
            _sections_of(observation, energy),
            self.nonces.by_asker(),
            self._status_sequence,
            observed_seconds_ago=observed_seconds_ago,
        )

    def build_report_message(
        self,
        observation: Observation,
        energy: ReportedEnergy | None,
        *,
        observed_seconds_ago: float,
        now: float,
    ) -> bytes:
        """Builds the next report, sealed: a full one when due or requested, else a delta.

        Args:
            observation: merged observation of all sensors.
            energy: energy totals; None if unknown.
            observed_seconds_ago: age of the observation.
            now: monotonic seconds.

        A report that is larger than readers accept is sent with fewer nodes and a fault.

        Raises:
            WireError: it is too large without nodes, too.
        """
        report = self.build_report(observation, energy, observed_seconds_ago=observed_seconds_ago)
        self._said, full_seconds = None, self.full_interval_seconds
        if self.nonces.take_heartbeats(now):
            self._said = self._begin_chain(_sections_of(observation, energy), observed_seconds_ago)
            report = replace(report, heartbeats=self._said.reported())
            full_seconds *= _FULL_INTERVALS
        base = self._base_report
        if base is not None and now - self._base_sent_at < full_seconds:
            with suppress(WireError):  # too large, or it names more than a delta may: a full one
                report = _with_host_of(base, report)
                change = REPORT_DELTA.encode(compute_delta(base, report))
                REPORT_DELTA.decode(change)
                return self._seal("report", change)
        while True:
            try:
                data = self._seal("report", REPORT.encode(report), includes_public_key=True)
            except WireError:
                smaller = halve_report(report)
                if smaller is None:
                    raise
                report = smaller
            else:
                self._base_report, self._base_sent_at = report, now
                return data

    def _begin_chain(self, sections: Mapping[str, Any], observed_seconds_ago: float) -> SaidReport:
        return SaidReport(
            sections=sections,
            nonces=self.nonces.by_asker(),
            status_sequence=self._status_sequence,
            chain=SentChain(self.topic_of("report"), self.random_bytes),
            observed_within_seconds=observed_within_seconds(observed_seconds_ago),
        )

    def build_status(
        self,
        orders: tuple[OrderStatus, ...],
        *,
        site_uid: str | None,
        echo: IndexEcho | None,
        missing: tuple[str, ...],
        is_executing: bool,
        bad_messages: Mapping[str, int],
        index_proof: str | None = None,
        ledger_heads: tuple[HeldHead, ...] | None = None,
        observed_seconds_ago: float,
        kept: tuple[KeptClaim, ...] = (),
        wants_full_index: bool = False,
        trusted_hub_keys: tuple[str, ...] = (),
    ) -> SiteStatusMessage:
        """Builds a status with the next sequence number; see there for the arguments."""
        return SiteStatusMessage(
            **self._header_fields(observed_seconds_ago),
            site=self.site,
            site_uid=site_uid,
            index=echo,
            orders=orders,
            kept=kept or None,
            missing=missing,
            is_executing=is_executing,
            index_proof=index_proof,
            ledger_heads=ledger_heads,
            bad_messages=dict(bad_messages),
            takes_deltas=True,
            wants_full_index=wants_full_index or None,
            answers_questions=True,
            acts_on=ACTS_ON,
            trusted_hub_keys=trusted_hub_keys[:MAX_TRUSTED_KEYS] or None,
        )

    def is_vouched_for(self, status: SiteStatusMessage, now: float) -> bool:
        """Whether heartbeats say what a status would say: it is as the one that was sent last."""
        age = now - self._status_sent_at
        if self._said is None or age >= self.full_interval_seconds * _FULL_INTERVALS:
            return False
        return self.nonces.take_heartbeats(now) and _content_of(status) == self._said_status

    def forget_status(self) -> None:
        """Has the next status sent whatever it says: the one before was not."""
        self._said_status = None

    def build_status_message(self, status: SiteStatusMessage, *, now: float = 0.0) -> bytes:
        """Seals a status that is sent now, if need be without what people wrote.

        Raises:
            WireError: the status is larger than readers accept.
        """
        self._said_status, self._status_sent_at = _content_of(status), now
        self._status_sequence = status.sequence
        # Never without an order, because that would say that nothing of it is left.
        brief = replace(
            status, orders=tuple(replace(order, message=None) for order in status.orders)
        )
        for smaller in (status, brief):
            with suppress(WireError):
                return self._seal("status", SITE_STATUS.encode(smaller))
        return self._seal(
            "status", SITE_STATUS.encode(replace(brief, index_proof=None, ledger_heads=None))
        )

    def build_offline_message(self) -> bytes:
        """Builds the last will of this boot, sealed."""
        message = Offline(
            site=self.site,
            agent=self.agent,
            boot_id=self.boot.id,
            boot_number=self.boot.number,
        )
        return self._seal("offline", OFFLINE.encode(message))

    def build_answer_message(self, topic: str, answer: OrderAnswer) -> bytes:
        """Builds the answer to a question for its topic, sealed.

        Raises:
            WireError: it is larger than readers accept.
        """
        return seal(ANSWER.encode(answer), topic=topic, key=self.key)

    def _header_fields(self, observed_seconds_ago: float) -> dict[str, Any]:
        self._sequence += 1
        return {
            "agent": self.agent,
            "boot_id": self.boot.id,
            "boot_number": self.boot.number,
            "sequence": self._sequence,
            "observed_seconds_ago": min(max(0.0, round(observed_seconds_ago, 3)), MAX_SECONDS),
            "nonces": self.nonces.by_asker(),
        }

    def _seal(self, kind: TopicKind, payload: bytes, *, includes_public_key: bool = False) -> bytes:
        return seal(
            payload,
            topic=self.topic_of(kind),
            key=self.key,
            includes_public_key=includes_public_key,
        )


def _content_of(status: SiteStatusMessage) -> SiteStatusMessage:
    """A status without what differs in every message.

    A scheduler that has not asked before lacks the status; one that asks again does not.
    """
    askers = dict.fromkeys(status.nonces or {}, "asked")
    return replace(status, sequence=0, observed_seconds_ago=0.0, nonces=askers)


def _sections_of(observation: Observation, energy: ReportedEnergy | None) -> dict[str, Any]:
    """The sections of a report, by name of the field."""
    sections: dict[str, Any] = {name: getattr(observation, name) for name in SECTION_NAMES}
    sections["energy"] = energy
    return sections


def _with_host_of(base: Report, report: Report) -> Report:
    """A report with the load of the host as it was, where it is the same machine and version.

    Nothing acts on it, and in a delta that says nothing else it would be most of the bytes.
    """
    if base.host is None or report.host is None:
        return report
    same = ("hostname", "architecture", "processors", "memory_bytes", "agent_version", "disk_bytes")
    is_same = all(getattr(base.host, name) == getattr(report.host, name) for name in same)
    return replace(report, host=base.host) if is_same else report
