"""A journal with anything in it is used as far as it can be, or moved aside."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agents.orders.intake import Intake
from agents.orders.journal import Journal, JournalError, ObjectKey
from agents.protocol.index import LedgerHead
from agents.protocol.keys import SigningKey, TrustedKeys
from tests.support.wire_hub import WireHub, config_map, packed

HUB = WireHub(key=SigningKey(bytes(range(32))))
KEY = ObjectKey("v1", "ConfigMap", "a", "settings")
COLUMNS = {
    "accepted_of_site": ("kid", "epoch", "sequence", "digest", "payload", "envelope", "turn"),
    "content": ("digest", "data"),
    "applied": ("order_id", "generation"),
    "made": ("order_id", "api_version", "kind", "namespace", "name"),
    "finished": ("order_id", "kind", "namespace", "name", "outcome"),
    "heads": ("epoch", "sequence", "first", "seq", "hash", "at", "key", "signature"),
}
WRONG = (2**62, "x" * 100_000, b"\xff")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a journal in which every table has a row."""
    path = tmp_path_factory.mktemp("used") / "journal.sqlite"
    journal = Journal(path)
    intake = Intake(site="site-a", trusted_keys=TrustedKeys([HUB.key.public]), journal=journal)
    each = packed(HUB.content("a", config_map(a="1")))
    head = LedgerHead(first=1, seq=1, hash="h", previous="p", at="now", key="k", signature="s")
    intake.accept_index(HUB.index(1, *each, ledger_head=head)[1])
    journal.save_content(each[0].entry.digest, b"{}")
    journal.record_applied("hub/a/b/1", 1)
    journal.record_created("hub/a/b/1", [KEY])
    journal.record_finished("hub/a/b/1", KEY, "Succeeded")
    assert journal.ledger_heads("site-a")
    journal.close()
    return path.read_bytes()


def use(path: Path) -> None:
    """Everything that the agent does with a journal, and an index of the hub after it."""
    journal = Journal(path)
    intake = Intake(site="site-a", trusted_keys=TrustedKeys([HUB.key.public]), journal=journal)
    for entry in intake.index.orders if intake.index else ():
        intake.content_of(entry)
    assert intake.read_proof() is None or isinstance(intake.read_proof(), str)
    assert all(isinstance(head.head.at, str) for head in journal.ledger_heads("site-a"))
    assert all(isinstance(number, int) for number in journal.applied_generations().values())
    assert all(sorted(keys) for keys in journal.created_objects().values())
    assert intake.accept_index(HUB.index(2)[1])
    journal.close()


@pytest.mark.parametrize(
    ("table", "column"), [(table, name) for table, names in COLUMNS.items() for name in names]
)
def test_a_row_of_any_content_keeps_no_index_from_being_accepted(
    used: bytes, tmp_path: Path, table: str, column: str
) -> None:
    path = tmp_path / "journal.sqlite"
    for wrong in WRONG:
        path.write_bytes(used)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE {table} SET {column} = ?", (wrong,))  # noqa: S608 - constants
        use(path)


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_with_other_columns_is_moved_aside(used: bytes, tmp_path: Path, table: str) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(used)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"DROP TABLE {table}")
        database.execute(f"CREATE TABLE {table} (x)")
    use(path)
    assert path.with_suffix(".spoilt").exists()


def test_a_page_damaged_in_the_middle_is_moved_aside(used: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    data = bytearray(used)
    for at in range(4_096, len(data), 4_096):  # every page but the first
        data[at : at + 64] = b"\xa5" * 64
    path.write_bytes(data)
    use(path)
    assert path.with_suffix(".spoilt").exists()


def test_a_file_damaged_while_it_is_open_is_replaced_at_the_next_use(
    used: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(used)
    journal = Journal(path)
    assert journal.content_digests()

    class Damaged:
        def execute(self, *_words: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(journal, "_connection", Damaged())
    with pytest.raises(JournalError, match="malformed"):
        journal.content_digests()
    journal.record_applied("hub/a/b/1", 2)
    assert journal.problem is None
    journal.close()
