"""How machines join, as the settings say: a group of settings, its checks, and how it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, TypeAlias

import msgspec

from scheduler.setting_checks import Port, SettingFinding

_BROKER_PORT, _LAST_PORT = 8883, 65_535  # registered with IANA for MQTT over TLS
JOIN_PORT = 8884
"""The HTTPS port of joining beside a broker that is not the embedded one."""

HostOrAddress: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$"
    ),
]
"""A host name, or an IP address without brackets."""


class JoiningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How machines of sites join, and where the embedded broker listens to them.

    Attributes:
        listen: IP address that other machines reach this one at, or 0.0.0.0 or ::, and the port of
            the embedded broker after a colon (default: 8883); `kapok up --listen` sets it. Empty:
            no machine can join, and the embedded broker stays on loopback.
        advertise: host names and addresses that other machines reach this one by, the first one in
            tokens; empty: the address of `listen`.
        port: HTTPS port of joining; 0: the port after that of the embedded broker, or 8884.
        broker: HOST:PORT that agents connect to, if that is not broker.host and broker.port.
        authority_certificate_file: certificate of an outside authority, PEM; empty: Kapok's own.
        authority_key_file: its key; empty: it is in the same file.
        authority_secret: Secret in kapok-system of a real cluster with Kapok's own authority, which
            replicas share; the first one makes it. Empty: a file of the data directory.
        certificate_seconds: how long certificates are valid; they are renewed after two thirds.
    """

    listen: str = ""
    advertise: Annotated[
        tuple[HostOrAddress, ...],
        msgspec.Meta(max_length=16, description="host names and addresses without port"),
    ] = ()
    port: Port = 0
    broker: str = ""
    authority_certificate_file: str = ""
    authority_key_file: str = ""
    authority_secret: str = ""
    certificate_seconds: Annotated[
        int, msgspec.Meta(ge=10, le=315_360_000, extra={"unit": "seconds"})
    ] = 7_776_000


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host and a TCP port; 0: none was written."""

    host: str
    port: int


def parse_host_port(text: str) -> HostPort:
    """Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address alone.

    Raises:
        ValueError: it is none of them; the message says what to write.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no address; write [ADDRESS]:PORT")
        port = rest[1:]
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, colon, port = text.partition(":")
        if colon and not port:
            raise ValueError(f"{text!r} has no port after its colon")
    if not host:
        raise ValueError(f"{text!r} names no address; write ADDRESS or ADDRESS:PORT")
    if not port:
        return HostPort(host, -1)
    if not (port.isascii() and port.isdecimal() and int(port) <= _LAST_PORT):
        raise ValueError(f"{port!r} is no port; write 1 to {_LAST_PORT}, or 0 for a free one")
    return HostPort(host, int(port))


def parse_listen(text: str) -> HostPort:
    """Reads `joining.listen`: an IP address of this machine, and the broker's port.

    Raises:
        ValueError: the message says what to write.
    """
    found = parse_host_port(text)
    try:
        ip_address(found.host)
    except ValueError:
        raise ValueError(
            f"{found.host!r} is no IP address; write one of this machine, or 0.0.0.0 for all of "
            "them, and the name that other machines use in joining.advertise (--advertise)"
        ) from None
    return found if found.port >= 0 else HostPort(found.host, _BROKER_PORT)


def find_joining_problems(
    settings: JoiningSettings, *, has_other_broker: bool
) -> Iterator[SettingFinding]:
    """What is wrong only together with another setting."""
    if settings.listen:
        yield from _find_address_problems(settings, has_other_broker=has_other_broker)
        yield from _find_authority_problems(settings)
        return
    for name in ("advertise", "broker", "authority_certificate_file", "authority_secret"):
        if getattr(settings, name):
            what = "does nothing: no machine can join"
            instead = "name an address in joining.listen"
            yield SettingFinding(f"joining.{name}", "warning", what, instead)


def _find_address_problems(
    settings: JoiningSettings, *, has_other_broker: bool
) -> Iterator[SettingFinding]:
    try:
        listen = parse_listen(settings.listen)
    except ValueError as error:
        yield _finding_of("joining.listen", error)
        return
    if ip_address(listen.host).is_unspecified and not settings.advertise:
        what = f"{listen.host} is all of this machine: other machines need a name or an address"
        instead = "write it in joining.advertise (--advertise HOST)"
        yield SettingFinding("joining.advertise", "error", what, instead)
    if not settings.broker:
        return
    if not has_other_broker:
        what = "is for another broker than the embedded one"
        yield SettingFinding("joining.broker", "error", what, "leave it empty")
        return
    try:
        has_port = parse_host_port(settings.broker).port > 0
    except ValueError as error:
        yield _finding_of("joining.broker", error)
        return
    if not has_port:
        yield SettingFinding("joining.broker", "error", "names no port", "write HOST:PORT")


def _finding_of(path: str, error: ValueError) -> SettingFinding:
    what, _, instead = str(error).partition("; ")
    return SettingFinding(path, "error", what, instead or "write ADDRESS:PORT")


def _find_authority_problems(settings: JoiningSettings) -> Iterator[SettingFinding]:
    if settings.authority_key_file and not settings.authority_certificate_file:
        instead = "name the certificate in joining.authority_certificate_file"
        yield SettingFinding(
            "joining.authority_key_file", "error", "a key without its certificate", instead
        )
    if settings.authority_secret and settings.authority_certificate_file:
        what = "there is an authority in a file too"
        yield SettingFinding("joining.authority_secret", "error", what, "leave one of them empty")
