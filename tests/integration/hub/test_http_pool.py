"""The hub client over its pool of connections, against servers that answer as they are told."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from scheduler.control.ports.hub import CONFIG_MAPS, Busy, Conflict, Refused
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.http_pool import HttpPool, Server
from scheduler.runtime.clock import SystemClock
from tests.support.certificates import write_certificate

pytestmark = pytest.mark.timeout(180)

CLOCK = SystemClock()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Peer:
    """The server's end of a connection.

    Attributes:
        reader: what the client sends.
        writer: to the client.
        number: of the connection, from 1.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def read_request(self) -> bytes:
        """One request: its head, and as many bytes as that says."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        found = [one for one in head.split(b"\r\n") if one.lower().startswith(b"content-length")]
        size = int(found[0].split(b":")[1]) if found else 0
        return head + await self.reader.readexactly(size)


Talk = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(
    folder: Path, talk: Talk, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HubClient]:
    """A client of a server that calls `talk` with each connection and its number."""
    count = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        try:
            await talk(Peer(reader, writer, count))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        async with open_hub(kubeconfig(folder, port, is_tls=tls is not None)) as client:
            yield client
    finally:
        server.close()


def kubeconfig(folder: Path, port: int, *, is_tls: bool = False) -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "one",
                "cluster": {"server": f"{'https' if is_tls else 'http'}://127.0.0.1:{port}"},
            }
        ],
        "users": [{"name": "one", "user": {"token": "secret"}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def patch(client: HubClient) -> object:
    return await client.merge_patch(CONFIG_MAPS, "a", {"data": {"b": "1"}}, namespace="ns")


async def test_requests_share_a_connection_and_name_the_client_as_aiohttp_does(
    tmp_path: Path,
) -> None:
    asked: list[tuple[int, bytes]] = []

    async def talk(peer: Peer) -> None:
        while True:
            asked.append((peer.number, await peer.read_request()))
            peer.writer.write(OK)

    async with serving(tmp_path, talk) as client:
        assert await patch(client) == {}
        assert await client.get(CONFIG_MAPS, "a", "ns") == {}
        assert [number for number, _ in asked] == [1, 1]
        await client.raw("GET", "/version")
    head, _, body = asked[0][1].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"PATCH /api/v1/namespaces/ns/configmaps/a HTTP/1.1"
    assert b"authorization: Bearer secret" in lines
    assert b"Content-Type: application/merge-patch+json" in lines
    assert body == b'{"data":{"b":"1"}}'
    agents = [
        next(line for line in one.split(b"\r\n") if line.startswith(b"User-Agent"))
        for _, one in asked
    ]
    assert len(asked) == len(agents) == 3
    assert len(set(agents)) == 1, "a server names the manager of a field by it"


async def test_what_is_asked_at_once_is_carried_by_connections_of_its_own(tmp_path: Path) -> None:
    numbers: list[int] = []
    are_there = asyncio.Event()

    async def talk(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            numbers.append(peer.number)
            name = request.split(b" ")[1].rpartition(b"/")[2]
            if len(numbers) == 5:
                are_there.set()
            await are_there.wait()
            body = b'{"name":"%s"}' % name
            peer.writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    async with serving(tmp_path, talk) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.get(CONFIG_MAPS, f"m{n}", "ns")) for n in range(5)]
        assert [one.result()["name"] for one in tasks] == [f"m{n}" for n in range(5)]
        assert sorted(numbers) == [1, 2, 3, 4, 5]


async def test_only_a_read_is_repeated_when_an_idle_connection_has_ended(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def talk(peer: Peer) -> None:
        asked.append((await peer.read_request())[:5])
        peer.writer.write(OK)
        asked.append((await peer.read_request())[:5])  # and closes without an answer

    async with serving(tmp_path, talk) as client:
        await patch(client)
        assert await client.get(CONFIG_MAPS, "a", "ns") == {}
        assert asked == [b"PATCH", b"GET /", b"GET /"]
        with pytest.raises(Busy, match="closed the connection"):
            await patch(client)
        assert asked[3:] == [b"PATCH"], "it may have had its effect"


async def test_errors_are_those_of_the_port(tmp_path: Path) -> None:
    answers = [
        (
            b"HTTP/1.1 409 Conflict\r\nContent-Length: 40\r\n\r\n"
            b'{"reason":"AlreadyExists","message":"x"}'
        ),
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"garbage\r\n\r\n",
    ]

    async def talk(peer: Peer) -> None:
        while True:
            await peer.read_request()
            peer.writer.write(answers.pop(0))

    async with serving(tmp_path, talk) as client:
        with pytest.raises(Conflict) as conflict:
            await patch(client)
        assert (conflict.value.status, conflict.value.reason) == (409, "AlreadyExists")
        with pytest.raises(Busy) as busy:
            await patch(client)
        assert (busy.value.status, busy.value.retry_after_seconds) == (429, 3.0)
        for why in ("not JSON", "16 MiB", "no HTTP"):
            with pytest.raises(Busy, match=why):
                await patch(client)


async def test_a_server_that_does_not_answer_or_is_not_there_is_busy(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.writer.write(OK[:-1])
        await peer.reader.read()
        ended.set()

    async with serving(tmp_path, talk) as client:
        with pytest.raises(Busy, match="TimeoutError"):
            await patch(client.with_timeout(0.2))
        await asyncio.wait_for(ended.wait(), 60)  # the connection is not used again
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with open_hub(kubeconfig(tmp_path, port)) as client:
        with pytest.raises(Busy, match="does not answer"):
            await patch(client)


async def test_a_cancelled_request_closes_its_connection(tmp_path: Path) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_request()
        if peer.number == 1:
            asked.set()
            await peer.reader.read()
            ended.set()
        peer.writer.write(OK)

    async with serving(tmp_path, talk) as client:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(patch(client))
            await asked.wait()
            task.cancel()
        await asyncio.wait_for(ended.wait(), 60)
        assert await patch(client) == {}


async def test_a_request_cancelled_at_any_step_of_its_connection_leaves_no_socket() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for steps in range(24):
            pool = HttpPool(Server("127.0.0.1", port, "hub"))
            head = pool.encode_head("GET", "/", None, {}) or b""
            with suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    request = pool.request("GET", head, None, timeout_seconds=5, connect_seconds=5)
                    task = group.create_task(request)
                    for _ in range(steps):
                        await CLOCK.sleep(0)
                    task.cancel()
            pool.close()
            await CLOCK.sleep(0.01)  # aborted transports close in the next turns
        gc.collect()  # a socket that nobody has closed warns, and a warning is an error


async def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_request(
    tmp_path: Path,
) -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.writer.write(OK)
        if peer.number == 1:
            await peer.writer.drain()
            peer.writer.write(OK.replace(b"{}", b"[]"))
        await peer.reader.read()

    async with serving(tmp_path, talk) as client:
        for _ in range(2):
            assert await patch(client) == {}
            await asyncio.sleep(0.05)  # noqa: TID251 - the server's second answer is on its way


async def test_a_redirect_is_followed_by_the_whole_client(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            asked.append(request.split(b" ")[1])
            if asked[-1].startswith(b"/moved"):
                peer.writer.write(OK)
            else:
                peer.writer.write(
                    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /moved\r\n"
                    b"Content-Length: 0\r\n\r\n"
                )

    async with serving(tmp_path, talk) as client:
        assert await patch(client) == {}
    assert asked[-1] == b"/moved"


async def test_names_that_a_url_must_quote_go_over_the_whole_client(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while True:
            asked.append((await peer.read_request()).partition(b"\r\n")[0])
            peer.writer.write(OK)

    async with serving(tmp_path, talk) as client:
        await client.get(CONFIG_MAPS, "a b\r\nX: y", "ns")
    assert len(asked) == 1
    assert b"a%20b" in asked[0]


async def test_a_server_with_another_certificate_is_refused_for_good(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sent: list[bytes] = []

    async def talk(peer: Peer) -> None:
        sent.append(await peer.reader.read())

    async with serving(tmp_path, talk, tls=context) as client:
        with pytest.raises(Refused, match="certificate"):
            await patch(client)
    assert not any(sent)
