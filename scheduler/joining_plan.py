"""Where joining and the embedded broker listen: settings, and ports of the data directory."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from scheduler.hub.client import HubClient
from scheduler.joining.authority_source import AuthoritySource
from scheduler.joining.certificates import list_revoked
from scheduler.joining.server import Certificates, JoiningPlan
from scheduler.joining_settings import JOIN_PORT, HostPort, parse_host_port, parse_listen
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.pki.authority import common_names_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.data_dir import DataDirectory
from scheduler.settings import BrokerSettings, Settings

_T = TypeVar("_T")

_CERTIFICATE_FOLDER = "certificates"
_TLS_PORT = 8883  # registered with IANA for MQTT


class WaitForHub(Protocol):
    """Asks the hub until it answers."""

    async def __call__(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What the hub answers, as soon as it does."""
        ...


async def prepare_joining(
    settings: Settings,
    directory: DataDirectory,
    client: HubClient,
    clock: Clock,
    wait: WaitForHub,
) -> Certificates | None:
    """The certificates of joining, with what the broker reads at its start; None: no joining.

    Args:
        settings: all settings.
        directory: the data directory.
        client: the hub.
        clock: the time.
        wait: asks the hub until it answers.

    Raises:
        AuthorityError: the authority cannot be used.
        OSError: a file cannot be read or written.
    """
    joining = settings.joining
    if not joining.listen:
        return None
    source = AuthoritySource(
        folder=directory.path / _CERTIFICATE_FOLDER,
        certificate_file=joining.authority_certificate_file,
        key_file=joining.authority_key_file,
        secret=joining.authority_secret,
    )
    authority = await wait(partial(source.load, client, clock))
    plan = plan_joining(settings, directory)
    certificates = Certificates(plan=plan, authority=authority, clock=clock)
    revoked = await wait(partial(list_revoked, client, now=clock.now()))
    certificates.write_revoked(revoked)
    return certificates


def plan_joining(settings: Settings, directory: DataDirectory) -> JoiningPlan:
    """Where joining and the broker listen; `joining.listen` is not empty."""
    joining, broker = settings.joining, settings.broker
    listen = parse_listen(joining.listen)
    advertised = joining.advertise or (listen.host,)
    if broker.host:
        port, join_port = 0, joining.port or JOIN_PORT
        other = parse_host_port(joining.broker or broker.host)
        place = HostPort(other.host, other.port if other.port > 0 else broker.port or _TLS_PORT)
    else:
        port = listen.port or directory.port("broker-tls", 0)
        join_port = joining.port or (listen.port + 1 if listen.port else directory.port("join", 0))
        place = HostPort(advertised[0], port)
    return JoiningPlan(
        folder=directory.path / _CERTIFICATE_FOLDER,
        listen_host=listen.host,
        join_port=join_port,
        broker_port=port,
        broker=place,
        advertised=advertised,
        lifetime=timedelta(seconds=joining.certificate_seconds),
        has_loopback=settings.push.enabled,
        reserved_names=reserved_names(settings.broker),
    )


def reserved_names(settings: BrokerSettings) -> frozenset[str]:
    """The user names that the broker may know the scheduler by; no site may have them."""
    named = {settings.username} - {""}
    if settings.tls_certificate_file:
        with suppress(OSError):  # said when the broker's address is read
            named |= common_names_of(Path(settings.tls_certificate_file).read_bytes())
    return RESERVED_NAMES | named
