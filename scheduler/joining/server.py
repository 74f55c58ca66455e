"""Puts joining together: the authority, the broker's certificates and rules, the HTTPS server.

`prepare_joining` writes all that mosquitto needs before it starts. `JoiningServer` then serves
machines that join, renews the certificates of the servers, and keeps the list of revoked ones.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from agents.protocol.joining.messages import BrokerPlace
from agents.protocol.topics import HUB_USER
from scheduler.control.ports.hub import Hub, HubError
from scheduler.joining.address import JoinAddress, publish_join_address
from scheduler.joining.admission import Admission
from scheduler.joining.certificates import Revoked, list_revoked
from scheduler.joining.endpoint import JoinEndpoint, serve_joining
from scheduler.joining.invitations import drop_expired_invitations, ensure_namespace
from scheduler.joining_settings import HostPort
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.mqtt.broker import OpenListener, mosquitto_version
from scheduler.mqtt.production.mosquitto_files import access_rules
from scheduler.pki.authority import Authority
from scheduler.pki.files import (
    AUTHORITY_CERTIFICATE_FILE,
    REVOCATION_FILE,
    CertificateFiles,
    ensure_client_files,
    ensure_server_files,
    write_file,
)
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.web.listener import WebListener

_log = logging.getLogger(__name__)

_RULES_FILE = "topics.acl"
_BROKER_NAME = "broker"
_CHECK_SECONDS, _SHORT_LIFE_CHECK_RATIO = 3600.0, 0.05
_REVOCATION_SECONDS, _SETTLE_SECONDS = 600.0, 0.2
_PUBLISH_SECONDS = 10.0
_KEEP_EXPIRED = timedelta(days=1)
_PLUGIN = "mosquitto_acl_file.so"
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/mosquitto")
_FIRST_WITH_PLUGIN = (2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoiningPlan:
    """Where everything is, by the settings.

    Attributes:
        folder: the folder of certificates in the data directory.
        listen_host: the IP address to listen on.
        join_port: the HTTPS port of joining.
        broker_port: the port of the embedded broker; 0: the broker is another one.
        broker: where agents connect to.
        advertised: names and addresses by which other machines reach this one; at least one.
        lifetime: of the certificates.
        has_loopback: whether the embedded broker also takes every client on loopback.
        reserved_names: names that no site may have.
    """

    folder: Path
    listen_host: str
    join_port: int
    broker_port: int
    broker: HostPort
    advertised: tuple[str, ...]
    lifetime: timedelta
    has_loopback: bool = False
    reserved_names: frozenset[str] = RESERVED_NAMES

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the servers' certificate."""
        own = () if ip_address(self.listen_host).is_unspecified else (self.listen_host,)
        return tuple(dict.fromkeys((*self.advertised, *own, "localhost", "127.0.0.1", "::1")))


@dataclass(slots=True, kw_only=True)
class Certificates:
    """The files of the broker, the join server and the scheduler, and what is made of them.

    Attributes:
        plan: names and lifetimes.
        authority: signs them.
        clock: when they are renewed.
        server_context: TLS of the join server.
        client_context: TLS of the scheduler at the broker.
    """

    plan: JoiningPlan
    authority: Authority
    clock: Clock
    server_context: ssl.SSLContext = field(
        default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    )
    client_context: ssl.SSLContext = field(
        default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )

    def __post_init__(self) -> None:
        self.server_context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.client_context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.client_context.load_verify_locations(cadata=self.authority.certificate_pem.decode())
        write_file(self._authority_file, self.authority.certificate_pem, mode=0o644)
        self.renew()
        server, client = self._server_files(), self._client_files()
        self.server_context.load_cert_chain(server.certificate, server.key)
        self.client_context.load_cert_chain(client.certificate, client.key)

    def renew(self) -> bool:
        """Issues what is missing or two thirds through its life; returns whether anything was."""
        plan, now = self.plan, self.clock.now()
        server, is_server_new = ensure_server_files(
            plan.folder, _BROKER_NAME, self.authority, plan.names, now=now, lifetime=plan.lifetime
        )
        client, is_client_new = ensure_client_files(
            plan.folder, HUB_USER, self.authority, now=now, lifetime=plan.lifetime
        )
        # The contexts stay: sessions and servers that hold them use the new files from now on.
        if is_server_new:
            self.server_context.load_cert_chain(server.certificate, server.key)
        if is_client_new:
            self.client_context.load_cert_chain(client.certificate, client.key)
        return is_server_new or is_client_new

    def write_revoked(self, revoked: Revoked) -> None:
        """Writes the revocation list and the topic rules."""
        now = self.clock.now()
        crl = self.authority.revocation_list(revoked.serials, number=int(now.timestamp()), now=now)
        write_file(self.plan.folder / REVOCATION_FILE, crl, mode=0o644)
        rules = access_rules(refused_sites=revoked.sites).encode()
        write_file(self.plan.folder / _RULES_FILE, rules, mode=0o644)

    def open_listener(self) -> OpenListener:
        """The listener of mosquitto for other machines."""
        folder, files = self.plan.folder, self._server_files()
        settings = (
            "allow_anonymous false\n"
            "require_certificate true\n"
            "use_identity_as_username true\n"
            "tls_version tlsv1.2\n"
            f"cafile {self._authority_file}\n"
            f"certfile {files.certificate}\n"
            f"keyfile {files.key}\n"
            f"crlfile {folder / REVOCATION_FILE}\n"
            + _rule_settings(folder / _RULES_FILE, mosquitto_version())
        )
        return OpenListener(
            host=self.plan.listen_host,
            port=self.plan.broker_port,
            settings=settings,
            has_loopback=self.plan.has_loopback,
        )

    @property
    def _authority_file(self) -> Path:
        return self.plan.folder / AUTHORITY_CERTIFICATE_FILE

    def _server_files(self) -> CertificateFiles:
        folder = self.plan.folder
        return CertificateFiles(folder / f"{_BROKER_NAME}.crt", folder / f"{_BROKER_NAME}.key")

    def _client_files(self) -> CertificateFiles:
        folder = self.plan.folder
        return CertificateFiles(folder / f"{HUB_USER}.crt", folder / f"{HUB_USER}.key")


@dataclass(slots=True, kw_only=True)
class JoiningServer:
    """Serves machines that join, and keeps certificates and revocations up to date.

    Attributes:
        hub: holds Sites, invitations and records.
        certificates: of the servers.
        hub_keys: the public keys that sign orders now.
        root_keys: the public keys of the offline root.
        clock: the time.
        reload_broker: lets the embedded broker read its files again.
        end_sessions: ends all sessions at the embedded broker, which then reads its files again.
    """

    hub: Hub
    certificates: Certificates
    hub_keys: Callable[[], tuple[str, ...]]
    root_keys: Callable[[], tuple[str, ...]]
    clock: Clock
    reload_broker: Callable[[], None]
    end_sessions: Callable[[], None]
    _written: Revoked | None = None
    _keys_changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def url(self) -> str:
        """Where machines join."""
        host = self.certificates.plan.advertised[0]
        return f"https://{f'[{host}]' if ':' in host else host}:{self.certificates.plan.join_port}"

    def note_keys_changed(self) -> None:
        """The keys of a site have changed: it may have been revoked."""
        self._keys_changed.set()

    def loops(
        self, *, faults: Faults, count: Callable[[str], None]
    ) -> tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]:
        """The loops that run as long as the scheduler does, by name."""
        return (
            ("joining", lambda: self._serve(faults, count)),
            ("join address", self._publish_address),
            ("certificates", self._renew_certificates),
            ("revocations", lambda: self._follow_revocations(faults)),
        )

    async def _serve(self, faults: Faults, count: Callable[[str], None]) -> None:
        plan = self.certificates.plan
        admission = Admission(
            hub=self.hub,
            authority=self.certificates.authority,
            broker=BrokerPlace(host=plan.broker.host, port=plan.broker.port),
            hub_keys=self.hub_keys,
            root_keys=self.root_keys,
            lifetime=plan.lifetime,
            clock=self.clock,
            reserved_names=plan.reserved_names,
        )
        endpoint = JoinEndpoint(admission=admission, clock=self.clock, faults=faults, count=count)
        bound = WebListener(host=plan.listen_host, port=plan.join_port).open_socket()
        with bound:
            async with serve_joining(endpoint, bound, self.certificates.server_context) as listener:
                await listener.run()

    async def _publish_address(self) -> None:
        """Writes into the hub where machines join, until it is written; then waits."""
        plan = self.certificates.plan
        address = JoinAddress(
            plan.advertised[0], plan.join_port, self.certificates.authority.fingerprint
        )
        said = ""
        while True:
            try:
                await ensure_namespace(self.hub)
                await publish_join_address(self.hub, address)
                break
            except HubError as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("where machines join is not written to the hub: %s", error)
            await self.clock.sleep(_PUBLISH_SECONDS)
        while True:
            try:
                await drop_expired_invitations(self.hub, self.clock.now(), keep=_KEEP_EXPIRED)
            except HubError as error:
                _log.info("invitations that have ended stay for now: %s", error)
            await self.clock.sleep(_CHECK_SECONDS)

    async def _renew_certificates(self) -> None:
        life_seconds = self.certificates.plan.lifetime.total_seconds()
        pause_seconds = min(_CHECK_SECONDS, life_seconds * _SHORT_LIFE_CHECK_RATIO)
        while True:
            await self.clock.sleep(pause_seconds)
            if self.certificates.renew():
                _log.info("the certificates of broker and scheduler are renewed")
                self.reload_broker()

    async def _follow_revocations(self, faults: Faults) -> None:
        """Writes the revocation list when keys of a site change, and now and then."""
        while True:
            with faults.barrier("join"):
                try:
                    await self.write_revocations()
                except HubError as error:
                    _log.warning("the list of revoked certificates is not read: %s", error)
                    await self.clock.sleep(_PUBLISH_SECONDS)
                    continue
            try:
                await asyncio.wait_for(self._keys_changed.wait(), _REVOCATION_SECONDS)
            except TimeoutError:
                continue
            # Together: one revocation changes several objects, and many sites may be revoked.
            await self.clock.sleep(_SETTLE_SECONDS)
            self._keys_changed.clear()

    async def write_revocations(self) -> None:
        """Writes the revocation list and the topic rules if they have changed.

        Raises:
            HubError: the hub does not answer.
        """
        revoked = await list_revoked(self.hub, now=self.clock.now())
        if revoked == self._written:
            return
        self.certificates.write_revoked(revoked)
        if self._written is not None:
            # A site that has joined again has rights again, and so would an open session of the
            # machine that was revoked: both have its name.
            is_again = bool(set(self._written.sites) - set(revoked.sites))
            (self.end_sessions if is_again else self.reload_broker)()
        self._written = revoked


def _rule_settings(rules: Path, version: tuple[int, int]) -> str:
    """The lines of mosquitto.conf that name the rules, in the form of its version.

    mosquitto 2.0 to 2.x read rules from `acl_file`. 2.1 moves them into a plugin, and 3.0 takes the
    plugin alone; the rules themselves are the same.
    """
    plugin = _find_plugin() if version >= _FIRST_WITH_PLUGIN else None
    if plugin is None:
        return f"acl_file {rules}\n"
    return f"global_plugin {plugin}\nplugin_opt_acl_file {rules}\n"


def _find_plugin() -> Path | None:
    folders = [Path(one) for one in _PLUGIN_FOLDERS]
    folders += [one for folder in folders[:1] for one in folder.glob("*-linux-gnu*")]
    return next((one / _PLUGIN for one in folders if (one / _PLUGIN).exists()), None)
