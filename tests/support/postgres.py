"""A PostgreSQL server for tests: started once by each test process, one database for each test.

Debian's server is on no PATH, so its folder is looked into as well. A server does not run as root;
then it runs as `nobody`, in a folder of that user.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from scheduler.ledger.storage.postgres_url import PostgresUrl
from tests.support.ports import free_port
from tests.support.tools import skip_or_fail

PASSWORD = "pa:ss/w?rd@1%"  # noqa: S105 - of a server that ends with the test
_DEBIAN = Path("/usr/lib/postgresql")
_START_SECONDS = 60.0
_CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
max_connections = 40
shared_buffers = 16MB
max_wal_size = 128MB
autovacuum = off
"""


@dataclass(kw_only=True)
class PostgresServer:
    """A server; `stop` and `start` again keep its data."""

    folder: Path
    programs: Path
    port: int
    user: str | None
    _process: subprocess.Popen[bytes] | None = None
    _databases: int = 0
    _names: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Starts it; returns when it answers."""
        data = str(self.folder / "data")
        command = [str(self.programs / "postgres"), "-D", data, "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.user, cwd="/", env=_environment()
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.connect("postgres"):
                    return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)  # noqa: TID251 - a fixture, before any loop runs

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT breaks all connections, SIGQUIT does so without a clean end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Has it answer nothing until `resume`; only what listens, sessions go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Has it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def url(self, database: str, *, password: str = PASSWORD) -> PostgresUrl:
        """The address of one of its databases."""
        return PostgresUrl(("127.0.0.1",), (self.port,), database, "kapok", password)

    def new_database(self) -> PostgresUrl:
        """A new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
        return self.url(name)

    @contextmanager
    def connect(self, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """A session beside the ledger's."""
        with session(self.url(database)) as connection:
            yield connection


def session(url: PostgresUrl) -> psycopg.Connection[tuple[object, ...]]:
    """A session beside the ledger's; a context manager that closes it."""
    return psycopg.connect(make_conninfo(**url.connect_arguments()), autocommit=True)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; without one on this machine the test is skipped by name, in CI it fails."""
    programs = _programs()
    if programs is None:
        skip_or_fail("postgres is not installed (make system-deps)")
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kapok-postgres-"))
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    server = PostgresServer(folder=folder, programs=programs, port=free_port(), user=user)
    try:
        _make_cluster(server)
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(server: PostgresServer) -> None:
    password = server.folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    subprocess.run(
        [
            server.programs / "initdb",
            *("-D", server.folder / "data", "-U", "kapok", "--auth=scram-sha-256"),
            *("--pwfile", password, "--no-sync", "--encoding=UTF8", "--locale=C"),
            "--no-instructions",
        ],
        check=True,
        capture_output=True,
        user=server.user,
        cwd="/",
        env=_environment(),
    )
    with (server.folder / "data" / "postgresql.conf").open("a") as config:
        config.write(_CONFIG)


def _environment() -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _programs() -> Path | None:
    """The folder of `initdb` and `postgres`."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = _DEBIAN.glob("*/bin/initdb")
    newest = max(folders, key=lambda path: int(path.parts[-3]), default=None)
    return newest.parent if newest else None
