"""The row `equal` of `decide`: job classes of which many equal workloads wait together.

A step decides all that wait of one class, `COPIES` workloads of one replica each, and counts each
as in flight for the next. Then every site that got orders reports them as bound, with other free
capacity. Both are timed. No two classes are alike: their requests are those of the `plain` mix.
"""

from collections.abc import Iterator
from random import Random
from time import thread_time

from msgspec.structs import replace

from benchmarks._city import NOW, demands, next_report
from benchmarks._mixes import with_own_requests
from scheduler.model.decision import EqualDecisions, Subject, decision_bytes, expand
from scheduler.model.demand.demand import Demand
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


class TimedSteps:
    """Makes steps one after the other, and times them.

    Attributes:
        seconds: what all of them took so far, commits and reports included.
        steps: the CPU seconds of each, without the reports.
        placed: how many workloads were placed.
    """

    def __init__(self, fleet: Fleet, random: Random) -> None:
        self._fleet = fleet
        self._random = random
        self.seconds = 0.0
        self.steps: list[float] = []
        self.placed = 0

    def decide(self, demand: Demand) -> None:
        """One step and its commit, then the reports of all sites that got orders."""
        subjects = subjects_of(demand)
        begun = thread_time()
        decided = choose_equal(demand, subjects, self._fleet, now=NOW)
        taken = thread_time() - begun
        self.steps.append(taken)
        self.placed += sum(
            run.count for run in decided.runs if decided.outcomes[run.outcome].phase == "Placed"
        )
        self.seconds += taken + self._report(decided)

    def _report(self, decided: EqualDecisions) -> float:
        names = {each.site for outcome in decided.outcomes for each in outcome.assignment}
        reports = [next_report(self._fleet.facts_of(name), self._random) for name in sorted(names)]
        begun = thread_time()
        for report in reports:
            self._fleet.upsert(report)
        return thread_time() - begun

    @property
    def per_second(self) -> float:
        """Decisions per second, commits and reports included."""
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
