"""A real process solves a batch: within its time and memory, and it never outlives its parent."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.batch_process.solver import BatchProcess
from scheduler.control.ports.batch_solver import BatchInputs, BatchNotSolved
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.fleet.fleet import Fleet
from tests.support.batches import place_batch
from tests.support.sites import NOW, demand, fleet_of, nodes, site, workload
from tests.support.up import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SPEC = {"prices": {"coreCnyPerHour": 0.05}}


def inputs(workloads: int = 4) -> BatchInputs:
    both = fleet_of(*(site(f"m{number}", nodes(4), spec=SPEC) for number in (1, 2)))
    return BatchInputs(
        facts=list(both.all_facts()),
        demands=[demand(workload(3, name=f"w{number}")) for number in range(workloads)],
        now=NOW,
        terms=DEFAULT_TERMS,
    )


def solver(*, seconds: float = 60.0, mebibytes: int = 4096) -> BatchProcess:
    return BatchProcess(budget_seconds=seconds, memory_mebibytes=mebibytes)


async def test_the_process_gives_the_same_outcome_as_this_one() -> None:
    asked = inputs()
    outcome = await solver().solve(asked)
    here = place_batch(asked.demands, Fleet(asked.facts), now=NOW, terms=DEFAULT_TERMS)
    assert outcome == replace(here, decisions=())
    assert outcome.terms.scarcity
    assert len(outcome.assigned) == 2


async def test_a_batch_is_ended_when_its_time_is_over() -> None:
    with pytest.raises(BatchNotSolved, match=r"longer than 0.05 s"):
        await solver(seconds=0.05).solve(inputs())
    assert not children()


async def test_a_batch_has_no_more_memory_than_allowed() -> None:
    with pytest.raises(BatchNotSolved, match=r"more memory|without an answer|Error"):
        await solver(mebibytes=64).solve(inputs())


async def test_a_batch_that_nobody_waits_for_is_ended() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await solver().solve(inputs(2000))
    assert not children()


def children() -> list[int]:
    """Processes of batches that this process has started and that still run."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [pid for pid in map(int, listed) if b"batch_process" in command_of(pid)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_process_ends_with_its_parent() -> None:
    code = (
        "import os, subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-m', 'scheduler.batch_process.child',"
        " str(os.getpid())], stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    parent.communicate()
    eventually(lambda: b"batch_process" not in command_of(pid))
