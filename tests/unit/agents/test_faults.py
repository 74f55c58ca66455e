"""The barrier: what fails at an edge is counted, logged once, set aside, and goes no further."""

import asyncio
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any, get_args

import pytest

from agents.metrics.counters import METRICS, Counters
from agents.observe import SensorCollector
from agents.orders.intake import Intake
from agents.orders.journal import Journal, JournalError
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.data_dir import IdentityError, check_secret_mode, load_or_create_client_id
from agents.runtime.faults import FAULT_PLACES, AgentFaults, FaultPlace
from agents.sensors.energy import EnergyMeter
from agents.sensors.sensor import Observation
from tests.support.fake_clock import FakeClock
from tests.support.wire_hub import WireHub, packed

ANYTHING = (
    *(AttributeError("x"), OverflowError(), ValueError("\ud800\x1b[2J"), OSError(28, "full")),
    *(RecursionError(), KeyError("k"), MemoryError(), ZeroDivisionError(), UnicodeError()),
)


def barrier(clock: FakeClock) -> tuple[AgentFaults, Counters]:
    counters = Counters()
    return AgentFaults(lambda where: counters.add("faults_total", where=where), clock), counters


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_no_exception_leaves_an_edge_and_each_is_counted(error: Exception) -> None:
    faults, counters = barrier(FakeClock())
    with faults.guard("order", "web"):
        raise error
    assert 'kapok_agent_faults_total{where="order"} 1' in counters.render()
    assert faults.is_quarantined("order", "web")
    assert not faults.is_quarantined("order", "other")


async def test_a_cancellation_passes() -> None:
    faults, _ = barrier(FakeClock())
    with pytest.raises(asyncio.CancelledError), faults.guard("order"):
        raise asyncio.CancelledError


async def test_the_back_off_grows_and_ends_with_a_success() -> None:
    clock = FakeClock()
    faults, _ = barrier(clock)
    pauses = []
    for _ in range(12):
        with faults.guard("sensor", "host"):
            raise ValueError
        pauses.append(faults.quarantine_seconds("sensor", "host"))
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 600
    with faults.guard("sensor", "host"):
        pass
    assert not faults.is_quarantined("sensor", "host")


def test_of_a_kind_one_line_a_minute_is_logged_and_memory_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults, counters = barrier(FakeClock())
    with caplog.at_level(logging.ERROR):
        for number in range(5_000):
            with faults.guard("message", f"topic {number}"):
                raise ValueError(number)
    assert len(caplog.records) == 1
    assert "test_faults.py" in caplog.text
    assert 'faults_total{where="message"} 5000' in counters.render()
    assert len(faults._quarantines) <= 1_024  # noqa: SLF001 - what it costs


def test_the_metric_lists_every_place() -> None:
    text = METRICS["kapok_agent_faults_total"][1].partition("by where: ")[2]
    words = text.replace(")", "").replace("(", ", ").split(", ")
    assert set(get_args(FaultPlace)) == set(FAULT_PLACES) <= {word.strip() for word in words}


async def test_a_sensor_that_fails_in_any_way_is_left_alone_for_a_while() -> None:
    class Broken:
        name = "host"
        calls = 0

        async def observe(self) -> Observation:
            self.calls += 1
            raise AttributeError("'NoneType' object has no attribute 'get'")

    clock, sensor = FakeClock(), Broken()
    faults, _ = barrier(clock)
    collector = SensorCollector(
        sensors=[sensor], meter=None, clock=clock, counters=Counters(), faults=faults
    )
    for _ in range(5):
        assert (await collector.collect()).observation.faults == ("host-failed",)
    assert sensor.calls == 1
    await clock.advance(1.5)
    await collector.collect()
    assert sensor.calls == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"counterId":1,"totals":{}}', b"\xff", b"[" * 99_999, b"9" * 9_999],
)
def test_energy_totals_that_cannot_be_read_begin_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "energy.json").write_bytes(content)
    assert EnergyMeter(tmp_path / "energy.json").record(Observation(), 0.0).it_joules is None


# ---------------------------------------------------------------- the journal


def disk(journal: Journal, *, is_full: bool) -> None:
    """SQLite's own limit on pages fails as a full disk does."""
    journal._database.execute(f"PRAGMA max_page_count = {1 if is_full else 1_000_000}")  # noqa: SLF001


def test_a_full_disk_is_a_problem_until_it_can_be_written_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    disk(journal, is_full=True)
    with pytest.raises(JournalError, match="full"):
        journal.save_content("sha256:0", b"x" * 1_000_000)
    assert journal.problem is not None
    disk(journal, is_full=False)
    journal.require_writable()
    assert journal.problem is None


def test_an_agent_that_starts_on_a_locked_journal_waits_for_its_memory(tmp_path: Path) -> None:
    """Without what it had accepted it does not know how new an index must be."""
    hub = WireHub(key=SigningKey(bytes(range(32))))
    path, trusted = tmp_path / "journal.sqlite", TrustedKeys([hub.key.public])
    first = Intake(site="site-a", trusted_keys=trusted, journal=Journal(path))
    first.accept_index(hub.index(5)[1])
    first.journal.close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    intake = Intake(site="site-a", trusted_keys=trusted, journal=Journal(path))
    assert not intake.missing_entries()
    assert intake.echo is None
    assert intake.journal.problem is not None
    with pytest.raises(JournalError, match="locked"):
        intake.accept_index(hub.index(4)[1])
    other.close()
    with pytest.raises(ValueError, match="not newer"):
        intake.accept_index(hub.index(4)[1])
    assert (intake.index.sequence if intake.index else 0) == 5


def test_an_index_that_fails_half_way_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = WireHub(key=SigningKey(bytes(range(32))))
    journal = Journal(tmp_path / "journal.sqlite")
    trusted = TrustedKeys([hub.key.public])
    intake = Intake(site="site-a", trusted_keys=trusted, journal=journal)
    [order] = packed(hub.content("web"))
    intake.accept_index(hub.index(1, order)[1])

    def fail(*_: Any) -> None:  # noqa: ANN401 - whatever it is called with
        raise JournalError("full")

    monkeypatch.setattr(Journal, "save_index", fail)
    with pytest.raises(JournalError):
        intake.accept_index(hub.index(2)[1])
    assert (intake.index.sequence, len(intake.missing_entries())) == (1, 1)  # type: ignore[union-attr]  # accepted above
    monkeypatch.undo()
    monkeypatch.setattr(Journal, "delete_contents_except", fail)
    assert intake.accept_index(hub.index(3)[1])
    assert (intake.index.sequence, intake.missing_entries()) == (3, ())  # type: ignore[union-attr]  # as above


def test_a_content_on_disk_that_cannot_be_read_is_fetched_again(tmp_path: Path) -> None:
    hub = WireHub(key=SigningKey(bytes(range(32))))
    journal = Journal(tmp_path / "journal.sqlite")
    intake = Intake(site="site-a", trusted_keys=TrustedKeys([hub.key.public]), journal=journal)
    [order] = packed(hub.content("web"))
    journal.save_content(order.entry.digest, b'{"id": 1}')
    intake = Intake(site="site-a", trusted_keys=TrustedKeys([hub.key.public]), journal=journal)
    intake.accept_index(hub.index(1, order)[1])
    assert intake.missing_entries() == ()
    assert intake.content_of(order.entry) is None
    assert intake.missing_entries() == (order.entry,)


# ---------------------------------------------------------------- secrets


def test_secret_files_have_mode_0600_from_their_first_write(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "journal.sqlite")
        journal.record_applied("x", 1)
        load_or_create_client_id(tmp_path)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"journal.sqlite", "journal.sqlite-wal", "client-id"}
    assert set(modes.values()) == {0o600}


def test_a_client_id_has_128_random_bits_and_stays(tmp_path: Path) -> None:
    one = load_or_create_client_id(tmp_path)
    assert load_or_create_client_id(tmp_path) == one
    assert len(bytes.fromhex(one)) == 16
    (tmp_path / "client-id").write_text("guessable")
    assert load_or_create_client_id(tmp_path) not in (one, "guessable")
    (tmp_path / "client-id").chmod(0o640)
    with pytest.raises(IdentityError, match=r"chmod 600 .*client-id"):
        load_or_create_client_id(tmp_path)
    with pytest.raises(IdentityError, match="chmod 600"):
        check_secret_mode(tmp_path / "client-id")
