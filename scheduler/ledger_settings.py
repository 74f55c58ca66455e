"""Where the ledger is, as the settings say: a group of settings, its checks, and how it is read."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec

from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.storage.postgres_url import PostgresUrl, PostgresUrlError
from scheduler.setting_checks import SettingFinding

_URL, _PASSWORD_FILE = "ledger.url", "ledger.password_file"


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where decisions are recorded.

    Attributes:
        url: PostgreSQL that all replicas share, `postgresql://USER@HOST:PORT/DATABASE?sslmode=…`;
            empty: the file ledger.db of the data directory, for one replica.
        password_file: file with the password, so that no settings file contains it.
    """

    url: Annotated[str, msgspec.Meta(extra={"secret": True})] = ""
    password_file: str = ""

    def __repr__(self) -> str:
        """The settings without the password."""
        shown = ""
        if self.url:
            try:
                shown = str(PostgresUrl.parse(self.url))
            except PostgresUrlError:
                shown = "unreadable"
        return f"LedgerSettings(url={shown!r}, password_file={self.password_file!r})"


def read_ledger_url(settings: LedgerSettings) -> PostgresUrl | None:
    """The database of the settings with its password; None: the ledger is a file.

    Raises:
        LedgerUnavailableError: the address or the file of the password cannot be read.
    """
    if not settings.url:
        return None
    try:
        url = PostgresUrl.parse(settings.url)
    except PostgresUrlError as error:
        raise LedgerUnavailableError(f"{_URL}: {error}") from None
    if not settings.password_file:
        return url
    path = Path(settings.password_file)
    try:
        return url.with_password(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise LedgerUnavailableError(
            f"{_PASSWORD_FILE}: {path}: {error.strerror}; write the password into this file"
        ) from error
    except UnicodeDecodeError:
        raise LedgerUnavailableError(
            f"{_PASSWORD_FILE}: {path}: not UTF-8 text; write the password into this file"
        ) from None


def find_ledger_problems(settings: LedgerSettings) -> Iterator[SettingFinding]:
    """What is wrong with where the ledger is to be."""
    if not settings.url:
        if settings.password_file:
            what = "does nothing: the ledger is a file of the data directory"
            yield SettingFinding(_PASSWORD_FILE, "warning", what, "name a database in ledger.url")
        return
    try:
        url = PostgresUrl.parse(settings.url)
    except PostgresUrlError as error:
        what, _, instead = str(error).partition("; ")
        yield SettingFinding(_URL, "error", what, instead or "see configs/scheduler.yaml")
        return
    if find_spec("psycopg") is None:
        what = "the driver of PostgreSQL is not installed"
        yield SettingFinding(_URL, "error", what, "run: pip install 'kapok-scheduler[ha]'")
    if url.password:
        what = "the password is in the settings file"
        instead = f"write it into a file of its own, and name that in {_PASSWORD_FILE}"
        yield SettingFinding(_URL, "warning", what, instead)
    if not url.is_server_authenticated:
        is_encrypted = url.ssl_mode == "require"
        what = f"{', '.join(url.hosts)} is not on loopback, and need not prove who it is"
        instead = "add ?sslmode=verify-full&sslrootcert=FILE with the authority of its certificate"
        yield SettingFinding(_URL, "warning" if is_encrypted else "error", what, instead)
