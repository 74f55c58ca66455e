"""The cost of recording decisions so that they can be explained again, byte for byte."""

import asyncio
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks._city import NOW, next_report
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import SystemClock

_REPORT_EVERY = 10


def recording_milliseconds(fleet: Fleet, asked: list[Demand], random: Random) -> float:
    """Milliseconds per decision for its durable record, the state of the fleet included.

    The decisions are made before, and not timed. As in the scheduler each record is on disk before
    the next one begins, and one site reports after ten of them.
    """
    decided = [(demand, choose(demand, fleet, now=NOW)) for demand in asked]
    names = sorted(fleet.slot_of)
    with TemporaryDirectory() as folder:
        return asyncio.run(_record(Path(folder), fleet, names, decided, random))


async def _record(
    folder: Path,
    fleet: Fleet,
    names: list[str],
    decided: list[tuple[Demand, Decision]],
    random: Random,
) -> float:
    clock = SystemClock()
    async with Ledger(folder) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        seconds = 0.0
        for number, (demand, decision) in enumerate(decided):
            content = {"demand": demand, "terms": DEFAULT_TERMS, "decision": decision}
            if number % _REPORT_EVERY == 0:
                name = random.choice(names)
                recorder.update_facts(name, next_report(fleet.facts_of(name), random))
            begun = clock.monotonic()
            await recorder.record(
                subject=demand.key, epoch=1, at=NOW, content=content, spec=WorkloadSpec()
            )
            if number:  # the first stores the whole fleet, once
                seconds += clock.monotonic() - begun
    return seconds / max(1, len(decided) - 1) * 1000
