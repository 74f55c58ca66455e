"""Every kind of later change is found, at the record where it begins."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.verify import VerificationResult, parse_anchor, verify
from scheduler.model.canonical import digest_of_bytes
from tests.support.ledgers import fill

pytestmark = pytest.mark.integration

RECORDS = 12
Change = Callable[[sqlite3.Connection], object]


@contextmanager
def opened(data_dir: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(data_dir / "ledger.db")
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def verdict_of(data_dir: Path, *anchors: str) -> VerificationResult:
    with LedgerReader(data_dir / "ledger.db") as reader:
        return verify(reader, [parse_anchor(anchor) for anchor in anchors])


def _edit_body(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE records SET body = CAST(replace(body, 'placed on m5', 'placed on m6') AS BLOB)"
        " WHERE seq = 5"
    )


def _edit_and_hash_again(connection: sqlite3.Connection) -> None:
    body = bytes(connection.execute("SELECT body FROM records WHERE seq = 5").fetchone()[0])
    body = body.replace(b"placed on m5", b"placed on m6")
    connection.execute(
        "UPDATE records SET body = ?, hash = ? WHERE seq = 5", (body, digest_of_bytes(body))
    )


def _swap(connection: sqlite3.Connection) -> None:
    connection.executescript(
        "UPDATE records SET seq = -1 WHERE seq = 5; UPDATE records SET seq = 5 WHERE seq = 6;"
        "UPDATE records SET seq = 6 WHERE seq = -1;"
    )


def _cut_and_close_the_gap(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM records WHERE seq = 5")
    for seq in range(6, RECORDS + 1):
        connection.execute("UPDATE records SET seq = ? WHERE seq = ?", (seq - 1, seq))


def _double(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO records SELECT 13, 'again', hash, subject, body FROM records WHERE seq = 5"
    )


def _slip_in_before_the_first(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO records SELECT 0, 'zero', hash, subject, body FROM records WHERE seq = 5"
    )


def _not_a_record(connection: sqlite3.Connection) -> None:
    body = b'["no", "record"]'
    connection.execute(
        "UPDATE records SET body = ?, hash = ? WHERE seq = 5", (body, digest_of_bytes(body))
    )


def _refs_of_another_shape(connection: sqlite3.Connection) -> None:
    body = bytes(connection.execute("SELECT body FROM records WHERE seq = 5").fetchone()[0])
    body = json.dumps(json.loads(body) | {"refs": [5]}).encode()
    connection.execute(
        "UPDATE records SET body = ?, hash = ? WHERE seq = 5", (body, digest_of_bytes(body))
    )


def _on_facts_of_record_5(statement: str, packed: bytes | None = None) -> Change:
    """A change of the blob that holds the facts of the site that changed before record 5."""

    def change(connection: sqlite3.Connection) -> None:
        for digest, stored in connection.execute("SELECT digest, packed FROM blobs").fetchall():
            plain = json.loads(zlib.decompress(stored))
            if plain.get("free") == [{"count": 3, "cpu": "50"}]:
                values = (digest,) if packed is None else (packed, digest)
                connection.execute(statement, values)

    return change


def _empty_root_of_record_5(connection: sqlite3.Connection) -> None:
    body = bytes(connection.execute("SELECT body FROM records WHERE seq = 5").fetchone()[0])
    digest = json.loads(body)["refs"][0]
    unknown_digest = "sha256:" + "0" * 64
    empty = zlib.compress(json.dumps({"steady": unknown_digest, "moving": unknown_digest}).encode())
    connection.execute("UPDATE blobs SET packed = ? WHERE digest = ?", (empty, digest))


CHANGES: dict[str, tuple[Change, int]] = {
    "content edited": (_edit_body, 5),
    "content edited and hashed again": (_edit_and_hash_again, 6),
    "hash edited": (lambda c: c.execute("UPDATE records SET hash = 'sha256:0' WHERE seq = 5"), 5),
    "id edited": (lambda c: c.execute("UPDATE records SET id = '9-9' WHERE seq = 5"), 5),
    "subject edited": (lambda c: c.execute("UPDATE records SET subject = 'a/b' WHERE seq = 5"), 5),
    "content turned to text": (
        lambda c: c.execute("UPDATE records SET body = CAST(body AS TEXT) WHERE seq = 5"),
        5,
    ),
    "content emptied": (lambda c: c.execute("UPDATE records SET body = x'' WHERE seq = 5"), 5),
    "no record at all": (_not_a_record, 5),
    "refs of another shape": (_refs_of_another_shape, 5),
    "cut from the middle": (lambda c: c.execute("DELETE FROM records WHERE seq = 5"), 5),
    "cut from the front": (lambda c: c.execute("DELETE FROM records WHERE seq = 1"), 1),
    "cut, and the gap closed": (_cut_and_close_the_gap, 5),
    "two changed places": (_swap, 5),
    "one doubled at the end": (_double, RECORDS + 1),
    "one slipped in before the first": (_slip_in_before_the_first, 1),
    "a site's facts edited": (
        _on_facts_of_record_5(
            "UPDATE blobs SET packed = ? WHERE digest = ?", zlib.compress(b'{"free":"more"}')
        ),
        5,
    ),
    "a site's facts damaged": (
        _on_facts_of_record_5("UPDATE blobs SET packed = ? WHERE digest = ?", b"garbage"),
        5,
    ),
    "a site's facts removed": (_on_facts_of_record_5("DELETE FROM blobs WHERE digest = ?"), 5),
    "a fleet emptied": (_empty_root_of_record_5, 5),
}


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_change_is_found_where_it_begins(tmp_path: Path, kind: str) -> None:
    await fill(tmp_path, RECORDS)
    assert verdict_of(tmp_path).is_ok
    change, first_bad = CHANGES[kind]
    with opened(tmp_path) as connection:
        change(connection)
    verdict = verdict_of(tmp_path)
    assert verdict.first_finding is not None
    assert verdict.first_finding.seq == first_bad


async def test_every_flipped_byte_of_a_record_is_found(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    with opened(tmp_path) as connection:
        body = bytes(connection.execute("SELECT body FROM records WHERE seq = 2").fetchone()[0])
    for place in range(len(body)):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with opened(tmp_path) as connection:
            connection.execute("UPDATE records SET body = ? WHERE seq = 2", (flipped,))
        found = verdict_of(tmp_path).first_finding
        assert found is not None, f"byte {place}"
        assert found.seq == 2


async def test_a_cut_end_is_found_with_an_anchor_only(tmp_path: Path) -> None:
    receipts = await fill(tmp_path, RECORDS)
    with opened(tmp_path) as connection:
        connection.execute("DELETE FROM records WHERE seq > 9")
    assert verdict_of(tmp_path).is_ok
    assert verdict_of(tmp_path, receipts[8].anchor).is_ok
    found = verdict_of(tmp_path, receipts[-1].anchor).first_finding
    assert found is not None
    assert found.seq == 10
    assert "cut off" in found.sentence


async def test_a_rewritten_history_is_found_with_an_anchor(tmp_path: Path) -> None:
    anchored = (await fill(tmp_path / "old", RECORDS))[6]
    await fill(tmp_path / "new", RECORDS)
    with opened(tmp_path / "new") as connection:
        connection.executescript("DELETE FROM records; DELETE FROM blobs")
    await _fill_differently(tmp_path / "new")
    assert verdict_of(tmp_path / "new").is_ok
    found = verdict_of(tmp_path / "new", anchored.anchor).first_finding
    assert found is not None
    assert found.seq == 7
    assert verdict_of(tmp_path / "old", anchored.anchor).is_ok


async def _fill_differently(data_dir: Path) -> None:
    await fill(data_dir, 1)
    await fill(data_dir, RECORDS)


async def test_a_damaged_file_is_an_answer_and_not_a_crash(tmp_path: Path) -> None:
    await fill(tmp_path, 200)
    path = tmp_path / "ledger.db"
    whole = path.read_bytes()
    pages = range(1, len(whole) // 4096, 3)
    found = 0
    for page in pages:
        damaged = whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :]
        path.write_bytes(damaged)
        found += not verdict_of(tmp_path).is_ok
    assert found > 0.8 * len(pages)  # the others hold an index, which proves nothing
