"""The row `equal` of `decide`: job classes of which many equal workloads wait together.

A step decides all that wait of one class, `COPIES` workloads of one replica each, counts each as in
flight for the next, and appends one record of `COPIES` shares to a ledger on the disk, with an
entry in the index for each and the state of the fleet. Then every site that got orders reports them
as bound, with other free capacity. All is timed as CPU time, that of the ledger's thread included;
the wait for the disk is not, as the next step does not wait for it, and has a column of its own. No
two classes are alike: their requests are those of the `plain` mix. The workloads of one class have
one spec; specs that differ, if only in the names of their manifests, are further blobs.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, thread_time
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from benchmarks._city import NOW, demands, next_report
from benchmarks._mixes import with_own_requests
from scheduler.control.ports.ledger import RecordedShare
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.decision import EqualDecisions, Subject, decision_bytes, expand
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.equal_work import choose_equal
from scheduler.placement.fleet.fleet import Fleet

MIX = "equal"
COPIES = 500


def job_classes(shapes: list[PodShape], count: int, random: Random) -> Iterator[Demand]:
    """What the workloads of each class ask."""
    for number, demand in enumerate(demands(shapes, count, random)):
        plain = replace(demand, key=f"jobs/class-{number}", spread=(), latency=(), replicas=1)
        yield with_own_requests(plain, number)


def subjects_of(demand: Demand, count: int = COPIES) -> list[Subject]:
    """The workloads of a class."""
    return [Subject(workload=f"{demand.key}-{number}") for number in range(count)]


class StepLedger:
    """A ledger in a folder that goes with it.

    Args:
        fleet: the sites whose state the first record holds.

    Attributes:
        waited_seconds: how long each record took until it was durable, in time on the wall.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.waited_seconds: list[float] = []
        self._fleet = fleet
        self._folder = TemporaryDirectory()
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._folder, self._runner:
            self._runner.run(self._ledger.__aexit__(kind, error, trace))

    async def _open(self) -> None:
        self._ledger = Ledger(Path(self._folder.name))
        self._recorder = LedgerRecorder(self._ledger)
        for facts in self._fleet.all_facts():
            self.update_facts(facts)

    def update_facts(self, facts: SiteFacts) -> None:
        """The next record has these facts of a site."""
        self._recorder.update_facts(facts.name, facts)

    def record(self, demand: Demand, decided: EqualDecisions) -> float:
        """Appends the record of a step; returns the CPU seconds of all threads when it is there."""
        begun, at = process_time(), perf_counter()
        self._runner.run(self._append(demand, decided))
        self.waited_seconds.append(perf_counter() - at)
        return process_time() - begun

    async def _append(self, demand: Demand, decided: EqualDecisions) -> None:
        spec = WorkloadSpec()
        prepared = self._recorder.prepare_equal(
            epoch=1,
            at=NOW,
            demand=demand,
            terms=DEFAULT_TERMS,
            decisions=decided,
            shares=[RecordedShare(spec=spec, incarnation=f"{n:010}") for n in range(COPIES)],
        )
        await prepared[0]()


class TimedSteps:
    """Makes steps one after the other, and times them.

    Attributes:
        seconds: what all of them took so far, commits, records and reports included.
        steps: the CPU seconds of each, without the reports.
        placed: how many workloads were placed.
    """

    def __init__(self, fleet: Fleet, random: Random, ledger: StepLedger) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._random = random
        self.seconds = 0.0
        self.steps: list[float] = []
        self.placed = 0

    def decide(self, demand: Demand) -> None:
        """One step, its commit and its record, then the reports of all sites that got orders."""
        subjects = subjects_of(demand)
        begun = thread_time()
        decided = choose_equal(demand, subjects, self._fleet, now=NOW)
        taken = thread_time() - begun
        self.steps.append(taken)
        self.placed += sum(
            run.count for run in decided.runs if decided.outcomes[run.outcome].phase == "Placed"
        )
        self.seconds += taken + self._ledger.record(demand, decided) + self._report(decided)

    def _report(self, decided: EqualDecisions) -> float:
        names = {each.site for outcome in decided.outcomes for each in outcome.assignment}
        reports = [next_report(self._fleet.facts_of(name), self._random) for name in sorted(names)]
        begun = thread_time()
        for report in reports:
            self._fleet.upsert(report)
            self._ledger.update_facts(report)
        return thread_time() - begun

    @property
    def per_second(self) -> float:
        """Decisions per second, commits, records and reports included."""
        return len(self.steps) * COPIES / self.seconds


def count_different(fleet: Fleet, demand: Demand) -> int:
    """How many decisions of a step differ from what the single path decides, byte for byte."""
    other, different = Fleet(fleet.all_facts()), 0
    subjects = subjects_of(demand)
    decided = choose_equal(demand, subjects, fleet, now=NOW)
    for index, subject in enumerate(subjects):
        single = replace(demand, key=subject.workload)
        decision = choose(single, other, now=NOW)
        other.assume(single, decision)
        different += decision_bytes(expand(decided, index)) != decision_bytes(decision)
    return different
