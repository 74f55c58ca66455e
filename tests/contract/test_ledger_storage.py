"""The ledger behaves the same in a file of SQLite and in a database of PostgreSQL."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.control.ports.ledger import SignedHead
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.ledger import sealer
from scheduler.ledger.accounts.energy_pages import EnergyPages, rows_of
from scheduler.ledger.blobs import blob_of
from scheduler.ledger.errors import LedgerCorruptError, LedgerUnavailableError
from scheduler.ledger.filter import RecordFilter
from scheduler.ledger.fleet import read_fleet
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.pages import read_blob, read_page
from scheduler.ledger.reader import LedgerReader, decision_json
from scheduler.ledger.storage.places import LedgerPlace, ledger_place
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import VerificationResult, verify
from scheduler.ledger.witnesses import Anchor
from tests.support.ledgers import NOON, entry, facts, fill

pytestmark = pytest.mark.integration

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))


@dataclass(frozen=True)
class Storage:
    """A ledger that does not exist yet, in a folder or in a database of its own."""

    folder: Path
    url: PostgresUrl | None

    @property
    def place(self) -> LedgerPlace:
        return ledger_place(self.folder, self.url)

    def open(self, key: SigningKey | None = KEY) -> Ledger:
        return Ledger(self.folder, key=key, url=self.url)

    async def fill(self, count: int, **options: int) -> list[str]:
        receipts = await fill(self.folder, count, key=KEY, url=self.url, **options)
        return [receipt.id for receipt in receipts]

    def verify(self, *anchors: Anchor) -> VerificationResult:
        with LedgerReader(self.place) as reader:
            return verify(reader, anchors, trusted_keys={str(KEY.public)})

    def execute(self, statement: str) -> None:
        """Changes the tables behind the ledger's back, with SQL that both have."""
        if self.url is None:
            with closing(sqlite3.connect(self.folder / "ledger.db", isolation_level=None)) as file:
                file.execute(statement)
            return
        from tests.support.postgres import session  # noqa: PLC0415 - needs the extra `ha`

        with session(self.url) as connection:
            connection.execute(b"SET search_path TO kapok")
            connection.execute(statement.encode())


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "sqlite":
        return Storage(tmp_path, None)
    return Storage(tmp_path, request.getfixturevalue("postgres").new_database())


@contextmanager
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(sealer, "_SEAL_AFTER_RECORDS", 4)
        yield


async def test_what_append_returned_is_there_for_others(storage: Storage) -> None:
    async with storage.open() as ledger:
        assert ledger.is_new
        receipt = await ledger.append(entry(1))
        assert (receipt.seq, receipt.id) == (1, "7-1")
        with LedgerReader(storage.place) as other:
            found = other.find(receipt.id)
        assert found is not None
        assert (found.hash, found.content["number"]) == (receipt.hash, 1)
        assert ledger.last_about("health/work-1") == found
        assert ledger.has(1, receipt.hash)
        assert not ledger.has(2, receipt.hash)
    async with storage.open() as again:
        assert not again.is_new


async def test_many_appends_make_one_chain_over_restarts(storage: Storage) -> None:
    for _ in range(2):
        async with storage.open() as ledger, asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(ledger.append(entry(number)))
    with LedgerReader(storage.place) as reader:
        last = reader.last()
        assert last is not None
        assert last.seq == reader.count() == 600
        assert [one.seq for one in reader.records(590, 5)] == [591, 592, 593, 594, 595]
    assert storage.verify().is_ok


async def test_a_bad_entry_does_not_take_its_neighbours_with_it(storage: Storage) -> None:
    async with storage.open() as ledger:
        async with asyncio.TaskGroup() as group:
            good = [group.create_task(ledger.append(entry(n))) for n in range(3)]
            with pytest.raises(ValueError, match="not in the ledger"):
                await ledger.append(entry(4, refs=["sha256:" + "1" * 64]))
            good += [group.create_task(ledger.append(entry(n))) for n in range(5, 8)]
        assert sorted(task.result().seq for task in good) == [1, 2, 3, 4, 5, 6]
        with pytest.raises((TypeError, ValueError)):
            await ledger.append(entry(9, content={"what": object()}))
        await ledger.check_writable()
    assert storage.verify().records == 6


async def test_blobs_are_stored_once_and_checked(storage: Storage) -> None:
    blob = blob_of({"free": 1, "name": "市政大厅"})
    async with storage.open() as ledger:
        await ledger.append(entry(1, refs=[blob.digest], blobs=[blob]))
        await ledger.append(entry(2, refs=[blob.digest], blobs=[blob]))
        await ledger.append(entry(3, refs=[blob.digest]))
        assert ledger.blob(blob.digest) == {"free": 1, "name": "市政大厅"}
        with pytest.raises(LedgerCorruptError, match="missing"):
            ledger.blob("sha256:" + "2" * 64)
    assert json.loads(read_blob(storage.place, blob.digest))["free"] == 1


async def test_records_are_found_by_workload_time_and_page(storage: Storage) -> None:
    ids = await storage.fill(12)
    with LedgerReader(storage.place) as reader:
        assert [one.seq for one in reader.records(subject="health/work-2")] == [2, 7, 12]
        assert reader.last_about("health/unknown") is None
        listed = RecordFilter().select(reader.records, 0, 50)
        assert [one.id for one in listed] == ids
        (record,) = reader.records(after=3, limit=1)
        fleet = read_fleet(record.refs[0], reader.blob)
    assert fleet == {"site-0": facts(30), "site-1": facts(40), "site-2": facts(20)}
    page = json.loads(read_page(storage.place, {"after": "9"}))["records"]
    assert [row["seq"] for row in page] == [10, 11, 12]
    assert json.loads(decision_json(storage.place, ids[4]) or b"{}")["seq"] == 5
    assert decision_json(storage.place, "7-99") is None


async def test_a_cancelled_append_is_still_recorded(storage: Storage) -> None:
    async with storage.open() as ledger:
        task = asyncio.get_running_loop().create_task(ledger.append(entry(1)))
        await asyncio.wait([task], timeout=0)
        task.cancel()
        await asyncio.wait([task])
        assert (await ledger.append(entry(2))).seq == 2


async def test_a_closed_ledger_says_so(storage: Storage) -> None:
    async with storage.open() as ledger:
        pass
    with pytest.raises(LedgerUnavailableError, match="closed"):
        await ledger.append(entry(1))


async def test_segments_and_heads_are_signed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[SignedHead] = []
    with small_segments(monkeypatch):
        async with storage.open() as ledger:
            await ledger.begin_term(7)
            for number in range(10):
                await ledger.append(entry(number))
                head = ledger.head()
                assert head is not None
                heads.append(head)
    anchors = [Anchor(one.seq, one.hash, segment=one.previous) for one in heads]
    verdict = storage.verify(*anchors)
    assert verdict.is_ok
    assert (verdict.signed.segments, verdict.signed.signed_to) == (3, 10)


async def test_a_new_key_covers_what_the_one_before_signed(storage: Storage) -> None:
    await storage.fill(3)
    async with storage.open(OTHER) as ledger:
        await ledger.begin_term(8)
        await ledger.append(entry(4, epoch=8))
    with LedgerReader(storage.place) as reader:
        verdict = verify(reader, trusted_keys={str(OTHER.public)})
    assert verdict.is_ok
    assert verdict.signed.keys == (KEY.public.kid, OTHER.public.kid)


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE records SET hash = 'sha256:0' WHERE seq = 5", 5),
        ("UPDATE records SET subject = 'a/b' WHERE seq = 5", 5),
        ("DELETE FROM records WHERE seq = 5", 5),
        ("UPDATE records SET body = (SELECT body FROM records WHERE seq = 4) WHERE seq = 5", 5),
        ("UPDATE records SET seq = -5 WHERE seq = 5", 1),
        ("DELETE FROM blobs", 1),
        ("DELETE FROM segments", 8),
    ],
    ids=["hash", "subject", "removed", "doubled", "moved", "blobs", "segments"],
)
async def test_a_change_behind_its_back_is_found(
    storage: Storage, statement: str, first_bad: int
) -> None:
    await storage.fill(8)
    with LedgerReader(storage.place) as reader:
        last = reader.last()
    assert last is not None
    segments = 1 if "segments" in statement else 0
    storage.execute(statement)
    named = "sha256:" + "3" * 64 if segments else ""
    finding = storage.verify(Anchor(last.seq, last.hash, segment=named)).first_finding
    assert finding is not None
    assert finding.seq == first_bad


async def test_pages_of_energy_are_found_again_with_their_counters(storage: Storage) -> None:
    rows = [EnergyHour(site="m1", hour=hour, it_joules=hour) for hour in (498_700, 498_701)]
    async with storage.open() as ledger:
        await ledger.begin_term(7)
        pages = EnergyPages(ledger)
        for number, row in enumerate(rows):
            counter = SiteCounter(counter_id="c", at_seconds=1.0, it_joules=float(number))
            page = EnergyPage(hours=(row,), counters={"m1": counter})
            await pages.append(epoch=7, at=NOON, page=page)
            await ledger.append(entry(number))
        assert (await pages.last_counters())["m1"].it_joules == 1.0
        assert [row.hour for row in await pages.rows_since(498_701)] == [498_701]
    with LedgerReader(storage.place) as reader:
        assert sorted(row.hour for row in rows_of(reader, 0, 498_701)) == [498_700]
    assert storage.verify().is_ok
