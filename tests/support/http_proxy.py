"""An HTTP proxy that opens tunnels by CONNECT, with a password or without, as those of offices."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class TunnelProxy:
    """What a proxy was asked for.

    Attributes:
        port: of loopback.
        credentials: `user:password` that it wants; empty for none.
        targets: every target that was asked for.
        refusals: how often it has refused.
    """

    port: int
    credentials: str = ""
    targets: list[str] = field(default_factory=list)
    refusals: int = 0

    def serve(self, client: socket.socket) -> None:
        """One tunnel."""
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            lines = head.decode().split("\r\n")
            target = lines[0].split(" ")[1]
            self.targets.append(target)
            wanted = base64.b64encode(self.credentials.encode()).decode()
            if self.credentials and f"Proxy-Authorization: Basic {wanted}" not in lines:
                self.refusals += 1
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=5) as upstream:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
                back.start()
                _pump(client, upstream)
                back.join(2)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def tunnel_proxy(credentials: str = "") -> Iterator[TunnelProxy]:
    """A proxy that serves until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = TunnelProxy(server.getsockname()[1], credentials)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        server.shutdown(socket.SHUT_RDWR)
