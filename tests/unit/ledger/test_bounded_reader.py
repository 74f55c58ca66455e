"""A reader of a server that hangs or is away: bounded in time, and named until it answers."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.storage import places
from scheduler.ledger.storage.places import BoundedReader
from scheduler.ledger.storage.postgres_url import PostgresUrl

PLACE = PostgresUrl(("127.0.0.1",), (1,), "ledger", "kapok", "")


class Server:
    """Answers, hangs until it is let go, or refuses."""

    def __init__(self) -> None:
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()

    def rows(self, _query: str, _values: Sequence[object] = ()) -> list[tuple[int]]:
        self.answers.wait(30)
        if self.is_away:
            raise LedgerUnavailableError("refused")
        return [(1,)]

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("is_hanging", [True, False])
def test_what_reads_wait_for_is_named_until_one_succeeds(
    monkeypatch: pytest.MonkeyPatch, *, is_hanging: bool
) -> None:
    monkeypatch.setattr(places, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(places, "_PAUSE_SECONDS", 0.0)
    server = Server()
    opened: Any = server
    reader = BoundedReader(PLACE, open_database=lambda: opened)
    assert reader.rows("SELECT 1") == [(1,)]
    assert reader.problem == ""
    if is_hanging:
        server.answers.clear()
    else:
        server.is_away = True
    with pytest.raises(LedgerUnavailableError):
        reader.rows("SELECT 1")
    assert reader.problem.endswith("no answer within 0.2 s" if is_hanging else "refused")
    server.answers.set()
    server.is_away = False
    monkeypatch.setattr(places, "_READ_SECONDS", 30.0)
    assert reader.rows("SELECT 1") == [(1,)]
    assert reader.problem == ""
    reader.close()
