"""`python -m scheduler.batch_process.child PARENT_PID`: solves the batch that it reads, and ends.

It ends with the scheduler, also by kill -9, and by itself when its time is over.
"""

import sys
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from scheduler.runtime.helper_process import end_with_input, helper_output, limit_process

if TYPE_CHECKING:
    from scheduler.batch_process.messages import BatchPlan


def main() -> int:
    """Solves one batch; the exit code is 1 if there is no answer."""
    with helper_output() as output:
        output.write(_answer(sys.stdin.buffer))
    return 0


def _answer(lines: BinaryIO) -> bytes:
    from scheduler.batch_process.messages import BatchFailed, BatchPlan  # noqa: PLC0415 - tied first

    try:
        plan = msgspec.json.decode(lines.readline(), type=BatchPlan)
        limit_process(plan.budget_seconds, plan.memory_mebibytes)
        return _solve(plan, lines)
    except MemoryError:
        text = "it needs more memory than batch.memory_mebibytes allows"
    except Exception as error:  # noqa: BLE001 - the scheduler says it
        text = f"{type(error).__name__}: {error}"
    return msgspec.json.encode(BatchFailed(text=text))


def _solve(plan: "BatchPlan", lines: BinaryIO) -> bytes:
    import dataclasses  # noqa: PLC0415

    from scheduler.batch_process.messages import BatchSolved  # noqa: PLC0415
    from scheduler.model.demand.demand import Demand  # noqa: PLC0415
    from scheduler.model.demand.facts import SiteFacts  # noqa: PLC0415
    from scheduler.placement.batch.place import place_batch_in_steps  # noqa: PLC0415
    from scheduler.placement.fleet.fleet import Fleet  # noqa: PLC0415

    read_facts = msgspec.json.Decoder(SiteFacts).decode
    read_demand = msgspec.json.Decoder(Demand).decode
    fleet = Fleet(read_facts(lines.readline()) for _ in range(plan.sites))
    demands = [read_demand(lines.readline()) for _ in range(plan.workloads)]
    end_with_input()
    steps = place_batch_in_steps(demands, fleet, now=plan.now, terms=plan.terms)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome = dataclasses.replace(done.value, decisions=())
            return msgspec.json.encode(BatchSolved(outcome=outcome))


if __name__ == "__main__":
    sys.exit(main())
