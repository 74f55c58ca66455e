"""Which HTTP proxy the broker is reached by, and the tunnel through it (RFC 9110, CONNECT).

The environment variables are those of curl and Kubernetes: `HTTPS_PROXY` and `NO_PROXY`, also in
lower case, which wins.
"""

import base64
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import Final
from urllib.parse import unquote, urlsplit

from agents.mqtt.websocket import read_http_head

NO_PROXY_WORD: Final = "none"
_DEFAULT_PORT: Final = 3128
_TUNNEL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy.

    Attributes:
        host: its name or address.
        port: its port.
        authorization: value of `Proxy-Authorization`; empty for none; left out of `repr`.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> "HttpProxy":
        """Reads `http://[USER:PASSWORD@]HOST[:PORT]`; without the scheme it is the same.

        Raises:
            OSError: it is none of these; the message does not repeat it, for its password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
            parts = urlsplit("")
        if parts.scheme != "http" or not host:
            raise OSError("the proxy is no http://HOST:PORT; see broker.proxy and HTTPS_PROXY")
        authorization = ""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
        return cls(host, port or _DEFAULT_PORT, authorization)

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to `host` through the proxy, in at most ten seconds.

        Raises:
            OSError: the proxy cannot be reached or refuses; the message says what to do.
        """
        deadline = monotonic() + _TUNNEL_SECONDS
        connection = socket.create_connection((self.host, self.port), timeout=_TUNNEL_SECONDS)
        try:
            self._open_tunnel(connection, host, port, deadline)
        except OSError as error:
            connection.close()
            raise OSError(f"proxy {self.host}:{self.port}: {error}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_tunnel(
        self, connection: socket.socket, host: str, port: int, deadline: float
    ) -> None:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        status = read_http_head(connection, deadline)[0]
        code = [*status.split(" "), ""][1]
        if code == "407":
            raise ConnectionError("it wants a user and a password: http://USER:PASSWORD@HOST:PORT")
        if code != "200":
            raise ConnectionError(f"it does not connect to {name}: {status[:100]!a}")


def proxy_for(host: str, setting: str, environment: Mapping[str, str]) -> HttpProxy | None:
    """The proxy to reach a host by; None: directly.

    Args:
        host: name or address of the broker; what is on this machine is always reached directly.
        setting: `broker.proxy`; empty: the environment decides; "none": directly.
        environment: of the process.

    Raises:
        OSError: the proxy that is named is none.
    """
    if setting == NO_PROXY_WORD or _is_loopback(host):
        return None
    if setting:
        return HttpProxy.parse(setting)
    url = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not url or any(_matches(host, one.strip()) for one in excluded.split(",")):
        return None
    return HttpProxy.parse(url)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _matches(host: str, pattern: str) -> bool:
    """Whether one entry of NO_PROXY means a host: a name, a domain, an address, a network, `*`."""
    if pattern == "*":
        return True
    name, domain = host.lower().rstrip("."), pattern.lower().lstrip("*").lstrip(".").rstrip(".")
    if not domain:
        return False
    if name == domain or name.endswith(f".{domain}"):
        return True
    try:
        return ip_address(name) in ip_network(domain, strict=False)
    except ValueError:
        return False
