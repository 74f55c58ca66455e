"""The join endpoint of a hub in this process: a real API server, real TLS, real sockets."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agents.joining.credentials import request_for
from agents.joining.https_client import JoinFailed, JoinServer
from agents.protocol.joining.messages import (
    JOIN_ANSWER,
    JOIN_REQUEST,
    RENEW_REQUEST,
    BrokerPlace,
    JoinAnswer,
    JoinRequest,
    RenewRequest,
)
from agents.protocol.joining.token import secret_text
from agents.protocol.keys import SigningKey
from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import SITES
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.options import server_options
from scheduler.joining.admission import Admission
from scheduler.joining.connections import BoundedListener
from scheduler.joining.endpoint import JoinEndpoint, serve_joining
from scheduler.joining.invitations import ensure_namespace, invite
from scheduler.pki.authority import Authority
from scheduler.pki.files import ensure_server_files
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.faults import Faults

HUB_KEY = str(SigningKey(b"h" * 32).public)


class ShiftedClock(SystemClock):
    """The machine's clock, with a wall clock that is off."""

    def __init__(self) -> None:
        self.off = timedelta()

    def now(self) -> datetime:
        """The shifted time."""
        return super().now() + self.off


@dataclass(slots=True)
class JoinRig:
    """A hub that machines join.

    Attributes:
        client: the hub.
        authority: of its certificates.
        server: where a machine asks.
        clock: the hub's.
        counted: results, as the metric has them.
        listener: accepts connections.
    """

    client: HubClient
    authority: Authority
    server: JoinServer
    clock: ShiftedClock
    counted: Counter[str]
    listener: BoundedListener

    async def make_site(self, name: str) -> None:
        """Makes a Site."""
        body = {
            "apiVersion": SITES.api_version,
            "kind": SITES.kind,
            "metadata": {"name": name},
            "spec": {"tier": "edge"},
        }
        await self.client.create(SITES, body)

    async def invite(self, site: str, *, lifetime: timedelta = timedelta(hours=1)) -> bytes:
        """The secret of a new invitation."""
        now = self.clock.now()
        return await invite(self.client, site, revocations=0, now=now, lifetime=lifetime)

    async def keys_of(self, site: str) -> list[str]:
        """The keys that a Site lists."""
        delivery = (await self.client.get(SITES, site))["spec"].get("delivery", {})
        return list(delivery.get("agentKeys", []))

    async def join(
        self, site: str, secret: bytes, key: SigningKey, *, request: str | None = None
    ) -> JoinAnswer:
        """Joins over HTTPS, as a machine does."""
        body = JoinRequest(
            site=site, secret=secret_text(secret), request=request or request_for(key, site)
        )
        data = await self.post("/join", JOIN_REQUEST.encode(body))
        return JOIN_ANSWER.decode(data)

    async def renew(self, site: str, key: SigningKey) -> JoinAnswer:
        """Renews over HTTPS."""
        body = RenewRequest(site=site, request=request_for(key, site))
        return JOIN_ANSWER.decode(await self.post("/renew", RENEW_REQUEST.encode(body)))

    async def post(self, path: str, body: bytes) -> bytes:
        """Sends a request over HTTPS."""
        authority = self.authority.certificate_pem.decode()
        return await asyncio.to_thread(self.server.post, path, body, authority)

    async def refusal(self, site: str, secret: bytes, key: SigningKey) -> str:
        """Why a machine may not join; "" if it may."""
        try:
            await self.join(site, secret, key)
        except JoinFailed as error:
            return error.reason
        return ""


@asynccontextmanager
async def running_join_rig(folder: Path) -> AsyncIterator[JoinRig]:
    """A rig for the time of the context."""
    clock, counted = ShiftedClock(), Counter[str]()
    authority = Authority.create(clock.now())
    options = server_options(
        data_dir=folder / "hub", port=0, max_objects=20_000, max_bytes=2**28, on_fault=print
    )
    async with serve(options) as api, open_hub(api.kubeconfig_path) as client:
        await ensure_namespace(client)
        files, _ = ensure_server_files(
            folder, "broker", authority, ["127.0.0.1"], now=clock.now(), lifetime=timedelta(days=1)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        admission = Admission(
            hub=client,
            authority=authority,
            broker=BrokerPlace(host="127.0.0.1", port=8883),
            hub_keys=lambda: (HUB_KEY,),
            lifetime=timedelta(days=1),
            clock=clock,
        )
        endpoint = JoinEndpoint(
            admission=admission,
            clock=clock,
            faults=Faults(clock=clock, count=lambda where: counted.update([where])),
            count=lambda result: counted.update([result]),
        )
        bound = socket.create_server(("127.0.0.1", 0))
        async with serve_joining(endpoint, bound, context) as listener:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(listener.run())
                server = JoinServer(host="127.0.0.1", port=bound.getsockname()[1])
                yield JoinRig(client, authority, server, clock, counted, listener)
                task.cancel()
            bound.close()
