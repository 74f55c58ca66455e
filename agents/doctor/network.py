"""Checks of what the agent reaches: the broker step by step, and the clock by the join server."""

import asyncio
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import aiomqtt

from agents.config.settings import AgentBrokerSettings, AgentSettings
from agents.doctor.findings import CONNECT_SECONDS, DoctorFinding, error, warning
from agents.mqtt.proxy import proxy_for
from agents.mqtt.session import build_probe, tls_context_of
from agents.runtime.clock import AgentClock

_GOES_ON: Final = "the agent goes on trying"
_MAX_SKEW_SECONDS: Final = 60.0
"""Certificates and the times of reports tolerate less than a few minutes."""
_ALERT_SECONDS: Final = 0.5
_CERTIFICATE_TIMES: Final = (9, 10)
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def examine_names(settings: AgentSettings) -> Iterator[DoctorFinding]:
    """Whether names become addresses."""
    broker = settings.broker
    proxy = proxy_for(broker.host, broker.proxy, os.environ)
    names = {
        "broker.host": proxy.host if proxy else broker.host,
        "joining.host": settings.joining.host,
    }
    for path, name in names.items():
        try:
            if name:
                socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as problem:
            what = f"{name}: has no address: {problem}"
            yield warning(path, what, "check /etc/resolv.conf and the spelling of the name")


def examine_broker(settings: AgentSettings) -> Iterator[DoctorFinding]:
    """TCP, TLS and the broker's answer, up to the first that fails."""
    broker = settings.broker
    where = f"{broker.host}:{broker.port}"
    path = "broker.host"
    try:
        proxy = proxy_for(broker.host, broker.proxy, os.environ)
        if proxy is None:
            stream = socket.create_connection((broker.host, broker.port), timeout=CONNECT_SECONDS)
        else:
            path = "broker.proxy"
            stream = proxy.connect(broker.host, broker.port)
    except (OSError, OverflowError, UnicodeError) as problem:
        instead = f"start the broker, name its address, or open the firewall; {_GOES_ON}"
        yield warning(path, f"{where}: {problem}", instead)
        return
    with stream:
        stream.settimeout(CONNECT_SECONDS)
        found = list(_examine_tls(broker, stream))
    yield from found or _examine_answer(broker, where)


def _examine_tls(broker: AgentBrokerSettings, stream: socket.socket) -> Iterator[DoctorFinding]:
    where = f"{broker.host}:{broker.port}"
    try:
        context = tls_context_of(broker)
    except OSError as problem:
        what = f"certificates cannot be used: {problem}"
        yield error("broker.tls_ca_file", what, "name the files of this site")
        return
    if context is None:
        return
    try:
        with context.wrap_socket(stream, server_hostname=broker.host) as secured:
            yield from _examine_alert(secured, where)
    except ssl.SSLCertVerificationError as problem:
        instead = "name the authority of this broker, or another host; a wrong one stands between"
        if problem.verify_code in _CERTIFICATE_TIMES:
            instead = "check this machine's clock, then have the broker's certificate renewed"
        what = f"{where}: the broker's certificate is not accepted: {problem.verify_message}"
        yield warning("broker.tls_ca_file", what, instead)
    except (OSError, ValueError) as problem:
        what = f"{where}: no TLS: {problem}"
        yield warning("broker.port", what, f"the port of TLS is usually 8883; {_GOES_ON}")


def _examine_alert(stream: ssl.SSLSocket, where: str) -> Iterator[DoctorFinding]:
    """With TLS 1.3 a broker refuses a certificate after the handshake (RFC 8446, 4.4.2.4)."""
    stream.settimeout(_ALERT_SECONDS)
    try:
        stream.recv(1)
    except TimeoutError:
        return  # it waits for the client, as it should
    except OSError as problem:
        what = f"{where}: the broker does not accept the certificate: {problem}"
        instead = "have its authority named at the broker, or join again"
        yield warning("broker.tls_certificate_file", what, instead)


def _examine_answer(broker: AgentBrokerSettings, where: str) -> Iterator[DoctorFinding]:
    try:
        asyncio.run(_connect(broker))
    except (aiomqtt.MqttError, OSError, TimeoutError, ValueError) as problem:
        text = ascii(str(problem)[:200] or type(problem).__name__)
        what = f"{where}: the broker does not accept the agent: {text}"
        instead = (
            "have the site's certificate, or user name and password, accepted by the broker "
            "(kapok broker check at the hub)"
        )
        yield warning("broker", what, instead)


async def _connect(broker: AgentBrokerSettings) -> None:
    """Opens a session of its own name, which disturbs none of the agent."""
    client = build_probe(broker, timeout_seconds=CONNECT_SECONDS)
    async with asyncio.timeout(CONNECT_SECONDS), client:
        return


def examine_clock(settings: AgentSettings, clock: AgentClock) -> Iterator[DoctorFinding]:
    """This machine's clock against that of the join server; nothing secret is sent."""
    joining = settings.joining
    if not joining.host:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # with a wrong clock no certificate would be valid
    connection = http.client.HTTPSConnection(
        joining.host, joining.port, timeout=CONNECT_SECONDS, context=context
    )
    try:
        connection.request("GET", "/ca")
        text = connection.getresponse().getheader("Date") or ""
        off = (clock.now() - parsedate_to_datetime(text)).total_seconds()
    except (OSError, http.client.HTTPException, UnicodeError) as problem:
        what = f"{joining.host}:{joining.port}: {problem}"
        yield warning("joining.host", what, "the certificate is renewed there: open the way to it")
        return
    except (ValueError, TypeError):
        return  # it says no time
    finally:
        connection.close()
    if abs(off) > _MAX_SKEW_SECONDS:
        way = "ahead of" if off > 0 else "behind"
        what = f"the clock is {abs(off):.0f} s {way} the hub's"
        yield error("", what, "set the clock: timedatectl set-ntp true")
