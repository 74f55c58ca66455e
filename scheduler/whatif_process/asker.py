"""Starts a process for each question, and ends it when its time is over or the asker is gone.

It is given a copy of the state, which is quick to take, as all values in it are immutable.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import chain

import msgspec

from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.model.packed_manifests import plain_manifests
from scheduler.runtime.clock import SystemClock, yield_thread
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy
from scheduler.whatif.questions import Question
from scheduler.whatif_process.messages import WhatIfPlan, failed_line

_CHUNK_BYTES = 1 << 18
_MAX_LINE_BYTES = 256 << 20
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""More threads would take other cores, and address space."""


_LAST_LINES = (b'{"answer"', b'{"refused"', b'{"failed"')


class WhatIfAsker:
    """Answers questions from copies of the present state.

    Args:
        take_copy: takes a copy; called on the event loop.
        budget_seconds: a question that takes longer is ended.
        memory_mebibytes: the most memory that its process may have.
    """

    def __init__(
        self,
        take_copy: Callable[[], FleetCopy],
        *,
        budget_seconds: float = 120.0,
        memory_mebibytes: int = 4096,
    ) -> None:
        self._take_copy = take_copy
        self._budget_seconds = budget_seconds
        self._memory_mebibytes = memory_mebibytes

    async def ask(self, question: Question) -> AsyncGenerator[bytes, None]:
        """Yields lines of JSON: progress, and last the answer, a refusal or a failure."""
        copy = self._take_copy()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scheduler.whatif_process.child", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | _ONE_THREAD,
                start_new_session=True,  # Ctrl-C reaches the scheduler alone, which ends it
                limit=_MAX_LINE_BYTES,
            )
        except OSError as error:
            yield failed_line(f"its process does not start: {error}")
            return
        try:
            async for line in self._converse(process, question, copy):
                yield line
        finally:
            await _end(process)

    async def _converse(
        self, process: asyncio.subprocess.Process, question: Question, copy: FleetCopy
    ) -> AsyncIterator[bytes]:
        """Writes the question; yields the lines of the process, the last of which is an answer."""
        clock = SystemClock()
        ends_at, line, problem = clock.monotonic() + self._budget_seconds, b"", ""
        try:
            async with asyncio.timeout(self._budget_seconds):
                await self._write(process, question, copy)
            while True:
                async with asyncio.timeout(max(0.0, ends_at - clock.monotonic())):
                    found = await _read_line(process)
                if not found:
                    break
                line = found
                yield line
        except TimeoutError:
            problem = f"it took longer than {self._budget_seconds:g} s"
        except ValueError:
            problem = "its answer is too large"
        if problem or not line.startswith(_LAST_LINES):
            yield failed_line(problem or "its process ended without an answer")

    async def _write(
        self, process: asyncio.subprocess.Process, question: Question, copy: FleetCopy
    ) -> None:
        if process.stdin is None:
            return
        chunks = self._encoded_chunks(question, copy)
        with suppress(BrokenPipeError, ConnectionResetError):  # then there is no answer either
            while chunk := await asyncio.to_thread(next, chunks, b""):
                process.stdin.write(chunk)
                await process.stdin.drain()

    def _encoded_chunks(self, question: Question, copy: FleetCopy) -> Iterator[bytes]:
        """The lines of a question, encoded a few at a time; runs in a thread."""
        plan = WhatIfPlan(
            question=question,
            objects=copy.objects,
            sites=len(copy.facts),
            workloads=len(copy.workloads),
            budget_seconds=self._budget_seconds,
            memory_mebibytes=self._memory_mebibytes,
        )
        encode = msgspec.json.Encoder(enc_hook=plain_manifests).encode
        chunk = bytearray()
        for one in chain((plan,), copy.facts, copy.workloads):
            chunk += encode(one) + b"\n"
            yield_thread()
            if len(chunk) >= _CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)


async def _read_line(process: asyncio.subprocess.Process) -> bytes:
    """The next line; empty at the end.

    Raises:
        ValueError: the line is too long.
    """
    return b"" if process.stdout is None else await process.stdout.readline()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills the process if it still runs: it holds nothing that would be lost."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def take_fleet_copy(
    objects: HubObjects,
    inputs: DecisionInputs,
    *,
    max_silent_ratio: float,
    is_failover_enabled: bool,
    freeze: str = "",
    **limits: float,
) -> FleetCopy:
    """The state now, with what is decided and not written yet; call it on the event loop.

    Args:
        objects: the hub's objects.
        inputs: the fleet, with what is in flight and reserved, the time and the terms. Scarcity
            prices are left out: they are of this backlog, and not of that of a scenario.
        max_silent_ratio: evictions freeze when more than this share of the fleet falls silent.
        is_failover_enabled: whether anything is replaced without an operator's word.
        freeze: why nothing is evicted now; empty: evictions are allowed.
        limits: the times and the rate of failover, as `CopyObjects` names them.
    """
    return FleetCopy(
        objects=CopyObjects(
            now=inputs.now(),
            terms=inputs.base_terms,
            scheme=objects.default_scheme(),
            tenants=tuple(objects.tenants.values()),
            policies=tuple(objects.policies.values()),
            cluster_policies=tuple(objects.cluster_policies.values()),
            grants=tuple(objects.grants.values()),
            max_silent_ratio=max_silent_ratio,
            is_failover_enabled=is_failover_enabled,
            freeze=freeze,
            **limits,
        ),
        facts=tuple(one for one in inputs.fleet.facts if one is not None),
        workloads=tuple(objects.present_workloads()),
    )
