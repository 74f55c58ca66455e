"""When a heartbeat says enough: nothing that the hub acts on differs from what it was sent. Pure.

Figures that are measured differ a little at every look. What differs by less than the steps here
from what was sent counts as the same, so the hub's figure is off by at most a step. Each is
compared with what was sent, never with the look before: small changes add up to one that is sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.protocol.delta import SECTION_NAMES
from agents.protocol.heartbeat.chain import ReportedHeartbeats, SentChain
from agents.protocol.report import ReportedEnergy, ReportedPower, ReportedRtt

_WATTS_RATIO: Final = 0.05
_PUE_RATIO: Final = 0.01
_BATTERY_STEP: Final = 0.02
_RTT_RATIO, _RTT_STEP_MILLISECONDS = 0.1, 1.0

_LEAST_SECONDS: Final = 0.5
_SPARE_RATIO: Final = 2.0
"""Heartbeats state one age for all looks; most take no longer than twice the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidReport:
    """The last signed report, and the chain of the heartbeats that may follow it.

    Attributes:
        sections: its sections as they were observed, by name of the field.
        nonces: the nonces that it carries.
        status_sequence: the newest status before it.
        chain: makes its heartbeats.
        observed_within_seconds: how old an observation may be at a heartbeat.
    """

    sections: Mapping[str, Any]
    nonces: Mapping[str, str]
    status_sequence: int | None
    chain: SentChain
    observed_within_seconds: float

    def reported(self) -> ReportedHeartbeats:
        """What the report says of its heartbeats."""
        return ReportedHeartbeats(
            anchor=self.chain.anchor,
            observed_within_seconds=self.observed_within_seconds,
            status=self.status_sequence,
        )

    def heartbeat(
        self,
        sections: Mapping[str, Any],
        nonces: Mapping[str, str],
        status_sequence: int | None,
        *,
        observed_seconds_ago: float,
    ) -> bytes | None:
        """The next heartbeat; None: there is more to say, and a signed report is due."""
        if (
            nonces != self.nonces
            or status_sequence != self.status_sequence
            or observed_seconds_ago > self.observed_within_seconds
            or has_changed(self.sections, sections)
        ):
            return None
        return self.chain.next_heartbeat()


def observed_within_seconds(observed_seconds_ago: float) -> float:
    """The age that a report states for its heartbeats."""
    return round(max(_LEAST_SECONDS, _SPARE_RATIO * observed_seconds_ago), 1)


def has_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether sections of a report differ in what the hub acts on."""
    return any(_differs(name, before.get(name), now.get(name)) for name in SECTION_NAMES)


def _differs(name: str, before: object, now: object) -> bool:
    if before is None or now is None:
        return before is not now
    rule = _RULES.get(name)
    return before != now if rule is None else rule(before, now)


def _differs_by(ratio: float, before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(now - before) > ratio * abs(before)


def _power_differs(before: ReportedPower, now: ReportedPower) -> bool:
    return (
        before.origin != now.origin
        or before.observed_seconds_ago != now.observed_seconds_ago
        or _differs_by(_WATTS_RATIO, before.watts, now.watts)
    )


def _energy_differs(before: ReportedEnergy, now: ReportedEnergy) -> bool:
    """Whether more has changed than the totals, which grow; the next report has them."""
    same = ("counter_id", "origin", "pue_origin")
    batteries = before.battery_ratio, now.battery_ratio
    return (
        any(getattr(before, name) != getattr(now, name) for name in same)
        or _differs_by(_PUE_RATIO, before.pue, now.pue)
        or _differs_by(_WATTS_RATIO, before.pv_watts, now.pv_watts)
        or (None in batteries and batteries[0] is not batteries[1])
        or abs((batteries[1] or 0.0) - (batteries[0] or 0.0)) > _BATTERY_STEP
    )


def _rtt_differs(before: tuple[ReportedRtt, ...], now: tuple[ReportedRtt, ...]) -> bool:
    if [(one.to, one.origin) for one in before] != [(one.to, one.origin) for one in now]:
        return True
    return any(
        abs(new.milliseconds - old.milliseconds)
        > max(_RTT_STEP_MILLISECONDS, _RTT_RATIO * old.milliseconds)
        for old, new in zip(before, now, strict=True)
    )


def _host_differs(_before: object, _now: object) -> bool:
    return False  # for people; each signed report has it


_RULES: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "power": _power_differs,
    "energy": _energy_differs,
    "rtt": _rtt_differs,
    "host": _host_differs,
}
