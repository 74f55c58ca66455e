"""A member cluster's API that answers every request with what a test makes up."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENDLESS = b"\0endless"
"""An answer that stands for a body without an end."""

_KUBECONFIG = """
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


@dataclass(slots=True)
class HostileMember:
    """What the server answers.

    Attributes:
        kubeconfig: how to reach it.
        answer: makes the body of the answer to a path; may be replaced at any time.
        requests: how many were answered.
    """

    kubeconfig: Path
    answer: Callable[[str], bytes]
    requests: int = 0


@contextmanager
def hostile_member(folder: Path, answer: Callable[[str], bytes]) -> Iterator[HostileMember]:
    """A server that answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            body = member.answer(self.path)
            member.requests += 1
            self.send_response(200)
            if body == ENDLESS:
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(OSError):
                    while True:
                        self.wfile.write(b'{"items": [' + b" " * 65_536)
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names of http.server

        def log_message(self, *_words: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(_KUBECONFIG.format(port=server.server_port))
    kubeconfig.chmod(0o600)
    member = HostileMember(kubeconfig, answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield member
    finally:
        server.shutdown()
        server.server_close()
