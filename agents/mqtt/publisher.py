"""What this agent says: reports (full or delta), statuses and the will, signed and ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.protocol.delta import SECTION_NAMES, canonicalise_report, compute_delta
from agents.protocol.envelope import seal
from agents.protocol.index import IndexEcho
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    OFFLINE,
    REPORT,
    REPORT_DELTA,
    Offline,
    Report,
    ReportedEnergy,
)
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatusMessage
from agents.protocol.topics import TopicKind, site_topic
from agents.runtime.data_dir import Boot
from agents.sensors.sensor import Observation


@dataclass(slots=True, kw_only=True)
class ReportBuilder:
    """Speaks for one agent during one boot.

    Attributes:
        site: ours.
        agent: our name within it.
        boot: this one.
        key: that signs.
        full_interval_seconds: between full reports; deltas in between.
    """

    site: str
    agent: str
    boot: Boot
    key: SigningKey
    full_interval_seconds: float
    _sequence: int = field(default=0, init=False)
    _base_report: Report | None = field(default=None, init=False)
    _base_sent_at: float = field(default=0.0, init=False)

    def topic_of(self, kind: TopicKind) -> str:
        """One of this site's topics."""
        return site_topic(self.site, kind)

    def request_full_report(self) -> None:
        """The next report is a full one: the hub asked, or the session is new."""
        self._base_report = None

    def build_report(
        self,
        observation: Observation,
        energy: ReportedEnergy | None,
        *,
        observed_seconds_ago: float,
    ) -> Report:
        """A full report as a value, numbered."""
        sections: dict[str, Any] = {name: getattr(observation, name) for name in SECTION_NAMES}
        sections["energy"] = energy
        return canonicalise_report(
            Report(**self._header_fields(observed_seconds_ago), site=self.site, **sections)
        )

    def build_report_message(
        self,
        observation: Observation,
        energy: ReportedEnergy | None,
        *,
        observed_seconds_ago: float,
        now: float,
    ) -> bytes:
        """The next report, sealed: full when it is time or was asked for, else a delta.

        Args:
            observation: what the sensors saw.
            energy: the totals.
            observed_seconds_ago: since they looked.
            now: monotonic seconds.
        """
        report = self.build_report(observation, energy, observed_seconds_ago=observed_seconds_ago)
        if self._base_report is None or now - self._base_sent_at >= self.full_interval_seconds:
            self._base_report, self._base_sent_at = report, now
            return self._seal("report", REPORT.encode(report), includes_public_key=True)
        return self._seal("report", REPORT_DELTA.encode(compute_delta(self._base_report, report)))

    def build_status_message(
        self,
        orders: tuple[OrderStatus, ...],
        *,
        site_uid: str | None,
        echo: IndexEcho | None,
        missing: tuple[str, ...],
        is_executing: bool,
        bad_messages: Mapping[str, int],
        observed_seconds_ago: float,
    ) -> bytes:
        """A status, sealed."""
        status = SiteStatusMessage(
            **self._header_fields(observed_seconds_ago),
            site=self.site,
            site_uid=site_uid,
            index=echo,
            orders=orders,
            missing=missing,
            is_executing=is_executing,
            bad_messages=dict(bad_messages),
        )
        return self._seal("status", SITE_STATUS.encode(status))

    def build_offline_message(self) -> bytes:
        """The last will, sealed: good for this boot only."""
        message = Offline(
            site=self.site,
            agent=self.agent,
            boot_id=self.boot.id,
            boot_number=self.boot.number,
        )
        return self._seal("offline", OFFLINE.encode(message))

    def _header_fields(self, observed_seconds_ago: float) -> dict[str, Any]:
        self._sequence += 1
        return {
            "agent": self.agent,
            "boot_id": self.boot.id,
            "boot_number": self.boot.number,
            "sequence": self._sequence,
            "observed_seconds_ago": max(0.0, round(observed_seconds_ago, 3)),
        }

    def _seal(self, kind: TopicKind, payload: bytes, *, includes_public_key: bool = False) -> bytes:
        return seal(
            payload,
            topic=self.topic_of(kind),
            key=self.key,
            includes_public_key=includes_public_key,
        )
