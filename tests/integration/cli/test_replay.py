"""A recorded decision is made again from the record alone, byte for byte."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.cli.entry import main
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import read_recorded_decision, replay
from scheduler.model.canonical import canonical_digest
from scheduler.model.decision import ENGINE_VERSION, Decision
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts, site_facts_of
from scheduler.model.demand.terms import DEFAULT_TERMS, ScarcityPrice, Terms
from scheduler.model.kinds.rights import SiteGrant
from scheduler.model.kinds.site import Site
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet

pytestmark = pytest.mark.integration
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def facts_of(name: str, cpu: str) -> SiteFacts:
    site = {
        "metadata": {"name": name},
        "spec": {"location": {"province": "CN-GD"}, "prices": {"energyCnyPerKwh": 0.6}},
        "status": {
            "observedAt": "2026-11-24T11:59:50Z",
            "conditions": [{"type": "Ready", "status": "True"}],
            "apiKinds": ["apps/v1/Deployment"],
            "nodeClasses": [
                {
                    "architecture": "amd64",
                    "free": [{"count": 3, "cpu": cpu, "memory": "32Gi", "pods": 110}],
                }
            ],
        },
    }
    grant = {
        "metadata": {"name": "all"},
        "spec": {
            "sites": [name],
            "dataClass": "general-3",
            "protectionLevel": 3,
            "jurisdiction": "CN-GD",
        },
    }
    return site_facts_of(msgspec.convert(site, Site), [msgspec.convert(grant, SiteGrant)])


def demand(data_class: str = "general-2") -> Demand:
    workload = {
        "metadata": {"name": "appointment", "namespace": "health"},
        "spec": {
            "dataClass": data_class,
            "demand": {"replicas": 4, "requests": {"cpu": "2", "memory": "4Gi"}},
            "placement": {"strategy": "Balanced"},
        },
    }
    found = demand_of(msgspec.convert(workload, Workload))
    assert isinstance(found, Demand)
    return found


async def record(data_dir: Path, asked: Demand, change: dict[str, Any] | None = None) -> Decision:
    """Decides on two sites and records it; `change` falsifies the recorded decision."""
    fleet = Fleet()
    async with Ledger(data_dir) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in (facts_of("b-core", "16"), facts_of("a-edge", "4")):
            fleet.upsert(facts)
            recorder.update_facts(facts.name, facts)
        decision = choose(asked, fleet, now=NOON, terms=DEFAULT_TERMS)
        written = msgspec.structs.replace(decision, **(change or {}))
        content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": written}
        await recorder.record(
            subject=asked.key, epoch=3, at=NOON, content=content, spec=WorkloadSpec()
        )
        recorder.update_facts("a-edge", None)  # later changes of the fleet touch no old record
        await recorder.record(
            subject=asked.key, epoch=3, at=NOON, content=content, spec=WorkloadSpec()
        )
    return decision


def replayed(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["replay", "3-1", "--data-dir", str(data_dir), "-o", "json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, answer


@pytest.mark.parametrize("data_class", ["general-2", "general-4"])
async def test_the_same_engine_decides_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data_class: str
) -> None:
    decision = await record(tmp_path, demand(data_class))
    assert decision.phase == ("Placed" if data_class == "general-2" else "Refused")
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["decision"], answer["same"]) == (0, "3-1", True)


async def test_another_decision_is_shown_beside_the_recorded_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = await record(tmp_path, demand(), {"line": "placed on the minister's laptop"})
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["same"]) == (1, False)
    assert answer["recorded"]["line"] == "placed on the minister's laptop"
    assert answer["again"]["line"] == decision.line
    assert main(["replay", "3-1", "--data-dir", str(tmp_path)]) == 1
    assert decision.line in capsys.readouterr().out


OTHER_WORDS = {"engine": "3", "line": "in the words of before", "notes": ("so it was",)}


async def test_an_engine_with_the_same_rules_and_other_words_decided_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(tmp_path, demand(), OTHER_WORDS)
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["same"]) == (0, True)
    sentence = "3-1 decided again: the same; engine 3 may have worded its texts differently"
    assert answer["sentence"] == sentence


async def test_a_different_decision_of_an_earlier_engine_proves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(tmp_path, demand(), {**OTHER_WORDS, "optimal": False})
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["same"]) == (1, None)
    assert f"engine {ENGINE_VERSION}, which decides otherwise: replay it" in answer["sentence"]


async def test_another_engine_makes_no_claim_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(tmp_path, demand(), {"engine": "0"})
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["same"]) == (1, None)
    assert "engine 0" in answer["sentence"]


@pytest.mark.parametrize(("engine", "by"), [({"engine": "99"}, "engine 99"), ({}, "engine 1")])
async def test_a_decision_of_another_engine_is_recognised_whatever_else_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: dict[str, str], by: str
) -> None:
    decision = await record(tmp_path / "now", demand())
    assert msgspec.to_builtins(decision)["engine"] == decision.engine
    content = {"decision": {"workload": "health/appointment", "unheard": 1, **engine}}
    async with Ledger(tmp_path) as ledger:
        await LedgerRecorder(ledger).record(
            subject="health/appointment", epoch=3, at=NOON, content=content, spec=WorkloadSpec()
        )
    code, answer = replayed(tmp_path, capsys)
    assert (code, answer["same"]) == (1, None)
    assert f"decided by {by}, and this program has engine {ENGINE_VERSION}" in answer["sentence"]


async def test_a_record_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(tmp_path, demand())
    assert main(["replay", "9-9", "--data-dir", str(tmp_path)]) == 1
    assert "ledger list" in capsys.readouterr().err
    assert main(["replay", "9-9", "--data-dir", str(tmp_path / "none")]) == 2


async def test_scarcity_prices_are_stored_once_and_decided_by_again(tmp_path: Path) -> None:
    prices = tuple(
        ScarcityPrice(site=name, resource="cpu", cny_per_unit_hour=price)
        for name, price in (("a-edge", 0.001), ("b-core", 0.25))
    )
    terms = Terms(scarcity=prices, scarcity_version=canonical_digest(prices))
    fleet, asked = Fleet(), demand()
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in (facts_of("b-core", "16"), facts_of("a-edge", "4")):
            fleet.upsert(facts)
            recorder.update_facts(facts.name, facts)
        content = {"terms": terms, "demand": asked}
        content["decision"] = choose(asked, fleet, now=NOON, terms=terms)
        for _ in range(2):
            await recorder.record(
                subject=asked.key, epoch=3, at=NOON, content=content, spec=WorkloadSpec()
            )
    with LedgerReader(tmp_path / "ledger.db") as reader:
        for record in reader.records(0, 10, subject=asked.key):
            assert terms.scarcity_version in record.refs
            assert "scarcity" not in record.content["terms"]
            case = read_recorded_decision(reader, record)
            assert case.terms == terms
            assert replay(reader, record).is_same is True
