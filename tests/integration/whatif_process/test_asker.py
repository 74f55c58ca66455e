"""What-ifs in a process of their own: answers, refusals, limits, and no process left behind."""

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.model.packed_manifests import pack_manifests
from scheduler.whatif.answer import ask
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.questions import (
    CapacityQuestion,
    Question,
    SurvivalQuestion,
    WhatIfQuestion,
)
from scheduler.whatif.scenario.changes import LoseSites
from scheduler.whatif.survival.answer import ask_survival
from scheduler.whatif_process.asker import WhatIfAsker
from tests.support.sites import Raw, nodes, site, workload
from tests.support.whatifs import changes_of, copy_of

pytestmark = pytest.mark.integration

DEPLOYMENT: Raw = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "containers": [
                    {"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "1"}}}
                ]
            },
        },
    },
}


def small_copy() -> FleetCopy:
    """A copy whose manifests are packed, as a running scheduler holds them."""
    raw = workload(name="web", placed={"m1": 3}, manifests=[DEPLOYMENT])
    del raw["spec"]["demand"]
    copy = copy_of(site("m1", nodes(4)), site("m2", nodes(4)), site("m3", nodes(1)), raw)
    packed = tuple(
        msgspec.structs.replace(
            one,
            spec=msgspec.structs.replace(one.spec, manifests=pack_manifests(one.spec.manifests)),
        )
        for one in copy.workloads
    )
    return msgspec.structs.replace(copy, workloads=packed)


def children() -> set[int]:
    """The processes of what-ifs that this one has started."""
    mine = str(os.getpid()).encode()
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if b"scheduler.whatif_process.child" in words and mine in words.split(b"\0"):
            found.add(int(entry.name))
    return found


async def lines_of(asker: WhatIfAsker, question: Question) -> list[Any]:
    return [msgspec.json.decode(line) async for line in asker.ask(question)]


async def last_of(words: str, take_copy: Callable[[], FleetCopy], **limits: Any) -> Any:  # noqa: ANN401 - JSON
    asker = WhatIfAsker(take_copy, **limits)
    return (await lines_of(asker, WhatIfQuestion(changes=changes_of(words))))[-1]


async def test_the_process_answers_as_the_same_code_does_here() -> None:
    copy = small_copy()
    found = await last_of("drain m1", lambda: copy)
    assert found == {"answer": ask(copy, changes_of("drain m1"))}
    assert sum(one["replicas"] for one in found["answer"]["moves"]) == 3
    lines = await lines_of(WhatIfAsker(lambda: copy), CapacityQuestion())
    assert lines[-1]["answer"]["sites"][0]["name"] == "m1"
    assert lines[0].keys() == {"what", "done", "total"}


async def test_losses_are_judged_in_the_process_too() -> None:
    copy = small_copy()
    losses = (LoseSites(kind="site", value="m1"),)
    lines = await lines_of(WhatIfAsker(lambda: copy), SurvivalQuestion(losses=losses))
    assert lines[-1] == {"answer": ask_survival(copy, losses)}
    assert lines[-1]["answer"]["losses"][0]["survives"] is True


async def test_a_name_that_does_not_exist_is_refused() -> None:
    found = await last_of("drain m9", small_copy)
    assert "there is no site 'm9'" in found["refused"]


async def test_a_question_that_takes_too_long_or_too_much_ends() -> None:
    before = children()
    found = await last_of("drain m1", small_copy, budget_seconds=0.2)
    assert "longer than 0.2 s" in found["failed"]
    found = await last_of("drain m1", small_copy, memory_mebibytes=16)
    assert "failed" in found
    assert children() <= before


async def test_an_asker_that_is_gone_leaves_no_process() -> None:
    before = children()
    asker = WhatIfAsker(small_copy)
    question = WhatIfQuestion(changes=changes_of("load 1.5"))
    async with aclosing(asker.ask(question)) as lines:
        await anext(lines)
    assert children() <= before

    async def read() -> None:
        await lines_of(asker, question)

    async with asyncio.timeout(60):
        task = asyncio.create_task(read())  # noqa: TID251 - it is cancelled
        while children() <= before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)  # noqa: TID251 - it is waited for
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert children() <= before
