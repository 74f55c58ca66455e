"""Round-trip time to peers, by the time that it takes to open a TCP connection.

From SYN to SYN-ACK is one round trip of the network, without the application. Unlike ICMP it needs
no privileges and passes every firewall that the service passes. The least of three measurements
counts, because queueing only adds to the time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from agents.config.settings import PeerSettings
from agents.protocol.report import FigureOrigin, ReportedRtt
from agents.runtime.clock import AgentClock
from agents.sensors.sensor import Observation

_ATTEMPTS: Final = 3
_TIMEOUT_SECONDS: Final = 2.0

Connect = Callable[[str, int], Awaitable[None]]


async def connect_tcp(host: str, port: int) -> None:
    """Opens a TCP connection and closes it."""
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


@dataclass(slots=True, kw_only=True)
class RttSensor:
    """Measures peers at its own interval, and returns the last results in between.

    Attributes:
        peers: peers to measure.
        clock: monotonic time, to measure by.
        interval_seconds: between measurements of all peers.
        connect: opens one connection; tests have their own.
        name: slug of the sensor.
    """

    peers: Sequence[PeerSettings]
    clock: AgentClock
    interval_seconds: float
    connect: Connect = connect_tcp
    name: str = "rtt"
    _measured_at: float | None = field(default=None, init=False)
    _last_results: tuple[ReportedRtt, ...] = field(default=(), init=False)

    async def observe(self) -> Observation:
        """Returns round-trip times; leaves out peers that do not answer: unknown, not far away."""
        now = self.clock.monotonic()
        if self._measured_at is None or now - self._measured_at >= self.interval_seconds:
            self._measured_at = now
            found = [await self._measure(peer) for peer in self.peers]
            self._last_results = tuple(rtt for rtt in found if rtt is not None)
        return Observation(rtt=self._last_results) if self.peers else Observation()

    async def _measure(self, peer: PeerSettings) -> ReportedRtt | None:
        if not peer.host:
            return _modelled_rtt(peer)
        times = [await self._measure_once(peer) for _ in range(_ATTEMPTS)]
        known = [seconds for seconds in times if seconds is not None]
        if not known:
            return None
        return ReportedRtt(
            to=peer.name, milliseconds=round(min(known) * 1000, 3), origin="measured"
        )

    async def _measure_once(self, peer: PeerSettings) -> float | None:
        started = self.clock.monotonic()
        try:
            await asyncio.wait_for(self.connect(peer.host, peer.port), _TIMEOUT_SECONDS)
        except (OSError, TimeoutError):
            return None
        return self.clock.monotonic() - started


def _modelled_rtt(peer: PeerSettings) -> ReportedRtt | None:
    if peer.milliseconds is None:
        return None
    origin = cast("FigureOrigin", peer.origin)  # `config/load.py` has checked it
    return ReportedRtt(to=peer.name, milliseconds=peer.milliseconds, origin=origin)
