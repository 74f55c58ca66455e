"""A server of one watched collection that cuts, expires and refuses watches as a test says."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Tree = dict[str, Any]


@dataclass(slots=True)
class WatchServer:
    """Its objects, their history, and what goes wrong.

    Attributes:
        random: chance as an input.
        cut_ratio: how often a watch ends after an event, half of the time within one.
        expire_ratio: how often a watch begins with 410.
        watch_code: what each watch is answered with.
        list_code: what each list is answered with.
        raw_line: a line that every watch begins with.
        is_short: every watch ends at once.
        page: most objects of a page.
        lists, watches: how many there were.
    """

    random: random.Random
    cut_ratio: float = 0.0
    expire_ratio: float = 0.0
    watch_code: int = 200
    list_code: int = 200
    raw_line: bytes = b""
    is_short: bool = False
    page: int = 3
    lists: int = 0
    watches: int = 0
    port: int = 0
    objects: dict[str, Tree] = field(default_factory=dict)
    log: list[tuple[int, str, Tree]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_ended: bool = False

    def put(self, name: str, **spec: object) -> None:
        """Creates or changes an object."""
        with self.changed:
            kind = "MODIFIED" if name in self.objects else "ADDED"
            uid = self.objects[name]["metadata"]["uid"] if name in self.objects else None
            self._record(kind, name, uid or f"{len(self.log):032x}", dict(spec))

    def delete(self, name: str) -> None:
        """Deletes an object."""
        with self.changed:
            gone = self.objects.pop(name)
            self._record("DELETED", name, gone["metadata"]["uid"], gone["spec"])
            self.objects.pop(name)

    def _record(self, kind: str, name: str, uid: str, spec: Tree) -> None:
        version = len(self.log) + 1
        metadata = {"name": name, "uid": uid, "resourceVersion": str(version)}
        self.objects[name] = {"metadata": metadata, "spec": spec}
        self.log.append((version, kind, self.objects[name]))
        self.changed.notify_all()

    def answer_list(self, query: dict[str, str]) -> tuple[int, Tree]:
        """One page of the list."""
        with self.changed:
            start = int(query.get("continue", "0"))
            self.lists += start == 0
            names = sorted(self.objects)
            items = [self.objects[name] for name in names[start : start + self.page]]
            metadata: Tree = {"resourceVersion": str(len(self.log))}
            if start + self.page < len(names):
                metadata["continue"] = str(start + self.page)
            return self.list_code, {"metadata": metadata, "items": items}

    def events(self, query: dict[str, str]) -> Iterator[bytes]:
        """The lines of a watch, until it is cut."""
        self.watches += 1
        if self.raw_line:
            yield self.raw_line
        if self.random.random() < self.expire_ratio:
            yield line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            return
        at = int(query["resourceVersion"])
        while not self.is_ended and not self.is_short:
            with self.changed:
                if len(self.log) <= at:
                    self.changed.wait(0.2)
                fresh = self.log[at:]
            for version, kind, tree in fresh:
                if self.random.random() < self.cut_ratio:
                    if self.random.random() < 0.5:
                        yield line(kind, tree)[:-5]
                    return
                yield line(kind, tree)
                at = version


def line(kind: str, tree: Tree) -> bytes:
    """One event."""
    return json.dumps({"type": kind, "object": tree}).encode() + b"\n"


@contextmanager
def serving(server: WatchServer) -> Iterator[WatchServer]:
    """Serves on loopback, at its port; 0: at a free one, which is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            if server.is_ended:  # kept connections end with the server
                self.close_connection = True
            elif "watch" not in query:
                self._answer(*server.answer_list(query))
            elif server.watch_code != 200:
                server.watches += 1
                self._answer(server.watch_code, {"kind": "Status", "code": server.watch_code})
            else:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for each in server.events(query):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(each), each))
                self.close_connection = True

        def _answer(self, code: int, tree: Tree) -> None:
            body = json.dumps(tree).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", server.port), Handler)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_words: None  # type: ignore[method-assign]  # the client ends watches
    server.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.is_ended = True
        httpd.shutdown()
        thread.join()
        httpd.server_close()
