"""The hub client: plain JSON over one aiohttp session.

`kubernetes.aio` reads kubeconfigs and supports all ways to log in (tokens, certificates, exec
plugins, in-cluster service accounts). Its typed API classes are not used, because they take 163 MB
of memory and 5-10 times the CPU time per call.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from scheduler.control.ports.hub import (
    ApiResource,
    Busy,
    Conflict,
    Gone,
    HubError,
    Listing,
    NotFound,
    Object,
    Refused,
    WatchEvent,
)

_OBJECTS_PER_PAGE = 500
_REQUEST_TIMEOUT_SECONDS = 30.0
_WATCH_TIMEOUT_SECONDS = 290  # below limits of proxies: the server ends the stream
_WATCH_TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=10, sock_read=_WATCH_TIMEOUT_SECONDS + 30
)
_MAX_LINE_BYTES = 8 * 2**20  # a watch event holds one object, which etcd limits to 1.5 MB
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


RequestObserver = Callable[[str, str], None]
"""Called for each request with the verb and the HTTP status code, or "<error>" if none came."""


def _ignore_request(_verb: str, _code: str) -> None:
    """The observer of clients whose requests are not counted."""


class HubClient:
    """Implements `scheduler.control.ports.hub.Hub` over HTTP."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        configuration: Configuration,
        *,
        observe_request: RequestObserver = _ignore_request,
    ) -> None:
        self._session = session
        self._configuration = configuration
        self._root = str(configuration.host).rstrip("/")
        self._observe_request = observe_request

    def with_observer(self, observe_request: RequestObserver) -> "HubClient":
        """A client over the same session that calls `observe_request` for each of its requests."""
        return HubClient(self._session, self._configuration, observe_request=observe_request)

    @property
    def address(self) -> str:
        """The server's URL."""
        return self._root

    async def get(self, resource: ApiResource, name: str, namespace: str | None = None) -> Object:
        """Reads one object.

        Raises:
            NotFound: there is no such object.
        """
        return await self._request_json("GET", resource.path(namespace, name))

    async def list(self, resource: ApiResource, namespace: str | None = None) -> Listing:
        """Reads a whole collection in pages; starts again when a continue token has expired."""
        while True:
            try:
                return await self._list_pages(resource.path(namespace))
            except Gone:
                continue

    async def _list_pages(self, path: str) -> Listing:
        items: list[Object] = []
        query = {"limit": str(_OBJECTS_PER_PAGE)}
        while True:
            page = await self._request_json("GET", path, query=query)
            items.extend(page.get("items") or [])
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(items=items, resource_version=str(meta.get("resourceVersion", "")))
            query = {"limit": str(_OBJECTS_PER_PAGE), "continue": meta["continue"]}

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
            await _raise_for_status(response, "GET", resource.path())
            async for line in _iter_lines(response):
                yield _decode_change(line)

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
            await _raise_for_status(response, "GET", path)
            async for line in _iter_lines(response):
                yield _decode_change(line)

    async def create(self, resource: ApiResource, body: Object) -> Object:
        """Creates an object.

        Raises:
            Conflict: an object of this name exists.
        """
        namespace = body["metadata"].get("namespace")
        return await self._request_json("POST", resource.path(namespace), body=body)

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
        return await self._request_json("PATCH", path, body=patch, content_type=_MERGE_PATCH)

    async def apply(
        self, resource: ApiResource, body: Object, *, field_manager: str, force: bool = True
    ) -> Object:
        """Sends a server-side apply (KEP-555)."""
        meta = body["metadata"]
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        path = resource.path(meta.get("namespace"), meta["name"])
        return await self._request_json(
            "PATCH", path, body=body, query=query, content_type=_APPLY_PATCH
        )

    async def delete(self, resource: ApiResource, name: str, namespace: str | None = None) -> None:
        """Deletes an object; an object that does not exist is no error."""
        try:
            await self._request_json("DELETE", resource.path(namespace, name))
        except NotFound:
            return

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
            await _raise_for_status(response, "GET", path)
            return await response.read()

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
            await _raise_for_status(response, method, path)
            return _decode_object(await response.read(), f"{method} {path}")

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
        headers = {"Accept": accept, **await self._authorization()}
        verb = "WATCH" if query and query.get("watch") == "1" else method
        data = None
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), content_type
        answered = False
        try:
            async with self._session.request(
                method, self._root + path, params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                self._observe_request(verb, str(response.status))
                answered = True
                yield response
        except aiohttp.ClientConnectorCertificateError as error:  # a retry cannot succeed
            raise Refused(f"{method} {self._root}{path}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            if not answered:
                # "<error>" is the code that client-go's rest_client_requests_total uses.
                self._observe_request(verb, "<error>")
            if isinstance(error, aiohttp.ClientConnectorError):
                reason = error.os_error.strerror or error
                raise Busy(
                    f"the hub at {self._root} does not answer ({reason}); "
                    "start it with `kapok up`, or name another one with --kubeconfig FILE"
                ) from error
            raise Busy(f"{method} {self._root}{path}: {type(error).__name__}: {error}") from error

    async def _authorization(self) -> dict[str, str]:
        settings = await self._configuration.auth_settings()
        bearer: Any = settings.get("BearerToken")
        return {bearer["key"]: bearer["value"]} if bearer else {}


@asynccontextmanager
async def open_hub(
    kubeconfig: Path | None, *, context: str | None = None
) -> AsyncIterator[HubClient]:
    """Opens a client for a kubeconfig, or for the cluster that this process runs in.

    Args:
        kubeconfig: the path of the file; None means the in-cluster service account.
        context: the name of a context; None means the current context of the file.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    configuration = await read_configuration(kubeconfig, context)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_SECONDS, sock_connect=10)
    connector = aiohttp.TCPConnector(ssl=ssl_context_of(configuration), limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, read_bufsize=2**18
    ) as session:
        yield HubClient(session, configuration)


async def read_configuration(kubeconfig: Path | None, context: str | None) -> Configuration:
    """Reads address, certificate authority and credentials of a server.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    loader: Any = kube_config  # the package ships no types
    configuration = Configuration()
    try:
        if kubeconfig is None:
            loader.load_incluster_config(client_configuration=configuration)
        else:
            await loader.load_kube_config(
                str(kubeconfig),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (loader.ConfigException, OSError) as error:
        raise Refused(f"{kubeconfig or 'in-cluster configuration'}: {error}") from error
    return configuration


async def bearer_token_of(kubeconfig: Path, context: str | None = None) -> str | None:
    """The bearer token of a kubeconfig; None if it logs in by other means.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    configuration = await read_configuration(kubeconfig, context)
    bearer: Any = (await configuration.auth_settings()).get("BearerToken")
    return str(bearer["value"]).partition(" ")[2] if bearer else None


def ssl_context_of(
    configuration: Configuration, *, with_certificate: bool = True
) -> ssl.SSLContext | bool:
    """The TLS settings: how the server is verified, and the client certificate if there is one."""
    if not str(configuration.host).startswith("https"):
        return True
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data
    )
    # Certificate authorities of clusters often lack extensions that strict X.509 requires.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file and with_certificate:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _iter_lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a watch stream. aiohttp's `readline` refuses lines longer than its buffer."""
    pending = bytearray()
    async for piece in response.content.iter_any():
        pending += piece
        if len(pending) > _MAX_LINE_BYTES:
            raise Busy("watch: a line of the stream is longer than 8 MiB, so it is no watch event")
        while (end := pending.find(b"\n")) >= 0:
            line, pending = bytes(pending[:end]), pending[end + 1 :]
            if line.strip():
                yield line


def _decode_change(line: bytes) -> WatchEvent:
    event = _decode_object(line, "watch")
    kind, body = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise Busy("watch: a line of the stream is no watch event")
    if kind == "ERROR":
        raise _error_of(body, "watch")
    return WatchEvent(type=kind, object=body)


def _decode_object(data: bytes, action: str) -> Object:
    """A JSON object that the hub sent; `Busy` for anything else, as from a broken proxy."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Busy(f"{action}: the answer is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Busy(f"{action}: the answer is not a JSON object")
    return found


async def _raise_for_status(response: aiohttp.ClientResponse, method: str, path: str) -> None:
    if response.status < HTTPStatus.BAD_REQUEST:
        return
    text = await response.read()
    try:
        status = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        status = None
    if not isinstance(status, dict):
        status = {"message": text[:200].decode(errors="replace")}
    raise _error_of({**status, "code": response.status}, f"{method} {path}")


# kube-apiserver 1.36 answers some invalid requests with 500; a retry never succeeds.
_FINAL_SERVER_ERRORS = ("failed to create typed patch object", "etcdserver: request is too large")
_ERROR_BY_CODE: dict[int, type[HubError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.TOO_MANY_REQUESTS: Busy,
    HTTPStatus.REQUEST_TIMEOUT: Busy,
}


def _error_of(status: Object, action: str) -> HubError:
    written = status.get("code")
    code = written if isinstance(written, int) else 0
    text = str(status.get("message", ""))
    kind = _ERROR_BY_CODE.get(code, Busy if code >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused)
    if code == HTTPStatus.INTERNAL_SERVER_ERROR and text.startswith(_FINAL_SERVER_ERRORS):
        kind = Refused
    message = f"{action}: {code} {text}"
    return kind(message, status=code, reason=str(status.get("reason", "")))
