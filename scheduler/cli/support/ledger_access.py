"""Where a command reads the ledger: a file, a database, or a hub over the network.

Over the network the web server of `kapok up` answers, to the token of the kubeconfig and with the
rights that it has in the hub: who may list all workloads may read the ledger, and who may get those
of a namespace the records about them.
"""

import argparse
import asyncio
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import add_data_dir_option
from scheduler.cli.support.hub_access import existing_kubeconfig
from scheduler.cli.support.web_access import (
    WebClient,
    WebUnavailable,
    add_server_option,
    connect_web,
)
from scheduler.ledger.errors import LedgerError, RecordForbidden
from scheduler.ledger.reader import LedgerReader, RecordSource
from scheduler.ledger.record import Record, parse_id, record_of_row
from scheduler.ledger.storage.places import LedgerPlace, ledger_place
from scheduler.ledger_settings import LedgerSettings, read_ledger_url
from scheduler.settings import SettingsError, data_directory, load_settings


class LedgerUnreachable(LedgerError):
    """The web server refuses or does not answer; the message says what to do."""


class LedgerForbidden(LedgerUnreachable, RecordForbidden):
    """The web server refuses what the token has no right to."""


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`, and `--config` and `--ledger-url` for a ledger that replicas share."""
    add_data_dir_option(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="settings of `kapok up`: read the PostgreSQL that ledger.url names there",
    )
    parser.add_argument(
        "--ledger-url",
        metavar="URL",
        help="read the ledger in this PostgreSQL; its password from PGPASSWORD or ~/.pgpass",
    )


def named_place(arguments: argparse.Namespace) -> LedgerPlace:
    """The file or the database that the options of `add_place_options` name.

    Raises:
        LedgerError: an address cannot be used, or the settings cannot be read.
    """
    if arguments.ledger_url:
        url = read_ledger_url(LedgerSettings(url=arguments.ledger_url))
    else:
        try:
            url = read_ledger_url(load_settings(arguments.config).ledger)
        except SettingsError as error:
            raise LedgerUnreachable(str(error)) from error
    return ledger_place(data_directory(arguments.data_dir), url)


def add_ledger_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `add_place_options`, `--kubeconfig` and `--server`."""
    add_place_options(parser)
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="read the ledger of this hub over the network, with the rights of its token",
    )
    add_server_option(parser)


@contextmanager
def open_ledger(arguments: argparse.Namespace) -> Iterator[RecordSource]:
    """The ledger that the arguments name.

    Raises:
        LedgerError: it cannot be read or reached.
        HubError: the hub of the kubeconfig does not answer.
        HubNotFound: there is no kubeconfig of this name.
    """
    if not arguments.kubeconfig:
        if arguments.server:
            raise LedgerUnreachable("--server needs --kubeconfig FILE, which holds the token")
        with LedgerReader(named_place(arguments)) as reader:
            yield reader
        return
    kubeconfig = existing_kubeconfig(arguments.kubeconfig)
    yield asyncio.run(_connect(kubeconfig, arguments.server))


async def _connect(kubeconfig: Path, server: str | None) -> "RemoteLedger":
    try:
        return RemoteLedger(await connect_web(kubeconfig, server))
    except WebUnavailable as error:
        raise LedgerUnreachable(str(error)) from error


class RemoteLedger:
    """Reads records and blobs from a web server.

    Args:
        web: reaches it.
    """

    def __init__(self, web: WebClient) -> None:
        self._web, self._record_id = web, ""

    def find(self, record_id: str) -> Record | None:
        """The record with this id, or None."""
        return next(iter(self._page({"id": record_id})), None)

    def last(self) -> Record | None:
        """The newest record, or None."""
        return next(iter(self._page({"last": "1"})), None)

    def last_about(self, subject: str) -> Record | None:
        """The newest record about a subject, or None."""
        return next(iter(self._page({"about": subject})), None)

    def records(
        self, after: int = 0, limit: int = 100, *, subject: str | None = None
    ) -> list[Record]:
        """Up to `limit` records that follow sequence `after`, oldest first."""
        query = {"after": str(after)} | ({"subject": subject} if subject else {})
        found: list[Record] = []
        while len(found) < limit:
            page = self._page({**query, "limit": str(limit - len(found))})
            if not page:
                break
            found += page
            query["after"] = str(page[-1].seq)
        return found

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value under this digest."""
        query = urllib.parse.urlencode({"record": self._record_id})
        return self._get(f"/api/v1/ledger/blobs/{urllib.parse.quote(digest)}?{query}")

    def _page(self, query: Mapping[str, str]) -> list[Record]:
        answer = self._get(f"/api/v1/ledger/records?{urllib.parse.urlencode(query)}")
        try:
            records = [_record_of(row) for row in answer["records"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LedgerUnreachable(
                f"{self._web.address}: the answer is no page of records"
            ) from error
        if records:  # a token for one namespace reads the blobs that this record refers to
            self._record_id = records[-1].id
        return records

    def _get(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return self._web.get(path)
        except WebUnavailable as error:
            is_forbidden = error.code == HTTPStatus.FORBIDDEN
            kind = LedgerForbidden if is_forbidden else LedgerUnreachable
            raise kind(str(error)) from error


def _record_of(row: Mapping[str, Any]) -> Record:
    """A record or a share of one as the web server sends it."""
    record_id, index = parse_id(row["id"])
    return record_of_row(
        seq=row["seq"],
        record_id=record_id,
        digest=row["hash"],
        subject=row["subject"],
        body=row["body"].encode(),
        index=index,
    )
