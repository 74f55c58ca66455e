"""A fault of ours that one object brings out: it is tried again, and the others go on."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from scheduler.control.controller import Controller
from tests.support.fake_clock import FakeClock

FAULTS = [RuntimeError("generator raised StopIteration"), KeyError("x"), ZeroDivisionError()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: type(each).__name__)
async def test_what_one_workload_brings_out_does_not_end_the_work_on_others(
    fault: Exception,
) -> None:
    turns = iter([("ns", "bad"), ("ns", "good")])
    finished: list[tuple[str, str]] = []
    results: list[str] = []

    async def take() -> tuple[str, str]:
        key = next(turns, None)
        if key is None:
            raise asyncio.CancelledError
        return key

    async def reconcile(key: tuple[str, str]) -> str:
        if key == ("ns", "bad"):
            raise fault
        return "placed"

    loop = SimpleNamespace(
        queue=SimpleNamespace(take=take, finish=finished.append),
        clock=FakeClock(),
        reconciler=SimpleNamespace(reconcile=reconcile),
        telemetry=SimpleNamespace(observe_attempt=lambda result, _seconds: results.append(result)),
        _handle_outcome=lambda _key, outcome: outcome,
        _retry=lambda _key: "retry",
        _signal_freed_resources=lambda: None,
    )
    with pytest.raises(asyncio.CancelledError):
        await Controller.run_worker(cast("Controller", loop))
    assert finished == [("ns", "bad"), ("ns", "good")]
    assert results == ["retry", "placed"]
