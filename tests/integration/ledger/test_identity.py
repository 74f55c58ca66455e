"""What the ledger says of a name: whose it is, that it ended, or that it cannot say."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.control.ports.ledger import RecordedIdentity
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry
from scheduler.ledger.recorder import LedgerRecorder, adoption_entry
from scheduler.ledger.replay import replay
from scheduler.ledger.verify import verify
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.workload import WorkloadSpec
from tests.support.ledgers import NOON, entry

pytestmark = pytest.mark.integration

REFUSAL = {"refusal": NotAccepted(reason="invalid", condition="NotReadable", message="a: b")}
UNKNOWN = RecordedIdentity(is_complete=False)
NONE = RecordedIdentity()


async def refuse(recorder: LedgerRecorder, subject: str, incarnation: str = "") -> None:
    await recorder.record(
        subject=subject,
        epoch=3,
        at=NOON,
        content=dict(REFUSAL),
        spec=WorkloadSpec(),
        incarnation=incarnation,
    )


async def delete(recorder: LedgerRecorder, subject: str, incarnation: str) -> None:
    await recorder.record_deletion(subject=subject, epoch=3, at=NOON, incarnation=incarnation)


async def test_a_name_belongs_to_its_newest_record_until_a_deletion_follows(
    tmp_path: Path,
) -> None:
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        assert recorder.identity_of("ns/db") == NONE
        await delete(recorder, "ns/db", "")
        assert ledger.records() == [], "there was nothing to end"
        await refuse(recorder, "ns/db", "aaa")
        await refuse(recorder, "ns/db2", "ccc")
        assert recorder.identity_of("ns/db") == RecordedIdentity(incarnation="aaa")
        await delete(recorder, "ns/db", "aaa")
        await delete(recorder, "ns/db", "aaa")
        assert recorder.identity_of("ns/db") == NONE
        assert recorder.identity_of("ns/db2") == RecordedIdentity(incarnation="ccc")
        await refuse(recorder, "ns/db", "bbb")
    async with Ledger(tmp_path) as ledger:
        assert LedgerRecorder(ledger).identity_of("ns/db") == RecordedIdentity(incarnation="bbb")
        kinds = [one.kind for one in ledger.records(subject="ns/db")]
    assert kinds == ["refusal", "deletion", "refusal"]


async def test_records_of_an_older_version_do_not_say_whose_a_name_is(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        await ledger.append(entry(1))
        assert recorder.identity_of("health/work-1") == UNKNOWN
        assert recorder.identity_of("health/work-2") == NONE


async def test_a_lost_ledger_says_so_first_and_until_the_operator_accepts_it(
    tmp_path: Path,
) -> None:
    async with Ledger(tmp_path) as ledger:
        assert ledger.is_new
        recorder = LedgerRecorder(ledger, is_ledger_lost=True)
        assert recorder.is_history_lost()
        await refuse(recorder, "ns/held")
    async with Ledger(tmp_path) as ledger:
        assert not ledger.is_new
        recorder = LedgerRecorder(ledger)
        assert [one.kind for one in ledger.records()] == ["loss", "refusal"]
        assert recorder.is_history_lost()
        assert recorder.identity_of("ns/held") == recorder.identity_of("ns/other") == UNKNOWN
        keys = LedgerEntry(
            kind="adoption", subject="hub", epoch=0, at=NOON, content={"lost": ["keys"]}
        )
        await ledger.append(keys)
        assert recorder.is_history_lost(), "another loss was accepted"
        await ledger.append(adoption_entry(3, NOON))
        assert not recorder.is_history_lost()
        assert recorder.identity_of("ns/other") == NONE
        adopted = RecordedIdentity(is_complete=False, is_adopted=True)
        assert recorder.identity_of("ns/held") == adopted
        await refuse(recorder, "ns/held", "aaa")
        assert recorder.identity_of("ns/held") == RecordedIdentity(incarnation="aaa")


async def test_a_deletion_ends_what_was_accepted_last(tmp_path: Path) -> None:
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        await delete(recorder, "health/work-1", "aaa")
        await ledger.append(entry(1, content={"decision": {}, "spec": "sha256:0"}))
        await delete(recorder, "health/work-1", "aaa")
        assert recorder.last_accepted("health/work-1") is None


async def test_every_command_reads_deletions_losses_and_adoptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger, is_ledger_lost=True)
        await refuse(recorder, "ns/db", "aaa")
        await delete(recorder, "ns/db", "aaa")
        await ledger.append(adoption_entry(3, datetime(2026, 11, 24, tzinfo=UTC)))
    where = ["--data-dir", str(tmp_path)]
    assert main(["ledger", "list", *where, "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["records"]
    assert [(one["kind"], one["line"]) for one in listed] == [
        ("loss", "the ledger was lost, and this one begins"),
        ("refusal", "invalid: a: b"),
        ("deletion", "the workload was deleted"),
        ("adoption", "the operator accepts what the ledger lost"),
    ]
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert verify(reader).is_ok
        said = [replay(reader, one).sentence for one in reader.records()]
    assert [one.partition(" is ")[2] for one in said] == [
        "a loss: the ledger was lost, and this one begins, there is no decision to repeat",
        "a refusal: the workload was not accepted, there is no decision to repeat",
        "a deletion: the workload was deleted, there is no decision to repeat",
        "an adoption: the operator accepts what the ledger lost, there is no decision to repeat",
    ]
    assert main(["explain", "ns/db", *where]) != 0
    assert "ns/db was deleted at 2026-11-24" in capsys.readouterr().err
