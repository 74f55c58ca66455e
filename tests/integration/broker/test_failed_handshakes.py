"""A broker whose certificate is not trusted: named, tried again, and no socket stays open."""

import asyncio
import gc
import random
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.config.settings import AgentBrokerSettings
from agents.metrics.counters import Counters
from agents.mqtt.session import AgentSession, Will
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.session import BrokerAddress, BrokerSession
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.faults import Faults
from tests.support.certificates import write_certificate

CLOCK = SystemClock()
ATTEMPTS = 3


class Stranger:
    """A TLS server with a certificate of its own, which counts who has tried."""

    def __init__(self) -> None:
        self.port = 0
        self.attempts = 0

    async def serve(self, certificate: Path, key: Path) -> asyncio.Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.attempts += 1
            try:
                await writer.start_tls(context)
            except OSError:
                pass  # the client hangs up, as it has to
            finally:
                writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.fixture
async def stranger(tmp_path: Path) -> AsyncIterator[Stranger]:
    (tmp_path / "stranger").mkdir()
    one = Stranger()
    server = await one.serve(*write_certificate(tmp_path / "stranger", "stranger"))
    yield one
    server.close()


def agent_session(port: int, authority: Path) -> Any:  # noqa: ANN401 - one of two
    return AgentSession(
        broker=AgentBrokerSettings(host="127.0.0.1", port=port, tls_ca_file=str(authority)),
        client_id="kapok-agent-test",
        will=Will(topic="kapok/v1/a/offline", payload=b"", delay_seconds=1.0),
        topics=("kapok/v1/a/hub",),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
        counters=Counters(),
    )


def scheduler_session(port: int, authority: Path) -> Any:  # noqa: ANN401 - one of two
    tls = ssl.create_default_context(cafile=str(authority))
    nothing: Any = None
    return BrokerSession(
        address=BrokerAddress(host="127.0.0.1", port=port, tls=tls),
        receiver=nothing,
        outbox=Outbox(),
        clock=CLOCK,
        jitter=random.Random(1),  # noqa: S311 - jitter
        on_connected=lambda: None,
        faults=Faults(clock=CLOCK, count=lambda _edge: None),
    )


async def run(session: Any) -> None:  # noqa: ANN401 - one of two
    if isinstance(session, AgentSession):
        await session.run(on_connected=lambda: None, on_message=lambda *_, **__: None)
    else:
        await session.run()


@pytest.mark.parametrize("make", [agent_session, scheduler_session])
async def test_a_failed_handshake_leaves_no_socket(
    make: Callable[[int, Path], Any], stranger: Stranger, tmp_path: Path
) -> None:
    trusted, _ = write_certificate(tmp_path, "trusted")
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(run(make(stranger.port, trusted)))
            while stranger.attempts <= ATTEMPTS:
                await CLOCK.sleep(0.05)
            running.cancel()
        gc.collect()
    left_open = [str(one.message) for one in caught if "SSLSocket" in str(one.message)]
    assert left_open == []
