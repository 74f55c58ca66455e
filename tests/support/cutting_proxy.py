"""A proxy before PostgreSQL that cuts a connection at COMMIT, before or after the server has it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from scheduler.ledger.storage.postgres_url import PostgresUrl

Cut = Literal["never", "before", "after"]
_COMMIT = b"COMMIT\x00"  # the end of a simple query
_CHUNK_BYTES = 65_536


@dataclass(kw_only=True)
class CuttingProxy:
    """Forwards bytes; `cut` says what happens to the next COMMIT, once.

    Attributes:
        url: the address of the proxy.
        cut: "before": the server does not get it; "after": its answer does not come back.
        refuses: new connections are closed at once.
        cuts: how often it has cut.
        late: never set; waits are on it.
    """

    url: PostgresUrl
    cut: Cut = "never"
    refuses: bool = False
    cuts: int = 0
    late: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket, target: tuple[str, int]) -> None:
        """Accepts until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            server = socket.create_connection(target)
            self._sockets += [client, server]
            for pump in (self._to_server, self._to_client):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def close(self) -> None:
        """Ends all connections."""
        for one in self._sockets:
            _end(one)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK_BYTES):
                if data.endswith(_COMMIT) and self.cut != "never":
                    how, self.cut = self.cut, "never"
                    self.cuts += 1
                    _end(client)
                    if how == "after":  # late: the client may ask on a new connection before
                        self.late.wait(0.2)
                        server.sendall(data)
                        self.late.wait(0.2)
                    break
                server.sendall(data)
        _end(client)
        _end(server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK_BYTES):
                client.sendall(data)
        _end(client)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def cutting_proxy(url: PostgresUrl) -> Iterator[CuttingProxy]:
    """A proxy in front of a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        proxy = CuttingProxy(url=replace(url, ports=(port,)))
        target = (url.hosts[0], url.ports[0])
        thread = threading.Thread(target=proxy.serve, args=(listener, target), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            _end(listener)
            proxy.close()
            thread.join(5)
