"""Starts a process for each batch, and ends it when its time is over or its caller is cancelled."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import msgspec

from scheduler.batch_process.messages import DECODE_ANSWER, BatchFailed, BatchPlan, BatchSolved
from scheduler.control.ports.batch_solver import BatchInputs, BatchNotSolved
from scheduler.placement.batch.place import BatchOutcome
from scheduler.runtime.clock import yield_thread

_CHUNK_BYTES = 1 << 18
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""More threads would take other cores, and address space."""


class BatchProcess:
    """Implements `scheduler.control.ports.batch_solver.BatchSolver`.

    Args:
        budget_seconds: a batch that takes longer is ended, and has no outcome.
        memory_mebibytes: the most memory that its process may have.
    """

    def __init__(self, *, budget_seconds: float, memory_mebibytes: int) -> None:
        self._budget_seconds = budget_seconds
        self._memory_mebibytes = memory_mebibytes

    async def solve(self, inputs: BatchInputs) -> BatchOutcome:
        """Solves one batch in a process of its own.

        Raises:
            BatchNotSolved: there is no outcome.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scheduler.batch_process.child", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | _ONE_THREAD,
                start_new_session=True,  # Ctrl-C reaches the scheduler alone, which ends the batch
            )
        except OSError as error:
            raise BatchNotSolved(f"its process does not start: {error}") from error
        try:
            async with asyncio.timeout(self._budget_seconds):
                answer = await self._converse(process, inputs)
        except TimeoutError:
            raise BatchNotSolved(f"it took longer than {self._budget_seconds:g} s") from None
        finally:
            await _end(process)
        return _outcome_of(answer)

    async def _converse(self, process: asyncio.subprocess.Process, inputs: BatchInputs) -> bytes:
        """Writes the batch and reads the answer; empty when the process ended without one."""
        if process.stdin is None or process.stdout is None:
            return b""
        chunks = self._encoded_chunks(inputs)
        with suppress(BrokenPipeError, ConnectionResetError):  # then there is no answer either
            while chunk := await asyncio.to_thread(next, chunks, b""):
                process.stdin.write(chunk)
                await process.stdin.drain()
        return await process.stdout.read()

    def _encoded_chunks(self, inputs: BatchInputs) -> Iterator[bytes]:
        """The lines of a batch, encoded a few at a time; runs in a thread."""
        plan = BatchPlan(
            now=inputs.now,
            terms=inputs.terms,
            sites=len(inputs.facts),
            workloads=len(inputs.demands),
            budget_seconds=self._budget_seconds,
            memory_mebibytes=self._memory_mebibytes,
        )
        chunk = bytearray()
        for one in chain((plan,), inputs.facts, inputs.demands):
            chunk += msgspec.json.encode(one) + b"\n"
            yield_thread()
            if len(chunk) >= _CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills the process if it still runs: it holds nothing that would be lost."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _outcome_of(answer: bytes) -> BatchOutcome:
    if not answer:
        raise BatchNotSolved("its process ended without an answer")
    try:
        found: BatchSolved | BatchFailed = DECODE_ANSWER(answer)
    except msgspec.MsgspecError as error:
        raise BatchNotSolved(f"its answer cannot be read: {error}") from error
    if isinstance(found, BatchFailed):
        raise BatchNotSolved(found.text)
    return found.outcome
