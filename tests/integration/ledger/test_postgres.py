"""The ledger that replicas share: one chain, by whichever replica, whatever breaks."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.ledger import sealer
from scheduler.ledger.errors import (
    LedgerCorruptError,
    LedgerDeposedError,
    LedgerMissingError,
    LedgerUnavailableError,
)
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.move import MoveRefused, move_ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry
from scheduler.ledger.storage import places
from scheduler.ledger.storage import postgres as storage
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import verify
from tests.support.cutting_proxy import cutting_proxy
from tests.support.ledgers import NOON, entry, fill
from tests.support.postgres import PASSWORD, PostgresServer, session

pytestmark = pytest.mark.integration

KEY = SigningKey(bytes(range(32)))


@pytest.fixture
def url(postgres: PostgresServer) -> PostgresUrl:
    return postgres.new_database()


def opened(url: PostgresUrl, key: SigningKey | None = KEY) -> Ledger:
    return Ledger(Path("unused"), key=key, url=url)


def check_whole(url: PostgresUrl, records: int) -> None:
    with LedgerReader(url) as reader:
        verdict = verify(reader, trusted_keys={str(KEY.public)})
    assert verdict.first_finding is None
    assert verdict.records == records


async def test_two_replicas_that_append_at_once_make_one_chain(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "_SEAL_AFTER_RECORDS", 7)
    async with opened(url) as one, opened(url) as other:
        assert one.chain_id == other.chain_id != ""
        await one.begin_term(7)
        await other.begin_term(7)

        async def append(ledger: Ledger) -> None:
            for number in range(60):
                await ledger.append(entry(number))

        async with asyncio.TaskGroup() as group:
            group.create_task(append(one))
            group.create_task(append(other))
        last = one.last_about("health/work-4")
        assert other.last_about("health/work-4") == last
    check_whole(url, 120)


async def test_a_deposed_leader_records_nothing_and_learns_it(url: PostgresUrl) -> None:
    async with opened(url) as old, opened(url) as new:
        await old.begin_term(7)
        await old.append(entry(1, epoch=7))
        assert await new.begin_term(8) == 8  # it has decided nothing yet
        with pytest.raises(LedgerDeposedError, match="epoch 7 is over") as refused:
            await old.append(entry(2, epoch=7))
        assert isinstance(refused.value, NotRecorded)
        assert old.deposed.is_set()
        assert not new.deposed.is_set()
        assert await old.begin_term(7) == 8  # its Lease was restored from a backup
        receipt = await new.append(entry(2, epoch=8))
        assert receipt.id == "8-2"
    check_whole(url, 2)


async def test_an_operator_may_lower_the_epoch_and_a_loss_does_not(url: PostgresUrl) -> None:
    def adoption(epoch: int) -> LedgerEntry:
        return LedgerEntry(kind="adoption", subject="hub", epoch=epoch, at=NOON, content={})

    async with opened(url) as ledger:
        await ledger.append(entry(1, epoch=9))
        await ledger.append(adoption(0))
        with pytest.raises(LedgerDeposedError):
            await ledger.append(entry(2, epoch=8))
        await ledger.append(adoption(3))
        await ledger.append(entry(3, epoch=4))
    check_whole(url, 4)


async def test_a_standby_signs_nothing_and_goes_on_where_the_leader_ended(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "_SEAL_AFTER_RECORDS", 4)
    async with opened(url) as standby:
        async with opened(url) as leader:
            await leader.begin_term(1)
            for number in range(10):
                await leader.append(entry(number, epoch=1))
        assert standby.head() is None
        await standby.begin_term(2)
        head = standby.head()
        assert head is not None
        assert head.seq == 10
        for number in range(10):
            await standby.append(entry(number, epoch=2))
    check_whole(url, 20)


async def test_a_standby_with_another_key_signs_nothing(url: PostgresUrl) -> None:
    async with opened(url) as leader:
        await leader.begin_term(1)
        await leader.append(entry(1, epoch=1))
    async with opened(url, SigningKey(bytes(32))):
        pass
    check_whole(url, 1)


async def test_a_restarted_server_costs_nothing_and_one_that_is_away_a_wait(
    url: PostgresUrl, postgres: PostgresServer
) -> None:
    async with opened(url) as ledger:
        await ledger.begin_term(7)
        await ledger.append(entry(1))
        assert ledger.last_about("health/work-1") is not None
        postgres.stop()
        postgres.start()
        assert (await ledger.append(entry(2))).seq == 2
        assert ledger.last_about("health/work-2") is not None
        postgres.stop()
        with pytest.raises(LedgerUnavailableError, match="start the server"):
            await ledger.append(entry(3))
        with pytest.raises(LedgerUnavailableError):
            await ledger.check_writable()
        postgres.start()
        await ledger.check_writable()
        assert (await ledger.append(entry(3))).seq == 3
    check_whole(url, 3)


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_connection_that_breaks_at_commit_records_once_or_not_at_all(
    url: PostgresUrl, cut: str
) -> None:
    with cutting_proxy(url) as proxy:
        async with opened(proxy.url) as ledger:
            await ledger.append(entry(1))
            proxy.cut = "before" if cut == "before" else "after"
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_append(ledger, number)) for number in (2, 3, 4)]
            assert proxy.cuts == 1
            written = sum(task.result() for task in tasks)
            assert ledger.problem == ""
            await ledger.append(entry(5))
    check_whole(url, written + 2)
    if cut == "after":
        assert written == 3


async def _append(ledger: Ledger, number: int) -> bool:
    try:
        await ledger.append(entry(number))
    except LedgerUnavailableError:
        return False
    return True


async def test_entries_in_doubt_wait_until_the_server_is_back(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.ledger.writer._DOUBT_PAUSE_SECONDS", 0.05)
    with cutting_proxy(url) as proxy:
        async with opened(proxy.url) as ledger:
            await ledger.append(entry(1))
            proxy.cut, proxy.refuses = "after", True
            task = asyncio.get_running_loop().create_task(ledger.append(entry(2)))
            async with asyncio.timeout(60):
                while not ledger.problem:
                    await asyncio.wait([task], timeout=0.02)
            assert "not known yet" in ledger.problem
            assert not task.done()
            proxy.refuses = False
            assert (await task).seq == 2
            assert ledger.problem == ""
    check_whole(url, 2)


async def test_a_replica_that_stops_inside_an_append_does_not_keep_others_out(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url) as ledger:
        await ledger.append(entry(1))
        short = tuple(one.replace("TO '5s'", "TO '200ms'") for one in storage._SESSION)  # noqa: SLF001
        assert short[-1].startswith("SET idle_in_transaction_session_timeout")
        monkeypatch.setattr(storage, "_SESSION", (*storage._SESSION[:-1], short[-1]))  # noqa: SLF001
        stopped = storage.PostgresWriter(url)
        with pytest.raises(LedgerUnavailableError), stopped.transaction():
            stopped.insert_segment((await ledger.append(entry(2))).id.encode())
        stopped.close()
    check_whole(url, 2)


async def test_a_read_that_hangs_holds_the_loop_for_two_seconds_at_most(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_READ_SECONDS", 0.2)
    async with opened(url) as ledger:
        await ledger.append(entry(1))
        with session(url) as other:
            other.execute(b"BEGIN; LOCK TABLE kapok.records IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(LedgerUnavailableError, match="no answer within"):
                ledger.last_about("health/work-1")
            with pytest.raises(LedgerUnavailableError, match="no answer within"):
                ledger.records()
        monkeypatch.setattr(places, "_READ_SECONDS", 60.0)  # the machine may be busy
        monkeypatch.setattr(ledger._reader._database, "_again_at", 0.0)  # noqa: SLF001 - 5 s later
        assert ledger.last_about("health/work-1") is not None


def test_a_reader_cannot_write(url: PostgresUrl) -> None:
    storage.PostgresWriter(url).close()
    reader = storage.PostgresReader(url)
    with pytest.raises((LedgerCorruptError, LedgerUnavailableError), match="read-only"):
        reader.rows("DELETE FROM records")
    reader.close()


def _refusals(server: PostgresServer) -> Iterator[tuple[PostgresUrl, str, str]]:
    url = server.url("postgres")
    yield replace(url, ports=(1,)), "refused", "start the server, or name another in ledger.url"
    yield url.with_password("no:t%it"), "password authentication failed", "ledger.password_file"
    yield replace(url, database="absent"), "does not exist", "name another in ledger.url"
    yield replace(url, user="nobody"), "authentication failed", "ledger.password_file"


def test_every_refusal_is_one_sentence_with_the_way_out(postgres: PostgresServer) -> None:
    for url, says, way_out in _refusals(postgres):
        for open_it in (storage.PostgresWriter, storage.PostgresReader):
            with pytest.raises(LedgerUnavailableError, match=says) as refused:
                open_it(url)
            text = str(refused.value)
            assert way_out in text
            assert url.password not in text + repr(refused.value) + repr(url) + str(url)
            assert "\n" not in text


def test_an_old_server_a_newer_ledger_and_no_ledger_are_named(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LedgerMissingError, match="holds no ledger"):
        LedgerReader(url)
    storage.PostgresWriter(url).close()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "OLDEST_SERVER", 99)
        with pytest.raises(LedgerUnavailableError, match="needs 99 or newer"):
            storage.PostgresWriter(url)
    with session(url) as connection:
        connection.execute(b"UPDATE kapok.head SET format = 9")
        for open_it in (storage.PostgresWriter, storage.PostgresReader):
            with pytest.raises(LedgerCorruptError, match=r"format 9.*newer Kapok"):
                open_it(url)
        connection.execute(b"DELETE FROM kapok.head")
        with pytest.raises(LedgerCorruptError, match="restore the database"):
            storage.PostgresWriter(url)


def test_a_missing_driver_says_what_to_install(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "scheduler.ledger.storage.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerUnavailableError, match=r"kapok-scheduler\[ha\]"):
        places.open_writable(url)


async def test_a_changed_end_stops_appends(url: PostgresUrl) -> None:
    async with opened(url) as ledger:
        for number in range(3):
            await ledger.append(entry(number))
        with session(url) as connection:
            connection.execute(b"DELETE FROM kapok.records WHERE seq = 3")
        with pytest.raises(LedgerUnavailableError, match="not the newest record"):
            await ledger.append(entry(4))


async def test_a_file_moves_into_a_database_as_it_is(url: PostgresUrl, tmp_path: Path) -> None:
    with pytest.raises(LedgerMissingError):
        move_ledger(tmp_path / "ledger.db", url)
    await fill(tmp_path, 40, key=KEY)
    last = move_ledger(tmp_path / "ledger.db", url)
    assert last.seq == 40
    with LedgerReader(tmp_path / "ledger.db") as file, LedgerReader(url) as database:
        assert list(file.rows()) == list(database.rows())
        assert list(file.segments()) == list(database.segments())
    async with opened(url) as ledger:
        assert not ledger.is_new
        with pytest.raises(LedgerDeposedError):
            await ledger.append(entry(1, epoch=6))
        await ledger.append(entry(1, epoch=7))
    check_whole(url, 41)
    with pytest.raises(MoveRefused, match="holds 41 records"):
        move_ledger(tmp_path / "ledger.db", url)


def test_the_password_is_in_no_text() -> None:
    url = PostgresUrl.parse(f"postgresql://kapok:{'s3cret%40x'}@db.example:5433,[::1]/kapok")
    assert url.password == "s3cret@x"  # noqa: S105 - of this test
    assert url.hosts == ("db.example", "::1")
    assert url.ports == (5433, 5432)
    assert "s3cret" not in f"{url} {url!r} {[url]}"
    assert str(url) == "postgresql://kapok@db.example:5433,[::1]:5432/kapok"
    assert PASSWORD not in str(url.with_password(PASSWORD))
