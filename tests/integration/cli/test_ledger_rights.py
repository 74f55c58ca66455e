"""Over the network a token reads the records of the namespaces that it may read, and no others."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.cli.support.ledger_access import LedgerUnreachable, RemoteLedger
from scheduler.cli.support.web_access import WebClient
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage
from scheduler.inquiry.recorded import read_recorded
from scheduler.ledger.accounts.energy_pages import EnergyPages, rows_of
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.pages import (
    VisibleNames,
    read_blob,
    read_blob_of,
    read_page,
    without_other_names,
)
from scheduler.ledger.reader import LedgerReader, decision_json
from scheduler.ledger.replay import read_recorded_decision, replay
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight
from scheduler.model.demand.preemption import PossibleVictim, VictimShare
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from tests.integration.cli.test_replay import demand, facts_of, record
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults
from tests.support.ledgers import NOON
from tests.support.ports import free_port

pytestmark = pytest.mark.integration
KEY = "health/appointment"


def no_ledger() -> LedgerSource:
    def find(*_: object) -> bytes:
        raise LookupError("there is no ledger")

    return LedgerSource(find_decision=find, read_page=find, read_blob=find, read_blob_of=find)


@pytest.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    def with_work_in_flight(name: str, cpu: str) -> object:
        flights = (
            InFlight(workload="police/case-files", replicas=1, requests={"cpu": 500, "pods": 1}),
            InFlight(workload="health/other", replicas=1, requests={"cpu": 500, "pods": 1}),
        )
        return msgspec.structs.replace(facts_of(name, cpu), in_flight=flights)

    monkeypatch.setattr("tests.integration.cli.test_replay.facts_of", with_work_in_flight)
    await record(tmp_path, demand())
    await record(tmp_path, msgspec.structs.replace(demand(), key="police/case-files"))

    port = free_port()
    file, clock = tmp_path / LEDGER_FILE, FakeClock()
    sources = WebSources(
        take_snapshot=WebState(clock).take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=partial(decision_json, file),
            read_page=partial(read_page, file),
            read_blob=partial(read_blob, file),
            read_blob_of=partial(read_blob_of, file),
        ),
        readiness_problem=lambda: "",
        review_token=fake_reviewer({"auditor": [ALL], "tenant": ["health"], "nobody": []}),
        clock=clock,
        faults=make_faults(clock),
    )
    async with serve_web(WebListener(port=port), sources):
        yield f"http://127.0.0.1:{port}"


async def test_a_tenant_explains_and_replays_its_own_decisions(address: str) -> None:
    def read() -> None:
        remote = RemoteLedger(WebClient(address, "tenant"))
        newest = remote.last_about(KEY)
        assert newest is not None
        assert read_recorded_decision(remote, newest).decision.phase == "Placed"
        explained = read_recorded(remote, KEY, None)
        assert explained.decision is not None
        assert explained.notes == (), "what is held at silent sites is in a record for all"
        first = remote.find("3-1")
        assert first is not None
        assert replay(remote, first).is_same
        facts = read_recorded_decision(remote, first).fleet.facts_of("a-edge")
        named = [one.workload for one in facts.in_flight]
        assert "health/other" in named
        assert not any("police" in name for name in named), "whose the rest is, is not its business"
        assert len(remote.records(subject=KEY)) == 2

    await asyncio.to_thread(read)


async def test_a_tenant_is_refused_what_is_about_others_and_told_the_right(address: str) -> None:
    def read() -> None:
        remote = RemoteLedger(WebClient(address, "tenant"))
        for refused in (
            lambda: remote.last_about("police/case-files"),
            lambda: remote.records(subject="police/case-files"),
        ):
            with pytest.raises(LedgerUnreachable, match=r"may not get .* in namespace police"):
                refused()
        for refused in (remote.last, remote.records):
            with pytest.raises(LedgerUnreachable, match=r"may not list .* in all namespaces"):
                refused()

    await asyncio.to_thread(read)


async def test_a_tenant_reads_only_the_blobs_of_its_own_records(
    address: str, tmp_path: Path
) -> None:
    with LedgerReader(tmp_path / LEDGER_FILE) as reader:
        others = reader.find("3-4")
        own = reader.find("3-1")
    assert others is not None
    assert own is not None
    foreign = next(ref for ref in others.refs if ref not in own.refs)

    def read() -> None:
        remote = RemoteLedger(WebClient(address, "tenant"))
        remote.find("3-1")
        with pytest.raises(LedgerUnreachable, match="does not refer to"):
            remote.blob(foreign)
        assert json.dumps(RemoteLedger(WebClient(address, "auditor")).blob(foreign))
        with pytest.raises(LedgerUnreachable, match="HTTP 403"):
            RemoteLedger(WebClient(address, "nobody")).last_about(KEY)
        with pytest.raises(LedgerUnreachable, match="HTTP 401"):
            RemoteLedger(WebClient(address, "guess")).last_about(KEY)

    await asyncio.to_thread(read)


def victim(name: str, priority: int) -> PossibleVictim:
    shape = PodShape(requests={"cpu": 24000, "memory": 4 << 30, "pods": 1})
    return PossibleVictim(
        workload=f"police/{name}",
        tenant="vice-squad",
        priority=priority,
        created_at=NOON,
        unit=(Pods(shape=shape, count=1),),
        shares=(VictimShare(site="b-core", replicas=1),),
        budget="raid-budget (maxUnavailable: 0)",
        budget_left=1,
    )


async def test_a_tenant_learns_of_work_that_could_end_only_what_its_decision_names(
    address: str, tmp_path: Path
) -> None:
    spec = {"dataClass": "general-2", "demand": {"replicas": 1, "requests": {"cpu": "20"}}}
    urgent = {"metadata": {"name": "urgent", "namespace": "health"}, "spec": spec}
    asked = demand_of(msgspec.convert(urgent, Workload))
    assert isinstance(asked, Demand)
    listed = (victim("a-raid", 5), victim("case-files", 0), victim("d-twin", 0))
    asked = msgspec.structs.replace(asked, priority=10, preemption="LowerPriority", victims=listed)
    decision = await record(tmp_path, asked)
    assert decision.preemption is not None
    assert [one.workload for one in decision.preemption.victims] == ["police/case-files"]

    def read() -> None:
        for reads_all, token in enumerate(("tenant", "auditor")):
            remote = RemoteLedger(WebClient(address, token))
            newest = remote.find("3-5")
            assert newest is not None
            said = newest.body.decode() + "".join(
                json.dumps(remote.blob(one)) for one in newest.refs
            )
            secrets = ("a-raid", "d-twin", "vice-squad", "raid-budget")
            assert [one in said for one in secrets] == [bool(reads_all)] * len(secrets)
            again = replay(remote, newest)
            assert again.is_same, again.sentence
            priorities = [
                one.priority for one in read_recorded_decision(remote, newest).demand.victims
            ]
            assert priorities == [5, 0, 0], "what decided is there"

    await asyncio.to_thread(read)


async def test_a_tenant_sees_of_a_batch_what_it_assigned_to_its_own_work() -> None:
    listed = [{"workload": "police/files", "sites": {}}, {"workload": "health/web", "sites": {}}]
    assert without_other_names(listed, VisibleNames("health")) == listed[1:]
    prices = [{"site": "a", "cnyPerHour": 1.0}]
    assert without_other_names(prices, VisibleNames("health")) == prices


async def test_who_may_read_the_ledger_reads_the_month_over_the_network(
    address: str, tmp_path: Path
) -> None:
    row = EnergyHour(site="m1", hour=500_000, it_joules=3_600_000)
    async with Ledger(tmp_path) as ledger:
        for _ in range(3):
            await EnergyPages(ledger).append(epoch=3, at=NOON, page=EnergyPage(hours=(row,)))

    def read() -> None:
        remote = RemoteLedger(WebClient(address, "auditor"))
        assert [one.it_joules for one in rows_of(remote, 500_000, 500_001)] == [3_600_000] * 3
        with pytest.raises(LedgerUnreachable, match="HTTP 403"):
            list(rows_of(RemoteLedger(WebClient(address, "tenant")), 500_000, 500_001))

    await asyncio.to_thread(read)


async def test_a_token_without_rights_learns_not_even_which_ids_there_are(address: str) -> None:
    def read() -> None:
        refused = re.compile("no record of this id that the token may read|HTTP 401")
        for token in ("tenant", "guess"):
            with pytest.raises(LedgerUnreachable, match=refused):
                RemoteLedger(WebClient(address, token)).find("9-999")
            with pytest.raises(LedgerUnreachable, match=refused) as one_of_another:
                RemoteLedger(WebClient(address, token)).find("3-3")
            assert "police" not in str(one_of_another.value), "nor whose they are"

    await asyncio.to_thread(read)


def test_planned_starts_of_other_namespaces_have_no_names() -> None:
    runs = [
        {"workload": name, "pods": [{"workload": name, "replicas": 2}]}
        for name in ("health/nightly", "police/index")
    ]
    shown = without_other_names({"planned": runs}, VisibleNames("health"))["planned"]
    assert shown[0] == runs[0]
    assert shown[1]["workload"] == shown[1]["pods"][0]["workload"]
    assert "police" not in str(shown[1])
    assert shown[1]["pods"][0]["replicas"] == 2
