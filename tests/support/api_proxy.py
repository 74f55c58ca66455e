"""An HTTP proxy between a client and any Kubernetes API server that injects faults.

The faults are those of networks and servers: interrupted watches, slow answers, 429, 410, a
server that is down for a while. So every case runs against the embedded hub and against a real API
server. Clients use the proxy's kubeconfig (plain HTTP on loopback, no token: the proxy adds the
credentials).
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.api_client import Client

_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "authorization"}
)


@dataclass
class Faults:
    """Faults that the proxy injects; tests change them while it runs."""

    gone: bool = False
    """Accepts connections and closes them without an answer."""
    too_many: int = 0
    """Answers so many requests with 429 and Retry-After: 1."""
    refuse_with: int = 0
    """Answers every request with this status; 0: forwards them."""
    refused_paths: str = ""
    """Of these only the requests whose path contains this."""
    refuses_writes_alone: bool = False
    """Of these only the requests that change something."""
    refusal: str = ""
    """The message of the refusal; empty: one of the proxy's own."""
    retry_after_seconds: int = 1
    """What a 429 or 503 asks for; 0: nothing."""
    expired_watches: int = 0
    """Answers so many watches with 410 Expired."""
    delay_seconds: float = 0.0
    """Before each answer."""
    cut_watches_after_events: int = 0
    """Cuts a watch in the middle of the line after so many events; 0 never."""
    held_paths: str = ""
    """Requests that change something and whose path contains this are held back until `release`."""
    held: list[str] = field(default_factory=list)
    """Method and path of the requests that were held back."""
    release: threading.Event = field(default_factory=threading.Event)
    """Set it to let them through; they go to the server though their client is gone."""
    late_answers: list[int] = field(default_factory=list)
    """What the server answered to them."""
    token: str = ""
    """Answers 401 to requests without this bearer token; empty: takes all."""
    seen: list[str] = field(default_factory=list)
    """Method and path of every request that came."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Ends all faults."""
        self.gone, self.too_many, self.refuse_with, self.refused_paths = False, 0, 0, ""
        self.refuses_writes_alone, self.refusal = False, ""
        self.expired_watches, self.delay_seconds, self.cut_watches_after_events = 0, 0.0, 0

    def take(self, name: str) -> bool:
        """Takes one of a counted fault; returns whether there was one left."""
        with self.lock:
            left = int(getattr(self, name))
            if left > 0:
                setattr(self, name, left - 1)
            return left > 0


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    url: str
    kubeconfig: Path
    faults: Faults
    cut: threading.Event
    """Set it to cut all watches that are open now."""
    handler: type["_Handler"]

    def turn_to(self, upstream: Client) -> None:
        """Serves another server from now on, as the same one after a restore."""
        self.handler.upstream = upstream
        self.cut_watches()

    def cut_watches(self) -> None:
        """Interrupts every open watch."""
        self.cut.set()
        time.sleep(0.05)  # noqa: TID251 - the threads that copy watches look every 20 ms
        self.cut.clear()


def _status(code: int, reason: str, message: str) -> bytes:
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Client
    faults: Faults
    cut: threading.Event

    def log_message(self, *_words: object) -> None:
        """Logs nothing: tests read `faults.seen`."""

    def _any(self) -> None:
        faults = self.faults
        faults.seen.append(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if faults.gone:
            self.close_connection = True
            return
        if faults.delay_seconds:
            time.sleep(faults.delay_seconds)  # noqa: TID251 - a slow network
        is_watch = "watch=" in self.path
        if faults.held_paths and faults.held_paths in self.path and self.command != "GET":
            self._hold(body)
            return
        refused = faults.refuse_with
        if faults.token and self.headers.get("Authorization") != f"Bearer {faults.token}":
            refused = 401
        if self.command == "GET" and faults.refuses_writes_alone:
            refused = 0
        if refused and faults.refused_paths in self.path:
            words = faults.refusal or f"the proxy answers {refused}"
            self._answer(refused, _status(refused, HTTPStatus(refused).phrase, words))
        elif faults.take("too_many"):
            self._answer(429, _status(429, "TooManyRequests", "please try again later"))
        elif is_watch and faults.take("expired_watches"):
            self._answer(410, _status(410, "Expired", "too old resource version: 1 (2)"))
        else:
            self._forward(body, is_watch=is_watch)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - http.server's names

    def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if code in (429, 503) and self.faults.retry_after_seconds:
            self.send_header("Retry-After", str(self.faults.retry_after_seconds))
        self.end_headers()
        self.wfile.write(body)

    def _hold(self, body: bytes | None) -> None:
        """Sends a request to the server as late as the test says; its client is gone."""
        self.close_connection = True
        self.faults.held.append(f"{self.command} {self.path}")
        self.faults.release.wait(60)
        connection = self.upstream.connection(timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_HEADERS}
        connection.request(self.command, self.path, body, {**kept, **self.upstream.headers})
        with connection.getresponse() as response:
            self.faults.late_answers.append(response.status)
        connection.close()

    def _forward(self, body: bytes | None, *, is_watch: bool) -> None:
        connection = self.upstream.connection(timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_HEADERS}
        try:
            connection.request(self.command, self.path, body, {**kept, **self.upstream.headers})
            response = connection.getresponse()
            if is_watch and response.status == 200:
                self._stream(connection, response)
            else:
                data = response.read()
                self.send_response(response.status)
                for key, value in response.headers.items():
                    if key.lower() not in _HOP_HEADERS:
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
        finally:
            connection.close()

    def _stream(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        """Copies a watch line by line until it ends or is cut."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        ended = threading.Event()
        threading.Thread(target=self._watch_cut, args=(connection, ended), daemon=True).start()
        try:
            self._copy(response)
        finally:
            ended.set()

    def _watch_cut(self, connection: HTTPConnection, ended: threading.Event) -> None:
        """Ends the stream from the server when the test says so; a read of it then returns."""
        while not ended.wait(0.02):
            if self.cut.is_set() or self.faults.gone:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
                return

    def _copy(self, response: HTTPResponse) -> None:
        events = 0
        buffer = b""
        while not (self.cut.is_set() or self.faults.gone):
            try:
                chunk = response.read1(65536)
            except (HTTPException, OSError):
                return
            if not chunk:
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                events += 1
                limit = self.faults.cut_watches_after_events
                if limit and events > limit:
                    self.wfile.write(line[: len(line) // 2])
                    return
                try:
                    self.wfile.write(line + b"\n")
                except OSError:
                    return  # the client is gone


@contextmanager
def api_proxy(upstream: Client, folder: Path) -> Iterator[Proxy]:
    """Runs a proxy in front of the server of `upstream`.

    Args:
        upstream: client of the server.
        folder: folder for the proxy's kubeconfig.
    """
    faults, cut = Faults(), threading.Event()
    handler = type("Handler", (_Handler,), {"upstream": upstream, "faults": faults, "cut": cut})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        kubeconfig = folder / "proxy.kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(url)))
        kubeconfig.chmod(0o600)
        try:
            yield Proxy(url, kubeconfig, faults, cut, handler)
        finally:
            cut.set()
            server.shutdown()
            thread.join()


def _kubeconfig(url: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    }
