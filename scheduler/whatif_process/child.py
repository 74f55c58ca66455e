"""`python -m scheduler.whatif_process.child PARENT_PID`: answers the question that it reads.

It ends with the scheduler, also by kill -9, and by itself when its time is over.
"""

import sys
from typing import BinaryIO

import msgspec

from scheduler.model.words.sentence import json_bytes
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.helper_process import end_with_input, helper_output, limit_process

_PROGRESS_SECONDS = 0.5


def main() -> int:
    """Answers one question; the last line of its output says what became of it."""
    with helper_output() as output:
        output.write(_last_line(sys.stdin.buffer, output))
    return 0


def _last_line(lines: BinaryIO, output: BinaryIO) -> bytes:
    from scheduler.model.quantities import NotAQuantity  # noqa: PLC0415 - tied first
    from scheduler.whatif.scenario.changes import ScenarioError  # noqa: PLC0415
    from scheduler.whatif_process.messages import (  # noqa: PLC0415
        WhatIfPlan,
        failed_line,
        refused_line,
    )

    try:
        plan: WhatIfPlan = msgspec.json.decode(lines.readline(), type=WhatIfPlan)
        limit_process(plan.budget_seconds, plan.memory_mebibytes)
        return json_bytes({"answer": _answer(plan, lines, output)}) + b"\n"
    except (ScenarioError, NotAQuantity) as error:
        return refused_line(str(error))
    except MemoryError:
        return failed_line("it needs more memory than a what-if may have")
    except Exception as error:  # noqa: BLE001 - the scheduler says it
        return failed_line(f"{type(error).__name__}: {error}")


def _answer(plan: object, lines: BinaryIO, output: BinaryIO) -> dict[str, object]:
    from scheduler.model.demand.facts import SiteFacts  # noqa: PLC0415
    from scheduler.model.kinds.workload import Workload  # noqa: PLC0415
    from scheduler.whatif.fleet_copy import FleetCopy  # noqa: PLC0415
    from scheduler.whatif.questions import answer_question  # noqa: PLC0415
    from scheduler.whatif_process.messages import WhatIfPlan  # noqa: PLC0415

    assert isinstance(plan, WhatIfPlan)  # noqa: S101 - its type is imported after the tie
    read_facts = msgspec.json.Decoder(SiteFacts).decode
    read_workload = msgspec.json.Decoder(Workload).decode
    facts = tuple(read_facts(lines.readline()) for _ in range(plan.sites))
    workloads = tuple(read_workload(lines.readline()) for _ in range(plan.workloads))
    end_with_input()
    copy = FleetCopy(objects=plan.objects, facts=facts, workloads=workloads)
    return answer_question(plan.question, copy, _Progress(output).show)


class _Progress:
    """Writes now and then how far the answer is."""

    def __init__(self, output: BinaryIO) -> None:
        self._output, self._clock = output, SystemClock()
        self._next = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        from scheduler.whatif_process.messages import ProgressMessage  # noqa: PLC0415

        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            message = ProgressMessage(what=what, done=done, total=total)
            self._output.write(msgspec.json.encode(message) + b"\n")
            self._output.flush()


if __name__ == "__main__":
    sys.exit(main())
