"""A Kubernetes API client on `http.client`: get, list in pages, server-side apply, delete.

It blocks, so the agent calls it from worker threads; it is safe to call from several threads. A
member's server is not trusted: the size of a response, the time for it, and the pages of a list are
bounded, and a success that is not a JSON object is an error, because taking it for an empty list
would mean that everything is gone.
"""

import contextlib
import copy
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from agents.member.access import Access, AccessError
from agents.member.errors import MemberApiError, Unreachable, UnusableResponse
from agents.member.responses import (
    ResponseTooLarge,
    Tree,
    api_error_of,
    items_of,
    keep_probing,
    limit_time,
    parse_object,
    read_bounded,
)
from agents.member.trees import map_at, text_at

__all__ = [
    "MemberApi",
    "MemberApiError",
    "Tree",
    "Unreachable",
    "UnusableResponse",
    "quote_path_segment",
]

RequestObserver = Callable[[str, str], None]
"""Called for every request with its verb and the class of the response (`2xx`, …, `none`)."""

FIELD_MANAGER: Final = "kapok-agent"
PAGE: Final = 100
TIMEOUT_SECONDS: Final = 10.0
MAX_LIST_PAGES: Final = 4_000
_MIN_PAGE: Final = 1

_APPLY_CONTENT_TYPE: Final = (
    "application/apply-patch+yaml"  # JSON is YAML; older servers know only this name
)
_GONE: Final = 410
_MAX_LIST_ATTEMPTS: Final = 3


class MemberApi:
    """Client of one API server; keeps a connection open for every concurrent request it had."""

    def __init__(
        self, access: Access, on_request: RequestObserver = lambda _verb, _class: None
    ) -> None:
        self._access = access
        self._on_request = on_request
        self._idle_connections: list[tuple[Access, http.client.HTTPConnection]] = []
        self._streams: set[socket.socket] = set()
        self._acting_as = ""

    def acting_as(self, user: str) -> "MemberApi":
        """The same API for a while, where every write has the rights of a user and no more.

        Reads stay the agent's own: it has to see what another client owns. Credentials that are
        replaced meanwhile are not used by it, so it is made for one piece of work.

        Args:
            user: a user of the cluster, such as `system:serviceaccount:NAMESPACE:NAME`; empty: the
                agent itself.
        """
        other = copy.copy(self)  # with the same kept connections
        other._acting_as = user  # noqa: SLF001 - of the same class
        return other

    @property
    def access(self) -> Access:
        """Address and credentials that requests begin with now."""
        return self._access

    def use_access(self, access: Access) -> None:
        """Sends every later request with other credentials; one that is under way ends first."""
        self._access = access
        self.close()

    def get(self, path: str, *, accept: str = "application/json") -> Tree:
        """Reads one object.

        Raises:
            MemberApiError: the response is not a success, or there is none.
        """
        return self._request("get", "GET", path, accept=accept)

    def read_text(self, path: str) -> bytes:
        """Reads what is no object, such as a log. Raises like `get`."""
        return self._exchange(
            "get", "GET", path, None, {"Accept": "*/*", "User-Agent": FIELD_MANAGER}
        )

    def find(self, path: str) -> Tree | None:
        """Reads one object; None if it does not exist. Raises like `get` otherwise."""
        try:
            return self.get(path)
        except MemberApiError as error:
            if error.code == http.client.NOT_FOUND:
                return None
            raise

    def list_pages(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        on_metadata: Callable[[Mapping[str, Any]], None] = lambda _metadata: None,
    ) -> Iterator[list[Tree]]:
        """Lists a collection page by page, so that only one page is in memory.

        All pages are of one snapshot. If the server drops the snapshot meanwhile, the list ends
        with an error 410 (Gone); `list_mapped` then starts again. A page that is too large is asked
        for again with fewer objects. `on_metadata` is called with the metadata of each page.

        Raises:
            UnusableResponse: the response is not a list, one object is too large, or the list does
                not end.
        """
        query_words, limit = dict(query or {}), PAGE
        for _ in range(MAX_LIST_PAGES):
            try:
                query_words["limit"] = str(limit)
                tree = self._request(
                    "list", "GET", f"{path}?{urlencode(query_words)}", accept=accept
                )
            except ResponseTooLarge as error:
                if limit <= _MIN_PAGE:
                    raise UnusableResponse(f"GET {path}: one object: {error}") from error
                limit = max(_MIN_PAGE, limit // 10)
                continue
            on_metadata(map_at(tree, "metadata"))
            yield items_of(tree, path)
            token = text_at(map_at(tree, "metadata"), "continue")
            if not token:
                return
            if token == query_words.get("continue"):
                break
            query_words["continue"] = token
        raise UnusableResponse(f"GET {path}: a list without an end")

    def list_mapped(
        self,
        path: str,
        query: Mapping[str, str] | None,
        transform: Callable[[Tree], Any],
        *,
        accept: str = "application/json",
    ) -> list[Any]:
        """Lists a collection and keeps what `transform` returns for each object, unless it is None.

        Args:
            path: path of the collection.
            query: further query parameters, such as a selector.
            transform: reduces an object to what is needed of it.
            accept: the form in which the server is to send the list.

        Raises:
            MemberApiError: as `get`; also if the server drops the list's snapshot three times.
        """
        for attempt in range(_MAX_LIST_ATTEMPTS):
            kept: list[Any] = []
            try:
                for page in self.list_pages(path, query, accept=accept):
                    kept += [found for each in page if (found := transform(each)) is not None]
            except MemberApiError as error:
                if error.code == _GONE and attempt < _MAX_LIST_ATTEMPTS - 1:
                    continue
                raise
            return kept
        raise AssertionError("unreachable: the last attempt returns or raises")

    def apply(
        self,
        path: str,
        tree: Tree,
        *,
        force: bool,
        manager: str = FIELD_MANAGER,
        is_trial: bool = False,
    ) -> Tree:
        """Applies an object by server-side apply (KEP-555).

        Args:
            path: path of the object.
            tree: the fields to own; other fields stay as they are.
            force: takes fields over from other managers, which is a conflict otherwise.
            manager: the name under which the fields are owned.
            is_trial: the server checks all, and changes nothing.

        Raises:
            MemberApiError: code 409 for a conflict.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if is_trial:
            query["dryRun"] = "All"
        return self._request(
            "apply", "PATCH", f"{path}?{urlencode(query)}", tree, content=_APPLY_CONTENT_TYPE
        )

    def create(self, path: str, tree: Tree) -> Tree:
        """Creates an object in a collection; raises like `apply`, with code 409 if it exists."""
        query = urlencode({"fieldManager": FIELD_MANAGER})
        return self._request("create", "POST", f"{path}?{query}", tree)

    def update(self, path: str, tree: Tree) -> Tree:
        """Replaces an object; with a resourceVersion in `tree`, only if it is unchanged since."""
        query = urlencode({"fieldManager": FIELD_MANAGER})
        return self._request("update", "PUT", f"{path}?{query}", tree)

    def delete(self, path: str, *, uid: str | None = None, propagation: str = "Background") -> None:
        """Deletes an object; succeeds if it does not exist.

        Args:
            path: path of the object.
            uid: deletes only the object with this uid, not one created again since.
            propagation: `Background`, `Foreground` or `Orphan`.

        Raises:
            MemberApiError: the object is not deleted.
        """
        options: Tree = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
        }
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._request("delete", "DELETE", path, options)
        except MemberApiError as error:
            is_gone = error.code == http.client.NOT_FOUND
            is_another = uid is not None and error.code == http.client.CONFLICT
            if not is_gone and not is_another:
                raise

    def _request(
        self,
        verb: str,
        method: str,
        path: str,
        tree: Tree | None = None,
        *,
        accept: str = "application/json",
        content: str = "application/json",
    ) -> Tree:
        body = None if tree is None else json.dumps(tree, separators=(",", ":")).encode()
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content
        if self._acting_as and method != "GET":
            headers["Impersonate-User"] = self._acting_as
        answer = parse_object(self._exchange(verb, method, path, body, headers))
        if answer is None:
            raise UnusableResponse(f"{method} {path.partition('?')[0]}: not a JSON object")
        return answer

    def _exchange(
        self, verb: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        """Sends a request; returns the body of a success."""
        try:
            code, data = self._send_with_retry(method, path, body, headers)
        except ResponseTooLarge as error:
            self._on_request(verb, "none")
            if verb == "list":
                raise
            raise UnusableResponse(f"{method} {path.partition('?')[0]}: {error}") from error
        except (OSError, http.client.HTTPException, AccessError) as error:
            self._on_request(verb, "none")
            raise Unreachable(f"{self._address()}{str(error) or type(error).__name__}") from error
        except ValueError as error:  # a path or a token that HTTP cannot hold
            raise UnusableResponse(f"{method} {path[:300]!a}: {error}") from error
        self._on_request(verb, f"{code // 100}xx" if code < 600 else "none")  # noqa: PLR2004 - RFC 9110
        if not 200 <= code < 300:  # noqa: PLR2004 - RFC 9110
            answer = parse_object(data)
            raise api_error_of(code, answer or {}, f"{method} {path.partition('?')[0]}")
        return data

    def _send_with_retry(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Sends a request; again on a new connection if the server has closed the kept one."""
        access = self._access
        path = access.path_prefix + path
        kept = self._pop_idle_connection()
        if kept is not None and kept[0] is access:
            with contextlib.suppress(
                http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError
            ):
                return self._send(kept, method, path, body, headers)
        elif kept is not None:  # a request with the access before has kept it
            kept[1].close()
        return self._send((access, self._connect(access)), method, path, body, headers)

    def _pop_idle_connection(self) -> tuple[Access, http.client.HTTPConnection] | None:
        try:
            return self._idle_connections.pop()  # atomic, so two threads never get the same one
        except IndexError:
            return None

    @contextlib.contextmanager
    def stream(self, path: str, *, total_seconds: float) -> Iterator[http.client.HTTPResponse]:
        """Opens a response that goes on, such as a watch, on a connection of its own.

        Reading may raise `OSError` or `HTTPException`: it was cut, or took longer than allowed.

        Raises:
            MemberApiError: the response is not a success, or there is none.
        """
        access = self._access
        try:
            connection = self._connect(access)
            sock = connection.sock
            self._streams.add(sock)
            try:
                limit_time(connection, idle_seconds=total_seconds, total_seconds=total_seconds)
                keep_probing(sock)
                response = self._open_stream(connection, access, path)
            except BaseException:
                self._streams.discard(sock)
                connection.close()
                raise
        except (OSError, http.client.HTTPException, AccessError) as error:
            self._on_request("watch", "none")
            raise Unreachable(f"{self._address()}{str(error) or type(error).__name__}") from error
        try:
            yield response
        finally:
            self._streams.discard(sock)
            response.close()
            connection.close()

    def _open_stream(
        self, connection: http.client.HTTPConnection, access: Access, path: str
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if token := access.bearer_token():
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", access.path_prefix + path, headers=headers)
        response = connection.getresponse()
        self._on_request("watch", f"{response.status // 100}xx")
        if response.status != http.client.OK:
            answer = parse_object(read_bounded(response)) or {}
            raise api_error_of(response.status, answer, f"watch {path.partition('?')[0]}")
        return response

    def end_streams(self) -> None:
        """Ends the open streams, whatever thread reads them."""
        for sock in tuple(self._streams):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # That of the plain socket: that of TLS would wait for the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the kept connections; a later request opens new ones."""
        self.end_streams()
        while (kept := self._pop_idle_connection()) is not None:
            kept[1].close()

    def _send(
        self,
        opened: tuple[Access, http.client.HTTPConnection],
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        access, connection = opened
        try:
            if token := access.bearer_token():
                headers["Authorization"] = f"Bearer {token}"
            limit_time(connection, idle_seconds=TIMEOUT_SECONDS)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = read_bounded(answer)
        except BaseException:
            connection.close()
            raise
        if answer.status == http.client.UNAUTHORIZED and access.refused is not None:
            access.refused.set()
        if answer.will_close or access is not self._access:
            connection.close()
        else:
            self._idle_connections.append(opened)
        return answer.status, data

    def _connect(self, access: Access) -> http.client.HTTPConnection:
        if access.problem:
            raise AccessError(access.problem)
        connection: http.client.HTTPConnection
        if access.tls:
            connection = http.client.HTTPSConnection(
                access.host, access.port, timeout=TIMEOUT_SECONDS, context=access.tls
            )
        else:
            connection = http.client.HTTPConnection(
                access.host, access.port, timeout=TIMEOUT_SECONDS
            )
        connection.connect()
        # Without it Nagle's algorithm delays the body of each request by 40 ms.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _address(self) -> str:
        access = self._access
        return "" if access.problem else f"{access.host}:{access.port}: "


def quote_path_segment(name: str) -> str:
    """Quotes a name as one segment of a path."""
    return quote(name, safe="")
