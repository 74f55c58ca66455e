"""Equal decisions of one ledger record: each workload finds its share, in both stores."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, demands, site
from scheduler.control.ports.ledger import RecordedShare, RecordReference
from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.filter import RecordFilter
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.move import move_ledger
from scheduler.ledger.pages import read_page
from scheduler.ledger.reader import LedgerReader, decision_json, find_undoing
from scheduler.ledger.record import EQUAL_KIND
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import read_recorded_decision, replay
from scheduler.ledger.storage import sqlite
from scheduler.ledger.storage.places import LedgerPlace, ledger_place
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.verify import verify
from scheduler.model.canonical import canonical_json
from scheduler.model.decision import Subject, decision_bytes, expand
from scheduler.model.demand.assignment import AssignedReplicas, AssignedWorkload
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.loss_plan import KeptPlans, make_loss_plan
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.equal_work import choose_equal, choose_moves
from scheduler.placement.fleet.fleet import Fleet
from tests.property.placement.test_equal_work import (
    FORMS,
    SHAPES,
    decided_singly,
    moving,
    subjects_of,
    varied_demand,
    varied_site,
)
from tests.support.tools import require_kernel

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration

EPOCH = 7


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    if request.param == "sqlite":
        return ledger_place(tmp_path, None)
    return ledger_place(tmp_path, request.getfixturevalue("postgres").new_database())


def open_ledger(place: LedgerPlace) -> Ledger:
    if isinstance(place, PostgresUrl):
        return Ledger(Path(), url=place)
    return Ledger(place.parent)


def fleet_facts(seed: int) -> list[SiteFacts]:
    random = Random(seed)  # noqa: S311 - a test, seeded
    return [varied_site(site(number, 4, FORMS, random), random) for number in range(25)]


def plain_demand(seed: int) -> Demand:
    random = Random(seed)  # noqa: S311 - a test, seeded
    return varied_demand(next(iter(demands(SHAPES, 1, random))), random)


async def record_equal(
    recorder: LedgerRecorder, demand: Demand, subjects: list[Subject], fleet: Fleet
) -> list[RecordReference]:
    """Decides and records them in one step; every other one has a spec of its own."""
    decisions = choose_equal(demand, subjects, fleet, now=NOW)
    prepared = recorder.prepare_equal(
        epoch=EPOCH,
        at=NOW,
        demand=demand,
        terms=DEFAULT_TERMS,
        decisions=decisions,
        shares=[
            RecordedShare(
                spec=WorkloadSpec(replicas=1 + index % 2),
                incarnation=f"i{index}",
                references=() if index % 3 == 0 else ({"kind": "Secret", "name": f"s{index % 3}"},),
            )
            for index in range(len(subjects))
        ],
    )
    return [await one() for one in prepared]


async def test_each_share_is_found_and_is_what_the_single_path_decides(place: LedgerPlace) -> None:
    require_kernel()
    random = Random(5)  # noqa: S311 - a test, seeded
    expected: dict[str, bytes] = {}
    async with open_ledger(place) as ledger:
        recorder = LedgerRecorder(ledger)
        for number in range(4):
            facts, demand = fleet_facts(number), plain_demand(number)
            for one in facts:
                recorder.update_facts(one.name, one)
            subjects = subjects_of(number, 7, random)
            references = await record_equal(recorder, demand, subjects, Fleet(facts))
            assert {(one.id, one.hash) for one in references} == {
                (references[0].id, references[0].hash)
            }
            assert [one.index for one in references] == list(range(7))
            singly = decided_singly(demand, subjects, Fleet(facts), DEFAULT_TERMS)
            expected |= {one.workload: each for one, each in zip(subjects, singly, strict=True)}
    with LedgerReader(place) as reader:
        assert reader.count() == 4
        for number, (subject, decision) in enumerate(expected.items()):
            share = reader.last_about(subject)
            assert share is not None
            assert (share.subject, share.index) == (subject, number % 7)
            assert share.content["incarnation"] == f"i{number % 7}"
            at = number % 7 % 3  # two of three have something that goes along
            named = [{"kind": "Secret", "name": f"s{at}"}] if at else None
            assert share.content.get("references") == named
            assert "referenceSets" not in share.content
            assert canonical_json(share.content["decision"]) == decision
            assert share == reader.find(share.id)
            assert replay(reader, share).is_same
            inputs = read_recorded_decision(reader, share)
            alone = choose(inputs.demand, inputs.fleet, now=NOW, terms=inputs.terms)
            assert decision_bytes(alone) == decision
        for whole in reader.records():
            assert (whole.kind, whole.index) == (EQUAL_KIND, None)
            assert replay(reader, whole).is_same
        assert verify(reader).is_ok


async def filled(place: LedgerPlace, count: int = 3) -> list[RecordReference]:
    """A ledger with a step of so many, of which the second was not carried out."""
    async with open_ledger(place) as ledger:
        recorder = LedgerRecorder(ledger)
        facts = fleet_facts(1)
        for one in facts:
            recorder.update_facts(one.name, one)
        plain = next(iter(demands(SHAPES, 1, Random(1))))  # noqa: S311 - a test, seeded
        demand = replace(plain, key="team/job", spread=(), latency=(), replicas=1)
        subjects = [Subject(workload=f"team/job-{number}") for number in range(count)]
        found = await record_equal(recorder, demand, subjects, Fleet(facts))
        await recorder.record_not_carried_out(
            subject="team/job-1",
            epoch=EPOCH,
            at=NOW,
            decision=f"{found[1].id}#1",
            why="conflict",
            incarnation="i1",
        )
        assert recorder.last_accepted("team/job-1") is None
        accepted = recorder.last_accepted("team/job-2")
        assert accepted is not None
        assert (accepted.demand.key, accepted.spec.replicas) == ("team/job-2", 1)
        assert recorder.identity_of("team/job-0").incarnation == "i0"
    return found


async def test_only_the_share_that_was_not_carried_out_has_no_effect(place: LedgerPlace) -> None:
    found = await filled(place)
    with LedgerReader(place) as reader:
        assert [one.subject for one in RecordFilter(at=NOW).select(reader.records, 0, 9)] == [
            "team/job-0",
            "team/job-2",
        ]
        undone = reader.find(f"{found[1].id}#1")
        other = reader.find(f"{found[1].id}#2")
        assert undone is not None
        assert other is not None
        undoing = find_undoing(reader, undone)
        assert undoing is not None
        assert undoing.content["line"] == f"{undone.id} was not carried out: conflict"
        assert find_undoing(reader, other) is None
        assert [one.id for one in reader.records(subject="team/job-1")] == [undone.id, undoing.id]
        assert reader.last_about("team/job-1") is None
        assert reader.find(f"{found[1].id}#3") is None
        assert reader.find(f"{undoing.id}#0") == undoing
        assert undone.content["decision"]["phase"] == "Placed"
        at_site = RecordFilter(site=undone.content["decision"]["assignment"][0]["site"])
        assert [one.seq for one in at_site.select(reader.records, 0, 9)] == [undone.seq]
    page = json.loads(read_page(place, {"about": "team/job-2"}))["records"]
    assert [one["id"] for one in page] == [other.id]
    shown = decision_json(place, other.id)
    assert shown is not None
    assert json.loads(shown)["subject"] == "team/job-2"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM shares WHERE position = 1",
        "UPDATE shares SET subject = 'team/other' WHERE position = 1",
        "UPDATE shares SET position = 7 WHERE position = 2",
        "INSERT INTO shares (subject, seq, position) VALUES ('team/other', 2, 0)",
    ],
)
async def test_an_edited_index_is_found(tmp_path: Path, statement: str) -> None:
    place = ledger_place(tmp_path, None)
    await filled(place)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as file:
        file.execute(statement)
    with LedgerReader(place) as reader:
        finding = verify(reader).first_finding
        assert finding is not None
        assert "index" in finding.sentence
        if "other' WHERE" in statement:
            with pytest.raises(LedgerCorruptError, match="is not about team/other"):
                reader.last_about("team/other")


async def test_a_ledger_with_shares_moves_with_its_index(
    tmp_path: Path, postgres: "PostgresServer"
) -> None:
    source, place = ledger_place(tmp_path, None), postgres.new_database()
    await filled(source)
    move_ledger(source, place)
    with LedgerReader(place) as reader:
        assert [one.id for one in reader.records(subject="team/job-2")] == [f"{EPOCH}-1#2"]
        assert verify(reader).is_ok


async def test_the_first_shares_raise_the_format_so_that_a_version_before_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ledger_place(tmp_path, None)
    async with open_ledger(place):
        pass
    with monkeypatch.context() as before:
        before.setattr(sqlite, "LEDGER_FORMAT", 1)
        LedgerReader(place).close()
    await filled(place)
    monkeypatch.setattr(sqlite, "LEDGER_FORMAT", 1)
    with pytest.raises(LedgerCorruptError, match="format 2, and this Kapok reads up to 1"):
        LedgerReader(place)


async def test_a_file_of_a_version_before_is_read_and_then_takes_shares(tmp_path: Path) -> None:
    place = ledger_place(tmp_path, None)
    async with open_ledger(place):
        pass
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as file:
        file.execute("DROP TABLE shares")
    with LedgerReader(place) as reader:
        assert reader.records(subject="team/job-0") == []
        assert reader.last_about("team/job-0") is None
        assert verify(reader).is_ok
        await filled(place)
        assert [one.index for one in reader.records(subject="team/job-0")] == [0]


def test_expanding_counts_from_zero() -> None:
    subjects = [Subject(workload="team/a"), Subject(workload="team/b")]
    decided = choose_equal(plain_demand(1), subjects, Fleet(fleet_facts(1)), now=NOW)
    assert expand(decided, 0).workload == "team/a"
    with pytest.raises(IndexError):
        expand(decided, 2)


async def test_equal_moves_by_a_kept_plan_are_one_record_that_replays(place: LedgerPlace) -> None:
    require_kernel()
    random = Random(4)  # noqa: S311 - a test, seeded
    facts = [replace(one, name=f"m-{number}") for number, one in enumerate(fleet_facts(1))]
    demand = moving(next(iter(demands(SHAPES, 1, random))), "m-0", random)
    subjects = subjects_of(0, 6, random)
    listed = tuple(
        AssignedWorkload(
            workload=one.workload,
            sites=(AssignedReplicas(site=f"m-{1 + number % 3}", replicas=demand.replicas),),
        )
        for number, one in enumerate(subjects)
    )
    plan = make_loss_plan("m-0", {"m-0"}, listed)
    kept = KeptPlans((plan,))
    entries = {
        one.workload: kept.entry_for(one.workload, ["m-0"], lambda _: True) for one in subjects
    }
    assigned = {key: one for key, one in entries.items() if one is not None}
    moves = choose_moves(demand, subjects, Fleet(facts), now=NOW, assigned=assigned)
    assert any(one.batch for one in moves.outcomes)
    async with open_ledger(place) as ledger:
        recorder = LedgerRecorder(ledger)
        for one in facts:
            recorder.update_facts(one.name, one)
        appends = recorder.prepare_equal(
            epoch=EPOCH,
            at=NOW,
            demand=demand,
            terms=DEFAULT_TERMS,
            decisions=moves,
            shares=[RecordedShare(spec=WorkloadSpec(replicas=1))] * len(moves.subjects),
            followed={"assignment": plan.version, "planOf": "m-0", "plan": listed},
        )
        for append in appends:
            await append()
    with LedgerReader(place) as reader:
        for index, subject in enumerate(moves.subjects):
            share = reader.last_about(subject.workload)
            assert share is not None
            assert (share.content["assignment"], share.content["planOf"]) == (plan.version, "m-0")
            assert replay(reader, share).is_same
            recorded = read_recorded_decision(reader, share)
            assert recorded.assigned == assigned[subject.workload]
            again = choose(recorded.demand, recorded.fleet, now=NOW, assigned=recorded.assigned)
            assert decision_bytes(again) == decision_bytes(expand(moves, index))
        whole = reader.last()
        assert whole is not None
        assert whole.kind == EQUAL_KIND
        assert replay(reader, whole).sentence.endswith(
            f"{len(moves.subjects)} decisions, each the same"
        )
