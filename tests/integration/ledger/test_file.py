"""The ledger on a real disk: durable when it says so, readable beside its writer."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from scheduler.ledger.blobs import blob_of
from scheduler.ledger.errors import (
    LedgerCorruptError,
    LedgerMissingError,
    LedgerUnavailableError,
)
from scheduler.ledger.fleet import read_fleet
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Receipt
from scheduler.ledger.storage.sqlite import SqliteWriter
from scheduler.ledger.verify import verify
from tests.support.ledgers import entry, facts, fill

pytestmark = pytest.mark.integration


async def test_a_record_is_there_for_another_process_when_append_returns(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        receipt = await ledger.append(entry(1))
        with LedgerReader(ledger.place) as other:
            found = other.find(receipt.id)
    assert found is not None
    assert (found.hash, found.content["number"]) == (receipt.hash, 1)


async def test_ids_are_unique_across_restarts(tmp_path: Path) -> None:
    first = await fill(tmp_path, 3)
    second = await fill(tmp_path, 3)
    assert len({receipt.id for receipt in first + second}) == 6
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert verify(reader).is_ok
        assert reader.count() == 6


async def test_appends_of_many_tasks_share_flushes_and_make_one_chain(tmp_path: Path) -> None:
    receipts: list[Receipt] = []
    async with Ledger(tmp_path) as ledger:

        async def work(number: int) -> None:
            receipts.append(await ledger.append(entry(number)))

        async with asyncio.TaskGroup() as group:
            for number in range(600):
                group.create_task(work(number))
        assert [record.seq for record in ledger.records(590)] == list(range(591, 601))
    with LedgerReader(tmp_path / "ledger.db") as reader:
        last = reader.last()
        assert last is not None
        assert last.seq == len({receipt.seq for receipt in receipts}) == 600
        assert verify(reader).is_ok


async def test_an_entry_that_cannot_be_written_does_not_take_its_neighbours_with_it(
    tmp_path: Path,
) -> None:
    async with Ledger(tmp_path) as ledger:
        async with asyncio.TaskGroup() as group:
            good = [group.create_task(ledger.append(entry(n))) for n in range(3)]
            with pytest.raises(ValueError, match="not in the ledger"):
                await ledger.append(entry(4, refs=["sha256:" + "1" * 64]))
            good += [group.create_task(ledger.append(entry(n))) for n in range(5, 8)]
        assert sorted(task.result().seq for task in good) == [1, 2, 3, 4, 5, 6]
        with pytest.raises((TypeError, ValueError)):
            await ledger.append(entry(9, content={"what": object()}))


async def test_a_blob_is_stored_once(tmp_path: Path) -> None:
    blob = blob_of({"free": 1})
    async with Ledger(tmp_path) as ledger:
        await ledger.append(entry(1, refs=[blob.digest], blobs=[blob]))
        await ledger.append(entry(2, refs=[blob.digest], blobs=[blob]))
        await ledger.append(entry(3, refs=[blob.digest]))
        assert ledger.blob(blob.digest) == {"free": 1}
    connection = sqlite3.connect(tmp_path / "ledger.db")
    assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (1,)
    connection.close()


async def test_the_fleet_of_an_old_record_can_be_read(tmp_path: Path) -> None:
    await fill(tmp_path, 6)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        (record,) = reader.records(after=3, limit=1)
        fleet = read_fleet(record.refs[0], reader.blob)
    assert fleet == {"site-0": facts(30), "site-1": facts(40), "site-2": facts(20)}


async def test_records_about_one_workload_are_found(tmp_path: Path) -> None:
    await fill(tmp_path, 12)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        about = reader.records(subject="health/work-2")
        newest = reader.last_about("health/work-2")
        nothing = reader.last_about("health/unknown")
    assert [record.seq for record in about] == [2, 7, 12]
    assert newest is not None
    assert newest.seq == 12
    assert nothing is None


async def test_a_cancelled_append_is_still_recorded(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        task = asyncio.get_running_loop().create_task(ledger.append(entry(1)))
        await asyncio.wait([task], timeout=0)
        task.cancel()
        await asyncio.wait([task])
        assert (await ledger.append(entry(2))).seq == 2


async def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        pass
    with pytest.raises(LedgerUnavailableError, match="closed"):
        await ledger.append(entry(1))


async def test_a_disk_that_refuses_loses_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        await ledger.append(entry(1))
        await _limit_pages(ledger, to="page_count")
        with pytest.raises(LedgerUnavailableError, match="full"):
            await ledger.append(entry(2, content={"pad": "x" * 100_000}))
        await _limit_pages(ledger, to="1000000")
        assert (await ledger.append(entry(3))).seq == 2


async def _limit_pages(ledger: Ledger, *, to: str) -> None:
    """Plays a full disk with SQLite's own limit, on the writing connection."""
    database = ledger._writer.database  # noqa: SLF001 - only the writer's connection counts
    assert isinstance(database, SqliteWriter)
    connection = database.connection
    pages = connection.execute(f"PRAGMA {to}").fetchone()[0] if to.islower() else int(to)
    connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_missing_ledger_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LedgerMissingError, match="--data-dir"):
        LedgerReader(tmp_path / "ledger.db")


def test_a_file_that_is_no_ledger_is_not_changed(tmp_path: Path) -> None:
    text, other = tmp_path / "a" / "ledger.db", tmp_path / "b" / "ledger.db"
    text.parent.mkdir()
    text.write_text("minutes of the meeting, " * 100)
    other.parent.mkdir()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE minutes (line TEXT)")
    connection.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(LedgerCorruptError, match="ledger"):
            Ledger(path.parent)
        with pytest.raises(LedgerCorruptError, match="ledger"):
            LedgerReader(path)
        assert path.read_bytes() == before


async def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    await fill(tmp_path / "new", 1)
    assert (tmp_path / "new" / "ledger.db").stat().st_mode & 0o077 == 0


async def test_an_auditor_reads_a_copy_on_a_read_only_disk(tmp_path: Path) -> None:
    await fill(tmp_path / "live", 3)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "ledger.db").write_bytes((tmp_path / "live" / "ledger.db").read_bytes())
    copy.chmod(0o500)
    with LedgerReader(copy / "ledger.db") as reader:
        verdict = verify(reader)
    copy.chmod(0o700)
    assert (verdict.records, verdict.is_ok) == (3, True)
