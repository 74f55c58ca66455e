"""Accepts connections from machines that are not known yet, within bounds.

Each connection is counted before its TLS handshake: so many at once, so many of one address, and
each for a short time, whatever it does. A slow or silent peer costs a descriptor for that time and
nothing else. All of it is per process.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_MAX_CONNECTIONS = 256
_MAX_PER_SOURCE = 64
"""30 rooms behind one address join at the same time."""
_HANDSHAKE_SECONDS = 5.0
_LIFETIME_SECONDS = 20.0
_PAUSE_SECONDS, _POLL_SECONDS = 0.5, 0.2
_IPV6_PREFIX_BITS = 64


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the network of an IPv6 address (/64)."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> (128 - _IPV6_PREFIX_BITS):x}"
    return str(parsed)


@dataclass(slots=True, kw_only=True)
class BoundedListener:
    """Accepts connections on a socket and hands each to a protocol over TLS.

    Attributes:
        bound: the listening socket; its maker closes it.
        context: TLS of the server.
        make_protocol: makes the protocol of one connection.
        clock: for pauses.
        faults: handles the faults of single connections.
        count_refused: called with each connection that is closed because there are too many.
        lifetime_seconds: how long one connection lasts at most.
    """

    bound: socket.socket
    context: ssl.SSLContext
    make_protocol: Callable[[], asyncio.BaseProtocol]
    clock: Clock
    faults: Faults
    count_refused: Callable[[], None]
    lifetime_seconds: float = _LIFETIME_SECONDS
    _open: Counter[str] = field(default_factory=Counter, init=False)

    async def run(self) -> None:
        """Accepts until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, address = await loop.sock_accept(self.bound)
                except OSError:  # no descriptor is free, or the peer has gone
                    await self.clock.sleep(_PAUSE_SECONDS)
                    continue
                source = source_of(str(address[0]))
                if self._open.total() >= _MAX_CONNECTIONS or self._open[source] >= _MAX_PER_SOURCE:
                    accepted.close()
                    self.count_refused()
                    continue
                self._open[source] += 1
                group.create_task(self._serve(accepted, source))

    async def _serve(self, accepted: socket.socket, source: str) -> None:
        transport: asyncio.Transport | None = None
        try:
            with self.faults.barrier("join"):
                loop = asyncio.get_running_loop()
                try:
                    async with asyncio.timeout(self.lifetime_seconds):
                        transport, _ = await loop.connect_accepted_socket(
                            self.make_protocol,
                            accepted,
                            ssl=self.context,
                            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                        )
                        # Its protocol is aiohttp's, which reports the end to no other code.
                        while not transport.is_closing():
                            await self.clock.sleep(_POLL_SECONDS)
                except (OSError, TimeoutError):  # also `SSLError`; no peer says why
                    pass
        finally:
            if transport is not None:
                transport.abort()
            accepted.close()
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]
