"""What of a site's figures is written to its status."""

from dataclasses import replace
from typing import Any

import msgspec

from scheduler.control.ports.hub import SITES, Refused
from scheduler.control.site_status_writer import SiteStatusWriter, truncate_status
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import FreeRow, NamespaceLimits, NodeClass, SiteStatus
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site


def test_the_status_of_a_site_is_never_larger_than_an_object_of_the_hub_may_be() -> None:
    long = "x" * 300
    labels = {f"{long}{one}": "v" * 60 for one in range(64)}
    free: tuple[FreeRow, ...] = tuple(
        {"count": 1, **{f"{long}-{row}-{one}": 1 for one in range(60)}} for row in range(9)
    )
    classes = tuple(NodeClass(gpu_model=f"g{one}", labels=labels, free=free) for one in range(100))
    limits: dict[str, int | float | str] = {f"{long}{one}": "1.5Gi" for one in range(64)}
    namespaces = tuple(NamespaceLimits(name=f"n{one}", quota_left=limits) for one in range(500))
    short = truncate_status(SiteStatus(node_classes=classes, namespaces=namespaces))
    assert len(msgspec.json.encode(short)) <= 512 * 1024
    assert short.truncated
    assert short.node_classes
    assert short.namespaces


async def test_a_refused_status_is_tried_again_after_growing_pauses() -> None:
    loops = ControlLoops()
    async with loops.started(site("m1", nodes(2), observedAt="2026-11-24T08:00:00Z")):
        attempts = list[float]()

        async def refuse(*_: object, **__: object) -> object:
            attempts.append(loops.clock.monotonic())
            raise Refused("422", status=422)

        write, loops.hub.merge_patch = loops.hub.merge_patch, refuse  # type: ignore[method-assign, assignment]
        writer = SiteStatusWriter(
            hub=loops.hub,
            sites=loops.sites,
            clock=loops.clock,
            interval_seconds=30.0,
            faults=loops.faults,
        )
        for _ in range(120):
            assert await writer.write_due() is None
            await loops.clock.advance(1)
        # With jitter: pauses between 1 s and at most 30 s, so far fewer than once a second.
        assert 4 <= len(attempts) <= 60
        loops.hub.merge_patch = write  # type: ignore[method-assign]
        for _ in range(31):
            assert await writer.write_due() is None
            await loops.clock.advance(1)
        assert (await loops.hub.get(SITES, "m1"))["status"]["freeCpu"]


async def test_sensors_whose_facts_are_missing_are_a_condition_of_the_site() -> None:
    loops = ControlLoops()
    async with loops.started(site("m1", nodes(2), observedAt="2026-11-24T08:00:00Z")):
        state = loops.sites.states["m1"]
        assert state.report is not None
        writer = SiteStatusWriter(
            hub=loops.hub,
            sites=loops.sites,
            clock=loops.clock,
            interval_seconds=30.0,
            faults=loops.faults,
        )

        async def condition() -> dict[str, str] | None:
            assert await writer.write_due() is None
            conditions = (await loops.hub.get(SITES, "m1"))["status"]["conditions"]
            return next((one for one in conditions if one["type"] == "FactsComplete"), None)

        assert await condition() is None
        state.report = replace(state.report, missing={"exporter-ups": 120.0})
        found = await condition()
        assert found is not None
        assert (found["status"], found["reason"]) == ("False", "SensorsMissing")
        assert "exporter-ups since 20" in found["message"]
        state.report = replace(state.report, missing={})
        assert await condition() is None


async def test_the_loss_of_a_site_is_written_when_its_answer_changes_and_not_before() -> None:
    loops, written = ControlLoops(), list[object]()
    async with loops.started(site("m1", nodes(2), observedAt="2026-11-24T08:00:00Z")):
        answer: list[Condition] = []
        writer = SiteStatusWriter(
            hub=loops.hub,
            sites=loops.sites,
            clock=loops.clock,
            interval_seconds=30.0,
            faults=loops.faults,
            survives_loss=lambda _site: answer[-1] if answer else None,
        )
        write = loops.hub.merge_patch

        async def count(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - as of the hub
            written.append(arguments)
            return await write(*arguments, **more)

        loops.hub.merge_patch = count  # type: ignore[method-assign]
        for status, sentence, writes in (
            ("True", "all has a place", 2),
            ("True", "other words", 2),
            ("False", "ns/web has none", 3),
        ):
            assert await writer.write_due() is None
            answer.append(
                Condition(type="SurvivesLoss", status=status, reason="R", message=sentence)  # type: ignore[arg-type]
            )
            assert await writer.write_due() is None
            assert len(written) == writes
        conditions = (await loops.hub.get(SITES, "m1"))["status"]["conditions"]
        (found,) = [one for one in conditions if one["type"] == "SurvivesLoss"]
        assert (found["status"], found["message"]) == ("False", "ns/web has none")
