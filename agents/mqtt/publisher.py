"""What this agent says: reports (full or delta), statuses and the will, signed and ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from agents.protocol.delta import canonical, delta
from agents.protocol.envelope import seal
from agents.protocol.index import IndexEcho
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    OFFLINE,
    REPORT,
    REPORT_DELTA,
    Energy,
    Offline,
    Report,
    Sections,
)
from agents.protocol.status import SITE_STATUS, OrderStatus, SiteStatus
from agents.protocol.topics import Kind, topic
from agents.runtime.identity import Boot
from agents.sensors.sensor import Look

_SECTIONS: Final = tuple(each.name for each in fields(Sections))


@dataclass(slots=True)
class Voice:
    """Speaks for one agent during one boot.

    Attributes:
        site: ours.
        agent: our name within it.
        boot: this one.
        key: that signs.
        full_seconds: between full reports; deltas in between.
    """

    site: str
    agent: str
    boot: Boot
    key: SigningKey
    full_seconds: float
    _sequence: int = field(default=0, init=False)
    _base: Report | None = field(default=None, init=False)
    _base_at: float = field(default=0.0, init=False)

    def topic(self, kind: Kind) -> str:
        """One of this site's topics."""
        return topic(self.site, kind)

    def want_full(self) -> None:
        """The next report is a full one: the hub asked, or the session is new."""
        self._base = None

    def report(self, look: Look, energy: Energy | None, *, ago_seconds: float) -> Report:
        """A full report as a value, numbered."""
        sections: dict[str, Any] = {name: getattr(look, name) for name in _SECTIONS}
        sections["energy"] = energy
        return canonical(Report(**self._origin(ago_seconds), site=self.site, **sections))

    def report_message(
        self, look: Look, energy: Energy | None, *, ago_seconds: float, now: float
    ) -> bytes:
        """The next report, sealed: full when it is time or was asked for, else a delta.

        Args:
            look: what the sensors saw.
            energy: the totals.
            ago_seconds: since they looked.
            now: monotonic seconds.
        """
        report = self.report(look, energy, ago_seconds=ago_seconds)
        if self._base is None or now - self._base_at >= self.full_seconds:
            self._base, self._base_at = report, now
            return self._seal("report", REPORT.encode(report), introduces=True)
        return self._seal("report", REPORT_DELTA.encode(delta(self._base, report)))

    def status_message(
        self,
        orders: tuple[OrderStatus, ...],
        *,
        site_uid: str | None,
        echo: IndexEcho | None,
        missing: tuple[str, ...],
        is_executing: bool,
        bad_messages: Mapping[str, int],
        ago_seconds: float,
    ) -> bytes:
        """A status, sealed."""
        status = SiteStatus(
            **self._origin(ago_seconds),
            site=self.site,
            site_uid=site_uid,
            index=echo,
            orders=orders,
            missing=missing,
            is_executing=is_executing,
            bad_messages=dict(bad_messages),
        )
        return self._seal("status", SITE_STATUS.encode(status))

    def offline_message(self) -> bytes:
        """The last will, sealed: good for this boot only."""
        message = Offline(
            site=self.site,
            agent=self.agent,
            boot_id=self.boot.id,
            boot_number=self.boot.number,
        )
        return self._seal("offline", OFFLINE.encode(message))

    def _origin(self, ago_seconds: float) -> dict[str, Any]:
        self._sequence += 1
        return {
            "agent": self.agent,
            "boot_id": self.boot.id,
            "boot_number": self.boot.number,
            "sequence": self._sequence,
            "observed_seconds_ago": max(0.0, round(ago_seconds, 3)),
        }

    def _seal(self, kind: Kind, payload: bytes, *, introduces: bool = False) -> bytes:
        return seal(payload, topic=self.topic(kind), key=self.key, introduces=introduces)
