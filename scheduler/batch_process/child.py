"""`python -m scheduler.batch_process.child PARENT_PID`: solves the batch that it reads, and ends.

It ends with the scheduler, also by kill -9, and by itself when its time is over.
"""

import os
import resource
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from scheduler.runtime.parent_death import tie_to_parent

if TYPE_CHECKING:
    from scheduler.batch_process.messages import BatchPlan

_NICENESS = 5
"""What decides and answers comes first on a busy machine, and a batch still ends in time."""
EXIT_FAILED = 1


def main() -> int:
    """Solves one batch; the exit code is 1 if there is no answer."""
    tie_to_parent(int(sys.argv[1]), death_signal=signal.SIGKILL)
    os.nice(_NICENESS)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    with os.fdopen(answers, "wb") as output:
        output.write(_answer(sys.stdin.buffer))
    return 0


def _answer(lines: BinaryIO) -> bytes:
    from scheduler.batch_process.messages import BatchFailed, BatchPlan  # noqa: PLC0415 - tied first

    try:
        plan = msgspec.json.decode(lines.readline(), type=BatchPlan)
        _limit(plan.budget_seconds, plan.memory_mebibytes)
        return _solve(plan, lines)
    except MemoryError:
        text = "it needs more memory than batch.memory_mebibytes allows"
    except Exception as error:  # noqa: BLE001 - the scheduler says it
        text = f"{type(error).__name__}: {error}"
    return msgspec.json.encode(BatchFailed(text=text))


def _limit(seconds: float, mebibytes: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    most = mebibytes << 20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


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
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    steps = place_batch_in_steps(demands, fleet, now=plan.now, terms=plan.terms)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome = dataclasses.replace(done.value, decisions=())
            return msgspec.json.encode(BatchSolved(outcome=outcome))


def _end_with_parent() -> None:
    """Ends the process when its standard input closes, where no signal comes when a parent dies."""
    while os.read(0, 1):
        pass
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
