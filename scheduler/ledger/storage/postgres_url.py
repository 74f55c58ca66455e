"""The address of a ledger in PostgreSQL, as the settings name it; its password is never shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

_SCHEMES = ("postgresql://", "postgres://")
_OPTIONS = frozenset(
    (
        "application_name",
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "passfile",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "ssl_min_protocol_version",
        "target_session_attrs",
        "tcp_user_timeout",
    )
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_AUTHENTICATED = ("verify-ca", "verify-full")
_EXAMPLE = "postgresql://kapok@db.example:5432/kapok?sslmode=verify-full&sslrootcert=/etc/ca.crt"
_PORT = re.compile(r"[0-9]{1,5}")
_LAST_PORT = 65_535


class PostgresUrlError(ValueError):
    """The address cannot be used; the message says why, and holds no part of it."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where the database is, and how to log in. Its text leaves out the password.

    Attributes:
        hosts: names or addresses; the first that answers and has `target_session_attrs` is used.
        ports: of each host.
        database: its name.
        user: who logs in; "": as libpq chooses.
        password: "": none, or as libpq finds it (PGPASSWORD, ~/.pgpass).
        options: further options of libpq.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    database: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def parse(cls, text: str, password: str = "") -> "PostgresUrl":
        """Reads `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`.

        Args:
            text: the address; several hosts are separated by commas.
            password: takes the place of the one in the address.

        Raises:
            PostgresUrlError: it has another form.
        """
        rest = next((text[len(one) :] for one in _SCHEMES if text.startswith(one)), None)
        if rest is None or any(not one.isprintable() or one == " " for one in text):
            raise PostgresUrlError(f"this is no address of PostgreSQL; write {_EXAMPLE}")
        rest, _, query = rest.partition("?")
        place, _, database = rest.partition("/")
        login, at, hosts = place.rpartition("@")
        user, _, own_password = login.partition(":") if at else ("", "", "")
        if not hosts or not database or "/" in database:
            raise PostgresUrlError(
                f"the address must name a host and one database; write {_EXAMPLE}"
            )
        pairs = [_host_and_port(one) for one in hosts.split(",")]
        return cls(
            hosts=tuple(host for host, _ in pairs),
            ports=tuple(port for _, port in pairs),
            database=unquote(database),
            user=unquote(user),
            password=password or unquote(own_password),
            options=MappingProxyType(_read_options(query)),
        )

    def with_password(self, password: str) -> "PostgresUrl":
        """The same address with another password."""
        return replace(self, password=password)

    @property
    def is_on_loopback(self) -> bool:
        """No part of the way to the server leaves this machine."""
        return all(map(_is_loopback, self.hosts))

    @property
    def ssl_mode(self) -> str:
        """How TLS is used; "prefer" when the address does not say."""
        return self.options.get("sslmode", "prefer")

    @property
    def is_server_authenticated(self) -> bool:
        """The server proves who it is, or is on this machine."""
        return self.is_on_loopback or self.ssl_mode in _AUTHENTICATED

    def connect_arguments(self) -> dict[str, str]:
        """The keywords for the driver; with the password."""
        found = {
            "host": ",".join(self.hosts),
            "port": ",".join(map(str, self.ports)),
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
        }
        return {key: value for key, value in found.items() if value} | dict(self.options)

    def masked(self, text: str) -> str:
        """A text, such as an error of the driver, without the password."""
        return text.replace(self.password, "***") if self.password else text

    def __str__(self) -> str:
        login = f"{self.user}@" if self.user else ""
        places = ",".join(
            f"{_bracketed(host)}:{port}" for host, port in zip(self.hosts, self.ports, strict=True)
        )
        return f"postgresql://{login}{places}/{self.database}"


def _host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if port.startswith(":") or not port else "?"
        host = host if bracket else ""
    else:
        host, _, port = text.partition(":")
    port = port or "5432"
    if not host or not _PORT.fullmatch(port) or not 0 < int(port) <= _LAST_PORT:
        raise PostgresUrlError(
            "the address must name HOST:PORT, with a port from 1 to 65535 and an IPv6 address in"
            f" brackets; write {_EXAMPLE}"
        )
    return unquote(host), int(port)


def _read_options(query: str) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise PostgresUrlError("after ? the address must have OPTION=VALUE&…") from None
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        name = unknown[0][:40]
        instead = (
            "write the password into ledger.password_file"
            if "pass" in name
            else f"known: {', '.join(sorted(_OPTIONS))}"
        )
        raise PostgresUrlError(f"the address has no option {name!r}; {instead}")
    if options.get("sslmode", "prefer") not in _SSL_MODES:
        raise PostgresUrlError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    return options


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.startswith("/"):  # a folder with a Unix socket
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
