"""Records of what held evictions back: listed, explained, verified, and of no decision."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from tests.support.sites import NOW, demand, fleet_of, site_with_capacity, workload

pytestmark = pytest.mark.integration
LINE = "nothing is evicted: 3 sites fell silent together"


async def write_ledger(folder: Path, *silent: str) -> None:
    fleet = fleet_of(site_with_capacity("m1", 9))
    async with Ledger(folder) as ledger:
        recorder = LedgerRecorder(ledger)
        assert recorder.last_evictions() is None
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        asked = demand(workload(2, name="app"))
        content = {
            "demand": asked,
            "terms": DEFAULT_TERMS,
            "decision": choose(asked, fleet, now=NOW),
        }
        await recorder.record(
            subject=asked.key, epoch=3, at=NOW, content=content, spec=WorkloadSpec(replicas=2)
        )
        frozen = {"line": LINE, "frozen": True, "reason": "fleet", "held": [], "silent": silent}
        await recorder.record_evictions(epoch=3, at=NOW + timedelta(seconds=9), content=frozen)
        last = recorder.last_evictions()
        assert last is not None
        assert last["line"] == LINE


async def test_an_auditor_finds_why_nothing_was_evicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await write_ledger(tmp_path, "m1")
    where = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["ledger", "list", "--subject", "evictions", *where]) == 0
    (row,) = json.loads(capsys.readouterr().out)["records"]
    assert (row["id"], row["kind"], row["line"]) == ("3-2", "evictions", LINE)
    at = (NOW + timedelta(seconds=10)).isoformat()
    assert main(["ledger", "list", "--at", at, *where]) == 0
    rows = json.loads(capsys.readouterr().out)["records"]
    assert [one["id"] for one in rows] == ["3-1", "3-2"]
    assert main(["explain", "ns/app", *where]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["notes"][-1].startswith(f"evictions are held at m1: {LINE} (3-2, ")
    assert main(["explain", "ns/app", "--data-dir", str(tmp_path)]) == 0
    assert "evictions are held at m1" in capsys.readouterr().out
    assert main(["ledger", "verify", "--data-dir", str(tmp_path)]) == 0
    assert main(["replay", "3-1", *where]) == 0
    capsys.readouterr()
    assert main(["replay", "3-2", *where]) == 1
    sentence = json.loads(capsys.readouterr().out)["sentence"]
    assert sentence.startswith("3-2 is an evictions")


async def test_work_at_sites_that_report_is_explained_without_a_freeze(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await write_ledger(tmp_path, "m2")
    assert main(["explain", "ns/app", "--data-dir", str(tmp_path), "-o", "json"]) == 0
    assert not any("held" in note for note in json.loads(capsys.readouterr().out)["notes"])
