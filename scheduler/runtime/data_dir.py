"""The data directory: locked by one instance at a time; it keeps the ports of its servers."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KUBECONFIG_FILE = "kubeconfig"
"""The kubeconfig of the hub, mode 0600."""
HUB_KEY_FILE = "hub.key"
"""The file with the hub's signing key, mode 0600."""
HUB_PUBLIC_KEY_FILE = "hub.pub"
"""The file with the key's public half, `ed25519:BASE64`, for agents' settings."""
HUB_PUBLIC_KEYS_FILE = "hub.keys"
"""The file with the public halves of all keys so far, one a line; signatures name one of them."""

RECEIVED_FILE = "received.db"
"""The file with the boots and sequences that were received of each agent."""
RECEIVED_MARK_FILE = "received.begun"
"""An empty file: `received.db` was begun, so it is lost when it is missing."""

PORTS_FILE = "ports.json"
"""The file with the ports of our servers."""

WEB_SERVER_FILE = "web.json"
"""The file with the address of our web server, and the certificate that it shows."""

_LOCK_FILE = "lock"

_CHOSEN_PORTS = range(20_000, 30_000)
"""Where free ports are looked for. They are recorded and used again after each restart, so they are
not of the ephemeral ones: by then such a port may be the near end of some outgoing connection.
They also lie below the node ports of Kubernetes."""
_TRIES = 100
"""After so many taken ports the kernel chooses one of its ephemeral ports."""


class DataDirectoryError(RuntimeError):
    """The directory cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A directory whose lock this process holds.

    Attributes:
        path: the directory, mode 0700.
    """

    path: Path

    def port(self, name: str, configured: int) -> int:
        """The port of one of our servers on 127.0.0.1.

        Args:
            name: "hub", "broker" or "web".
            configured: the port of the settings; 0 takes the recorded one, else a free one. The
                port is recorded.
        """
        recorded = self._read_ports()
        port = configured or recorded.get(name) or _free_port(recorded.values())
        if recorded.get(name) != port:
            self._write_ports({**recorded, name: port})
        return port

    def record_web_server(self, url: str, certificate_file: str) -> None:
        """Records where the web server is.

        Args:
            url: its address on this machine.
            certificate_file: the certificate that it shows; empty: it speaks no TLS.
        """
        draft = self.path / f"{WEB_SERVER_FILE}.new"
        draft.write_text(json.dumps({"url": url, "certificate": certificate_file}) + "\n")
        draft.replace(self.path / WEB_SERVER_FILE)

    def _read_ports(self) -> dict[str, int]:
        try:
            found = json.loads((self.path / PORTS_FILE).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataDirectoryError(
                f"{self.path / PORTS_FILE}: not JSON; delete it, and new ports are chosen"
            ) from error
        except OSError as error:
            raise DataDirectoryError(f"{self.path / PORTS_FILE}: {error.strerror}") from error
        return {str(name): int(port) for name, port in found.items()}

    def _write_ports(self, ports: dict[str, int]) -> None:
        draft = self.path / f"{PORTS_FILE}.new"
        draft.write_text(json.dumps(ports) + "\n")
        draft.replace(self.path / PORTS_FILE)


@contextmanager
def locked_data_directory(path: Path) -> Iterator[DataDirectory]:
    """Creates the directory if missing and holds its lock for the time of the context.

    Raises:
        DataDirectoryError: another instance holds the lock, or the directory cannot be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not any(path.iterdir())
        handle = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryError(
            f"{error.filename or path}: {error.strerror}; name another directory with --data-dir"
        ) from error
    try:
        _acquire_lock(handle, path)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        if is_new:  # nothing is written into a used one before its files were checked
            ignore_in_git(path)
        yield DataDirectory(path)
    finally:
        os.close(handle)


def ignore_in_git(folder: Path) -> None:
    """Keeps a folder with keys or exports out of a repository that it lies in."""
    file = folder / ".gitignore"
    if not file.exists():
        file.write_text("*\n", encoding="ascii")


def recorded_port(path: Path, name: str) -> int | None:
    """The recorded port of a server of this data directory; None when it never ran."""
    try:
        return int(json.loads((path / PORTS_FILE).read_text())[name])
    except (OSError, ValueError, KeyError):
        return None


def recorded_web_server(path: Path) -> tuple[str, str] | None:
    """Address and certificate file of the web server of this data directory; None: it never ran."""
    try:
        found = json.loads((path / WEB_SERVER_FILE).read_text())
        return str(found["url"]), str(found["certificate"])
    except (OSError, ValueError, KeyError, TypeError):
        port = recorded_port(path, "web")  # as versions before this file recorded it
        return None if port is None else (f"http://127.0.0.1:{port}", "")


def _acquire_lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(handle, 32, 0).decode(errors="replace").strip()
        raise DataDirectoryError(
            f"{path}: in use by another kapok (process {pid or 'unknown'}); stop it, "
            "or name another directory with --data-dir"
        ) from None


def _free_port(taken: Collection[int]) -> int:
    """A port of 127.0.0.1 that nothing listens on, not one of `taken`."""
    for _ in range(_TRIES):
        port = secrets.choice(_CHOSEN_PORTS)
        if port not in taken and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers bind
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
