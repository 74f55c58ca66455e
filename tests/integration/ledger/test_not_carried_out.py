"""Decisions that had no effect stay in the ledger, and every reader knows them; group commits."""

import asyncio
import json
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from scheduler.cli.entry import main
from scheduler.control.ports.ledger import PreparedRecord, RecordReference
from scheduler.ledger import writer
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.filter import RecordFilter
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry, Receipt, Record
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import replay
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import in_flight_pods
from scheduler.runtime.clock import SystemClock
from tests.support.sites import NOW, demand, fleet_of, site_with_capacity, workload

pytestmark = pytest.mark.integration
LATER = NOW + timedelta(seconds=1)


def recorder_of(ledger: Ledger, fleet: Fleet) -> LedgerRecorder:
    recorder = LedgerRecorder(ledger)
    for facts in fleet.all_facts():
        recorder.update_facts(facts.name, facts)
    return recorder


async def decide(
    recorder: LedgerRecorder, fleet: Fleet, replicas: int, *, name: str = "app"
) -> RecordReference:
    asked = demand(workload(replicas, name=name))
    content = {
        "demand": asked,
        "terms": DEFAULT_TERMS,
        "decision": choose(asked, fleet, now=NOW),
    }
    return await recorder.record(
        subject=asked.key,
        epoch=3,
        at=NOW,
        content=content,
        spec=WorkloadSpec(replicas=replicas),
        incarnation="abc",
    )


async def undo(recorder: LedgerRecorder, decision: str) -> None:
    await recorder.record_not_carried_out(
        subject="ns/app",
        epoch=3,
        at=LATER,
        decision=decision,
        why="409 Conflict",
        incarnation="abc",
    )


async def test_every_reader_knows_that_a_decision_had_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = fleet_of(site_with_capacity("m1", 9))
    async with Ledger(tmp_path) as ledger:
        recorder = recorder_of(ledger, fleet)
        await decide(recorder, fleet, 2)
        undone = await decide(recorder, fleet, 4)
        await undo(recorder, undone.id)
        accepted = recorder.last_accepted("ns/app")
        assert accepted is not None
        assert (accepted.spec.replicas, accepted.demand.replicas) == (2, 2)
        assert recorder.identity_of("ns/app").incarnation == "abc"
        in_force = RecordFilter(at=LATER).select(ledger.records, 0, 10)
        assert [one.id for one in in_force] == ["3-1"]
    where = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["explain", "ns/app", *where]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "3-1"
    assert main(["explain", "ns/app", "--decision", "3-2", *where]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["line"] == "placed on m1 (4)"
    assert answer["notes"][-1] == "3-2 was not carried out: 409 Conflict"
    assert main(["explain", "ns/app", "--decision", "3-3", *where]) == 2
    assert "3-3 holds no decision: 3-2 was not carried out" in capsys.readouterr().err
    assert main(["replay", "3-2", *where]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["same"] is True
    assert answer["sentence"].endswith("it was not carried out, see 3-3")
    assert main(["replay", "3-3", *where]) == 1
    assert "not-carried-out" in json.loads(capsys.readouterr().out)["sentence"]
    assert main(["ledger", "verify", "--data-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["ledger", "list", *where]) == 0
    rows = json.loads(capsys.readouterr().out)
    rows = rows["records"] if isinstance(rows, dict) else rows
    assert [one["kind"] for one in rows] == ["decision", "decision", "not-carried-out"]
    assert rows[2]["line"] == "3-2 was not carried out: 409 Conflict"


class FullDisk(Ledger):
    """A ledger that cannot be written while `is_full`."""

    is_full = False

    async def append(self, entry: LedgerEntry) -> Receipt:
        if self.is_full:
            raise LedgerUnavailableError("the disk is full")
        return await super().append(entry)


async def test_what_cannot_be_recorded_now_is_recorded_before_all_else(tmp_path: Path) -> None:
    fleet = fleet_of(site_with_capacity("m1", 9))
    async with FullDisk(tmp_path) as ledger:
        recorder = recorder_of(ledger, fleet)
        undone = await decide(recorder, fleet, 4)
        ledger.is_full = True
        await undo(recorder, undone.id)
        assert recorder.last_accepted("ns/app") is None
        ledger.is_full = False
        recorder.problem = ""  # as `watch` finds out
        await decide(recorder, fleet, 2)
        kinds = [one.kind for one in ledger.records()]
        assert kinds == ["decision", "not-carried-out", "decision"]


async def waiting_for(prepared: PreparedRecord) -> RecordReference:
    return await prepared()


async def test_many_records_at_once_share_transactions_and_each_has_its_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    chain = vars(writer)["_chain"]

    def counting(database: object, batch: Sequence[object], head: object) -> list[Record]:
        batches.append(len(batch))
        records: list[Record] = chain(database, batch, head)
        return records

    monkeypatch.setattr(writer, "_chain", counting)
    fleet = fleet_of(*(site_with_capacity(f"m{number}", 9) for number in range(8)))
    async with Ledger(tmp_path) as ledger:
        recorder = recorder_of(ledger, fleet)
        prepared = []
        for number in range(64):
            asked = demand(workload(1, name=f"w{number}"))
            decision = choose(asked, fleet, now=NOW)
            prepared.append(
                recorder.prepare(
                    subject=asked.key,
                    epoch=3,
                    at=NOW,
                    content={"demand": asked, "terms": DEFAULT_TERMS, "decision": decision},
                    spec=WorkloadSpec(),
                )
            )
            facts = fleet.facts_of(decision.assignment[0].site)
            more = in_flight_pods(asked, 1, new_site=True)
            facts = msgspec.structs.replace(facts, in_flight=(*facts.in_flight, *more))
            fleet.upsert(facts)
            recorder.update_facts(facts.name, facts)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(waiting_for(one)) for one in prepared]
        assert [one.result().id for one in tasks] == [f"3-{number + 1}" for number in range(64)]
        assert sum(batches) == 64
        assert len(batches) <= 8
    with LedgerReader(tmp_path / "ledger.db") as reader:
        results = [replay(reader, one) for one in reader.records(limit=100)]
        assert all(one.is_same for one in results)
        digests = {one.content["fleet"] for one in reader.records(limit=100)}
        assert len(digests) == 64  # each was decided on what the ones before it left


async def test_a_ledger_that_hangs_says_so_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, chain = threading.Event(), vars(writer)["_chain"]

    def hanging(*arguments: object) -> list[Record]:
        hung.wait(30)
        records: list[Record] = chain(*arguments)
        return records

    monkeypatch.setattr(writer, "_chain", hanging)
    monkeypatch.setattr(writer, "_SLOW_AFTER_SECONDS", 0.05)
    fleet = fleet_of(site_with_capacity("m1", 9))
    clock = SystemClock()
    async with Ledger(tmp_path) as ledger, asyncio.TaskGroup() as group, asyncio.timeout(60):
        assert ledger.problem == ""
        group.create_task(decide(recorder_of(ledger, fleet), fleet, 2))
        while not ledger.problem:
            await clock.sleep(0.01)
        assert ledger.problem.endswith("has not answered for 0 s")
        hung.set()
        while ledger.problem:
            await clock.sleep(0.01)


async def test_decisions_after_the_one_that_a_status_shows(tmp_path: Path) -> None:
    fleet = fleet_of(site_with_capacity("m1", 90))
    async with Ledger(tmp_path) as ledger:
        recorder = recorder_of(ledger, fleet)
        assert recorder.decisions_after("ns/app", "") == ()
        shown, undone, first, second = [(await decide(recorder, fleet, n)).id for n in (1, 2, 3, 4)]
        await decide(recorder, fleet, 2, name="other")
        await undo(recorder, undone)
        assert recorder.decisions_after("ns/app", "") == (shown, first, second)
        assert recorder.decisions_after("ns/app", shown) == (first, second)
        assert recorder.decisions_after("ns/app", second) == ()
        assert recorder.decisions_after("ns/app", "of a ledger that was lost") == ()
        for _ in range(8):  # the status of a hub that was restored from a backup
            await decide(recorder, fleet, 4)
        assert recorder.decisions_after("ns/app", shown) == ()


async def test_decisions_about_a_former_workload_of_the_name_are_not_named(tmp_path: Path) -> None:
    fleet = fleet_of(site_with_capacity("m1", 9))
    async with Ledger(tmp_path) as ledger:
        recorder = recorder_of(ledger, fleet)
        await decide(recorder, fleet, 1)
        await recorder.record_deletion(subject="ns/app", epoch=3, at=LATER, incarnation="abc")
        after = await decide(recorder, fleet, 2)
        assert recorder.decisions_after("ns/app", "") == (after.id,)
