"""The hub client: plain JSON over HTTP.

Requests for one object go over `http_pool.py`, which costs a fraction of aiohttp's client; lists,
watches, documents and what is unusual go over one aiohttp session. Callers see no difference.

The typed API classes of the package `kubernetes` are not used, because they take 163 MB of memory
and 5-10 times the CPU time per call. `kubeconfig.py` says how a server is reached.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Gone,
    HubError,
    Listing,
    NotFound,
    Object,
    Refused,
    WatchEvent,
)
from scheduler.hub.health import HubCall, HubHealth, call_of
from scheduler.hub.http_answer import Answer, NoAnswer
from scheduler.hub.http_pool import HttpPool, NotConnected, Server
from scheduler.hub.kubeconfig import ServerConfiguration, read_configuration, ssl_context_of
from scheduler.hub.list_pages import Page, PageDecoder, decode_metadata_page, decode_page
from scheduler.hub.responses import (
    decode_change,
    decode_object,
    error_in,
    error_of_answer,
    iter_lines,
    reason_of,
)

_OBJECTS_PER_PAGE = 500
_OBJECTS_PER_STREAMED_PAGE = 200  # of 10 kB and more, decoded: some ten megabytes
_REQUEST_TIMEOUT_SECONDS = 30.0
_WATCH_TIMEOUT_SECONDS = 290  # below limits of proxies: the server ends the stream
_CONNECT_TIMEOUT_SECONDS = 10.0
_WATCH_TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=_CONNECT_TIMEOUT_SECONDS, sock_read=_WATCH_TIMEOUT_SECONDS + 30
)
_SOCKET_ROOT = "http://localhost"  # a server on a Unix socket has no other name
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


_DEAD_PEER_OPTIONS = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}
"""A peer that does not answer counts as gone after 30 s; client-go's HTTP/2 pings take 45 s."""

RequestObserver = Callable[[str, str], None]
"""Called for each request with the verb and the HTTP status code, or "<error>" if none came."""


def _ignore_request(_verb: str, _code: str) -> None:
    """The observer of clients whose requests are not counted."""


@dataclass(slots=True)
class Credentials:
    """How all clients of one session log in.

    Attributes:
        configuration: as read from the kubeconfig.
        reread: reads it again; tokens in files are replaced while a process runs.
        is_refused: the hub has answered 401 to the last request.
    """

    configuration: ServerConfiguration
    reread: Callable[[], Awaitable[ServerConfiguration]]
    is_refused: bool = False

    async def headers(self) -> dict[str, str]:
        """The header that a request logs in with; after a refusal it is read again."""
        if self.is_refused:
            self.is_refused = False
            with suppress(Refused):  # the file is being replaced
                self.configuration = await self.reread()
        settings = await self.configuration.auth_settings()
        bearer: Any = settings.get("BearerToken")
        return {bearer["key"]: bearer["value"]} if bearer else {}


class HubClient:
    """Implements `scheduler.control.ports.hub.Hub` over HTTP."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: "Credentials",
        *,
        pool: HttpPool | None = None,
        observe_request: RequestObserver = _ignore_request,
        health: HubHealth | None = None,
        timeout_seconds: float = _REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._pool = pool
        self._address = str(credentials.configuration.host).rstrip("/")
        self._root = (
            _SOCKET_ROOT if isinstance(session.connector, aiohttp.UnixConnector) else self._address
        )
        self._observe_request = observe_request
        self._health = health
        self._timeout_seconds = timeout_seconds
        if health is not None:
            health.server = self._address

    def with_observer(self, observe_request: RequestObserver) -> "HubClient":
        """A client over the same session that calls `observe_request` for each of its requests."""
        return self._copy(observe_request=observe_request)

    def with_health(self, health: HubHealth) -> "HubClient":
        """A client over the same session whose answers `health` learns."""
        return self._copy(health=health)

    def with_timeout(self, timeout_seconds: float) -> "HubClient":
        """A client over the same session whose requests, but watches, end after this time."""
        return self._copy(timeout_seconds=timeout_seconds)

    def _copy(self, **changed: Any) -> "HubClient":  # noqa: ANN401 - arguments of the constructor
        words = {
            "pool": self._pool,
            "observe_request": self._observe_request,
            "health": self._health,
            "timeout_seconds": self._timeout_seconds,
            **changed,
        }
        return HubClient(self._session, self._credentials, **words)

    @property
    def address(self) -> str:
        """The server's URL."""
        return self._address

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object.

        Raises:
            NotFound: there is no such object.
        """
        return await self._request_one("GET", resource.path(namespace, name))

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Reads a whole collection in pages; starts again when a continue token has expired."""
        while True:
            try:
                return await self._list_pages(resource.path(namespace))
            except Gone:
                continue

    async def list_pages(self, resource: ApiResource) -> AsyncIterator[Listing]:
        """Yields a whole collection page by page.

        Raises:
            Gone: the continue token has expired; the caller lists again.
        """
        async for page in self._pages(resource.path(), limit=_OBJECTS_PER_STREAMED_PAGE):
            yield page

    async def list_metadata(self, resource: ApiResource) -> Listing:
        """Reads what identifies the objects of a whole collection and their versions; as `list`."""
        while True:
            try:
                return await self._list_pages(resource.path(), decode=decode_metadata_page)
            except Gone:
                continue

    async def collection_version(self, resource: ApiResource) -> str:
        """The version at which a list of a collection would be now; reads one object at most."""
        path = resource.path()
        async with self._request(
            "GET", path, query={"limit": "1"}, accept=_METADATA_LIST
        ) as response:
            return decode_metadata_page(await response.read(), f"GET {path}").resource_version

    async def _list_pages(self, path: str, *, decode: PageDecoder = decode_page) -> Listing:
        items: list[Object] = []
        resource_version = ""
        async for page in self._pages(path, decode=decode):
            items += page.items
            resource_version = page.resource_version
        return Listing(items=items, resource_version=resource_version)

    async def _pages(
        self, path: str, *, limit: int = _OBJECTS_PER_PAGE, decode: PageDecoder = decode_page
    ) -> AsyncIterator[Listing]:
        """Yields the pages of a collection; the next one is under way while one is used."""
        accept = _METADATA_LIST if decode is decode_metadata_page else _JSON

        async def read(token: str) -> bytes:
            query = {"limit": str(limit), **({"continue": token} if token else {})}
            async with self._request("GET", path, query=query, accept=accept) as response:
                return await response.read()

        page: Page | None = None
        while page is None or page.token:
            # No TaskGroup: a generator that is not used to its end would leave it in another task.
            task = asyncio.create_task(  # noqa: TID251 - see above
                read(page.token if page else ""), name=f"list {path}"
            )
            try:
                if page is not None:
                    yield Listing(items=page.items, resource_version=page.resource_version)
                page = decode(await task, f"GET {path}")
            finally:
                if not task.done():
                    task.cancel()
                elif not task.cancelled():
                    task.exception()  # known, so that asyncio does not log it
        yield Listing(items=page.items, resource_version=page.resource_version)

    async def watch(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields the changes after `resource_version` until the server ends the stream.

        Raises:
            Gone: the resource version is too old; the caller must list again.
        """
        query = {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_TIMEOUT_SECONDS),
        }
        async with self._request(
            "GET", resource.path(), query=query, timeout=_WATCH_TIMEOUT
        ) as response:
            async for line in iter_lines(response):
                yield decode_change(line)

    async def watch_metadata(
        self, resource: ApiResource, resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields changes as `watch`, with the metadata alone of each object.

        Raises:
            Gone: the resource version is too old; the caller must list again.
        """
        query = {
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_TIMEOUT_SECONDS),
        }
        async for change in self.watch_as(resource.path(), query, _METADATA):
            yield change

    async def read_as(self, path: str, query: Mapping[str, str], accept: str) -> Object:
        """Reads a collection or an object in another form, such as a Table."""
        return await self._request_json("GET", path, query=query, accept=accept)

    async def watch_as(
        self, path: str, query: Mapping[str, str], accept: str
    ) -> AsyncIterator[WatchEvent]:
        """Yields the changes of a collection in another form until the server ends the stream.

        Raises:
            Gone: the resource version of the query is too old; the caller must list again.
        """
        query = {"watch": "1", "timeoutSeconds": str(_WATCH_TIMEOUT_SECONDS), **query}
        async with self._request(
            "GET", path, query=query, timeout=_WATCH_TIMEOUT, accept=accept
        ) as response:
            async for line in iter_lines(response):
                yield decode_change(line)

    async def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object.

        Raises:
            Conflict: an object of this name exists.
        """
        namespace = body["metadata"].get("namespace")
        return await self._request_one("POST", resource.path(namespace), body=body)

    async def merge_patch(
        self,
        resource: ApiResource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Sends a JSON merge patch (RFC 7386) of an object or of one subresource."""
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request_one("PATCH", path, body=patch, content_type=_MERGE_PATCH)

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        """Sends a server-side apply (KEP-555)."""
        meta = body["metadata"]
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        path = resource.path(meta.get("namespace"), meta["name"])
        path += f"/{subresource}" if subresource else ""
        return await self._request_one(
            "PATCH", path, body=body, query=query, content_type=_APPLY_PATCH
        )

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object; an object that does not exist is no error."""
        try:
            await self._request_one("DELETE", resource.path(namespace, name))
        except NotFound:
            return

    async def serves(self, resource: ApiResource) -> bool:
        """Whether the server has a kind; it is asked for what it serves of the group."""
        try:
            found = await self.raw("GET", f"/apis/{resource.group}/{resource.version}")
        except NotFound:
            return False
        names = [one.get("name") for one in found.get("resources") or []]
        return resource.plural in names

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Object:
        """Sends any other request with a JSON response, such as discovery or a binding."""
        return await self._request_json(method, path, query=query, body=body)

    async def read_bytes(self, path: str, query: Mapping[str, str]) -> bytes:
        """Reads a document without decoding it, because that may take long."""
        async with self._request("GET", path, query=query) as response:
            return await response.read()

    async def _request_one(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Object:
        """As `_request_json`, for one object: over the pool, if it can send the request."""
        if self._pool is not None:
            headers = {"Accept": _JSON, **await self._credentials.headers()}
            if body is not None:
                headers["Content-Type"] = content_type
            head = self._pool.encode_head(method, path, query, headers)
            if head is not None:
                data = None if body is None else msgspec.json.encode(body)
                answer = await self._exchange(self._pool, method, path, head, data)
                if not answer.is_redirect:
                    return decode_object(answer.body, f"{method} {path}")
        return await self._request_json(
            method, path, body=body, query=query, content_type=content_type
        )

    async def _exchange(
        self, pool: HttpPool, method: str, path: str, head: bytes, data: bytes | None
    ) -> Answer:
        """The answer to a request that the hub has accepted, or that goes to another place.

        Raises:
            HubError: it was not accepted, or there is no answer.
        """
        call = call_of(method, path, is_watch=False)
        try:
            answer = await pool.request(
                method,
                head,
                data,
                timeout_seconds=self._timeout_seconds,
                connect_seconds=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
            )
        except ssl.SSLCertVerificationError as error:  # a retry cannot succeed
            raise Refused(f"{method} {self._address}{path}: {error}") from error
        except (NotConnected, NoAnswer, TimeoutError) as error:
            reason = str(error) if isinstance(error, NotConnected) else reason_of(error)
            self._note_no_answer(method, call, reason)
            if isinstance(error, NotConnected):
                raise Busy(self._unreachable_message(reason)) from error
            raise Busy(f"{method} {self._address}{path}: {reason}") from error
        if not answer.is_redirect:
            self._observe_request(method, str(answer.status))
            action = f"{method} {path}"
            problem = error_of_answer(answer.status, answer.body, answer.retry_after, action)
            self._note_answer(answer.status, problem, call, action)
        return answer

    async def _request_json(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        async with self._request(
            method, path, body=body, query=query, content_type=content_type, accept=accept
        ) as response:
            return decode_object(await response.read(), f"{method} {path}")

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp's own, per request
        accept: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the response to a request that the hub has accepted.

        Raises:
            HubError: it was not accepted, or there is no answer.
        """
        headers = {"Accept": accept, **await self._credentials.headers()}
        is_watch = bool(query and query.get("watch") == "1")
        verb, call = "WATCH" if is_watch else method, call_of(method, path, is_watch=is_watch)
        data = None
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), content_type
        answered = False
        timeout = timeout or aiohttp.ClientTimeout(
            total=self._timeout_seconds,
            sock_connect=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
        )
        try:
            async with self._session.request(
                method, self._root + path, params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                self._observe_request(verb, str(response.status))
                answered = True
                await self._raise_for_status(response, call, f"{method} {path}")
                yield response
        except aiohttp.ClientConnectorCertificateError as error:  # a retry cannot succeed
            raise Refused(f"{method} {self._address}{path}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = reason_of(error)
            if not answered:
                self._note_no_answer(verb, call, reason)
            if isinstance(error, aiohttp.ClientConnectorError):
                raise Busy(self._unreachable_message(reason)) from error
            raise Busy(
                f"{method} {self._address}{path}: {type(error).__name__}: {error}"
            ) from error

    async def _raise_for_status(
        self, response: aiohttp.ClientResponse, call: HubCall, action: str
    ) -> None:
        """Passes an answer to `health`, and raises the error that it is, if it is one."""
        self._note_answer(response.status, await error_in(response, action), call, action)

    def _unreachable_message(self, reason: str) -> str:
        return (
            f"the hub at {self._address} does not answer ({reason}); "
            "start it with `kapok up`, or name another one with --kubeconfig FILE"
        )

    def _note_no_answer(self, verb: str, call: HubCall, reason: str) -> None:
        # "<error>" is the code that client-go's rest_client_requests_total uses.
        self._observe_request(verb, "<error>")
        if self._health is not None:
            self._health.on_no_answer(call, reason)

    def _note_answer(self, status: int, error: HubError | None, call: HubCall, action: str) -> None:
        """Passes an answer to `health`, and raises the error that it is, if it is one."""
        self._credentials.is_refused = status == HTTPStatus.UNAUTHORIZED
        if self._health is not None and not (error is None and self._health.is_undisturbed):
            message = "" if error is None else str(error).removeprefix(f"{action}: ")
            self._health.on_answer(call, status, message)
        if error is not None:
            raise error


@asynccontextmanager
async def open_hub(
    kubeconfig: Path | None, *, context: str | None = None, socket_path: Path | None = None
) -> AsyncIterator[HubClient]:
    """Opens a client for a kubeconfig, or for the cluster that this process runs in.

    Args:
        kubeconfig: the path of the file; None means the in-cluster service account.
        context: the name of a context; None means the current context of the file.
        socket_path: a Unix socket on which the same server is reached, without TLS.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    configuration = await read_configuration(kubeconfig, context)
    connector: aiohttp.BaseConnector
    if socket_path is None:
        tls = ssl_context_of(configuration)
        connector = aiohttp.TCPConnector(ssl=tls, limit=0, socket_factory=_open_socket)
        context_or_none = tls if isinstance(tls, ssl.SSLContext) else None
        server = Server.of_url(str(configuration.host), context_or_none)
    else:
        connector = aiohttp.UnixConnector(str(socket_path), limit=0)
        server = Server("localhost", 80, "localhost", socket_path=socket_path)
    pool = HttpPool(server, set_options=_set_dead_peer_options) if server is not None else None
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**18) as session:
        reread = partial(read_configuration, kubeconfig, context)
        try:
            yield HubClient(session, Credentials(configuration, reread), pool=pool)
        finally:
            if pool is not None:
                pool.close()


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that fails when its peer is gone without a word, as a watch would never notice."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    _set_dead_peer_options(opened)
    return opened


def _set_dead_peer_options(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _DEAD_PEER_OPTIONS.items():
        if hasattr(socket, option):  # Linux has all of them
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
