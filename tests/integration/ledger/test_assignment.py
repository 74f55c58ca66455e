"""What a batch assigns is recorded once; decisions that follow it name it, and replay reads it."""

from pathlib import Path
from typing import Any

import pytest

from scheduler.ledger.errors import LedgerError
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import replay
from scheduler.model.demand.assignment import (
    AssignedReplicas,
    AssignedWorkload,
    BatchAssignment,
    assignment_version,
)
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.loss_plan import KeptPlans, make_loss_plan
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload

pytestmark = pytest.mark.integration


def two_sites() -> Fleet:
    return fleet_of(
        *(
            site(name, nodes(4), spec={"prices": {"coreCnyPerHour": price}})
            for name, price in (("cheap", 0.1), ("dear", 0.3))
        )
    )


def entry_of(name: str, place: str) -> AssignedWorkload:
    return AssignedWorkload(workload=name, sites=(AssignedReplicas(site=place, replicas=2),))


async def record_all(folder: Path, listed: tuple[AssignedWorkload, ...], asked: Demand) -> None:
    """Records a batch, a decision that follows it, and one that no batch has a part in."""
    fleet, version = two_sites(), assignment_version(listed)
    entry = BatchAssignment(version=version, sites=(AssignedReplicas(site="dear", replicas=2),))
    async with Ledger(folder) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        if listed:
            await recorder.record_batch(
                epoch=3, at=NOW, terms=DEFAULT_TERMS, assigned=listed, content={"solver": "highs"}
            )
        for assigned in (entry, None):
            decision = choose(asked, fleet, now=NOW, assigned=assigned)
            content: dict[str, Any] = {
                "demand": asked,
                "terms": DEFAULT_TERMS,
                "decision": decision,
            }
            if decision.batch is not None:
                content["assignment"] = decision.batch.assignment
            await recorder.record(
                subject=asked.key, epoch=3, at=NOW, content=content, spec=WorkloadSpec()
            )


async def test_a_followed_assignment_is_named_and_replayed(tmp_path: Path) -> None:
    listed = (entry_of("ns/app", "dear"), entry_of("ns/other", "cheap"))
    await record_all(tmp_path, listed, demand(workload(2)))
    with LedgerReader(tmp_path / "ledger.db") as reader:
        batch, followed, usual = reader.records(0, 10)
        version = assignment_version(listed)
        assert batch.content["assignment"] == followed.content["assignment"] == version
        assert version in followed.refs
        assert reader.blob(version)[1]["workload"] == "ns/other"
        assert followed.content["decision"]["batch"]["assignment"] == version
        assert "ns/other" not in str(followed.content)  # the list itself is in the batch alone
        assert "assignment" not in usual.content
        assert "batch" not in usual.content["decision"]
        assert replay(reader, followed).is_same
        assert replay(reader, usual).is_same
        assert followed.content["decision"]["assignment"] != usual.content["decision"]["assignment"]


async def test_a_list_that_does_not_name_the_workload_is_an_error(tmp_path: Path) -> None:
    listed = (entry_of("ns/other", "cheap"),)
    await record_all(tmp_path, listed, demand(workload(2)))
    with LedgerReader(tmp_path / "ledger.db") as reader:
        followed = reader.records(0, 10)[1]
        with pytest.raises(LedgerError, match="assigns nothing to ns/app"):
            replay(reader, followed)


async def test_the_list_of_a_kept_plan_is_stored_with_the_first_decision_that_follows_it(
    tmp_path: Path,
) -> None:
    listed = (entry_of("ns/app", "dear"), entry_of("ns/other", "cheap"))
    plan = make_loss_plan("province=CN-GD", {"m9"}, listed)
    entry = KeptPlans([plan]).entry_for("ns/app", ("m9",), lambda _site: True)
    asked, fleet = demand(workload(2)), two_sites()
    decision = choose(asked, fleet, now=NOW, assigned=entry)
    content: dict[str, Any] = {
        "demand": asked,
        "terms": DEFAULT_TERMS,
        "decision": decision,
        "assignment": plan.version,
        "planOf": plan.loss,
        "plan": plan.workloads,
    }
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        for _ in range(2):
            await recorder.record(
                subject=asked.key, epoch=3, at=NOW, content=content, spec=WorkloadSpec()
            )
        with pytest.raises(ValueError, match="not the digest"):
            await recorder.record(
                subject=asked.key,
                epoch=3,
                at=NOW,
                content=content | {"plan": listed[:1], "assignment": "sha256:" + "0" * 64},
                spec=WorkloadSpec(),
            )
    with LedgerReader(tmp_path / "ledger.db") as reader:
        first, second = reader.records(0, 10)
        for one in (first, second):
            assert one.content["assignment"] == plan.version
            assert one.content["planOf"] == "province=CN-GD"
            assert "plan" not in one.content  # it names work of others
            assert one.content["decision"]["batch"]["loss"] == "province=CN-GD"
            result = replay(reader, one)
            assert (result.is_same, "byte for byte" in result.sentence) == (True, True)
        assert reader.blob(plan.version)[1]["workload"] == "ns/other"
