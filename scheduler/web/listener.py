"""Where the web server listens, by which names it is addressed, and what other machines get.

Beyond loopback the page and its API are served over TLS only: tokens and sessions travel with them.
/metrics, /healthz and /readyz carry neither, and are served without TLS too, for probes.
"""

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
_HOST_HEADER: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebListener:
    """The socket of the web server.

    Attributes:
        port: its port.
        host: its IP address; 0.0.0.0 or :: for all of this machine.
        certificate_file: certificate with its chain, PEM; empty: no TLS.
        key_file: key of that certificate; empty: in the same file.
        allowed_hosts: names by which clients may address the server, besides those of loopback.
    """

    port: int
    host: str = "127.0.0.1"
    certificate_file: str = ""
    key_file: str = ""
    allowed_hosts: Sequence[str] = ()

    @property
    def is_tls(self) -> bool:
        """Whether it speaks TLS."""
        return bool(self.certificate_file)

    @property
    def url(self) -> str:
        """The address for clients on this machine, without a slash at its end."""
        address = ip_address(self.host)
        if address.is_unspecified:
            address = ip_address("127.0.0.1")  # `::` takes IPv4 too
        return self._url_of(f"[{address}]" if isinstance(address, IPv6Address) else str(address))

    @property
    def public_url(self) -> str:
        """The address for clients elsewhere: the first allowed name, else as `url`."""
        return self._url_of(self.allowed_hosts[0]) if self.allowed_hosts else self.url

    def _url_of(self, host: str) -> str:
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"

    def open_socket(self) -> socket.socket:
        """The bound socket.

        Raises:
            OSError: the port is taken, or the address is none of this machine.
        """
        if isinstance(ip_address(self.host), IPv4Address):
            return socket.create_server((self.host, self.port))
        is_dual = ip_address(self.host).is_unspecified and socket.has_dualstack_ipv6()
        return socket.create_server(
            (self.host, self.port), family=socket.AF_INET6, dualstack_ipv6=is_dual
        )

    def make_context(self) -> ssl.SSLContext | None:
        """The TLS context; None without TLS.

        Raises:
            ValueError: a file cannot be read, or is no certificate or key.
        """
        if not self.is_tls:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate_file, self.key_file or None)
        except OSError as error:  # also `SSLError`
            named = f"{self.certificate_file} {self.key_file}".strip()
            raise ValueError(
                f"web.tls_certificate_file, web.tls_key_file: {error} ({named}); name a "
                "certificate and its key in PEM, without a passphrase"
            ) from error
        return context

    def is_addressed_by(self, host: str, local_address: str) -> bool:
        """Whether a Host header names this server, against DNS rebinding.

        A number cannot be rebound, so the address that the client connected to is accepted.

        Args:
            host: the header.
            local_address: the address of this machine that the client is connected to.
        """
        match = _HOST_HEADER.fullmatch(host)
        if match is None:
            return False
        name, port = match[1].lower(), match[2]
        if name in _LOOPBACK_HOSTS:
            return port == str(self.port)
        if name in {one.lower() for one in self.allowed_hosts}:
            return True  # by any port: a proxy or Service may publish another one
        named = _address_of(name.strip("[]"))
        return named is not None and named == _address_of(local_address)

    def origins(self, host: str) -> set[str]:
        """The origins of pages of this server, for a request to `host`."""
        schemes = ["https"] if self.is_tls else ["http"]
        name = host.partition(":")[0].lower()
        if name in {one.lower() for one in self.allowed_hosts}:
            schemes.append("https")  # a proxy on this machine may speak it
        own = [f"{one}:{self.port}" for one in _LOOPBACK_HOSTS]
        return {f"{schemes[0]}://{one}" for one in own} | {f"{one}://{host}" for one in schemes}

    def is_private(self, local_address: str) -> bool:
        """Whether only both ends of a connection can read it: over TLS, or on this machine."""
        address = _address_of(local_address)
        return self.is_tls or (address is not None and address.is_loopback)


def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address, an IPv4 one also where IPv6 carries it; None for a name."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
