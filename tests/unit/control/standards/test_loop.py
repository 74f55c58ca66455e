"""Standard objects are written behind, paced, only where served, and compared with the hub."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from scheduler.control.ports.hub import (
    NAMESPACE,
    SITES,
    ApiResource,
    Busy,
    Object,
    Refused,
)
from scheduler.control.standards.names import CLUSTER_PROFILES, PLACEMENT_DECISIONS
from scheduler.settings import StandardsSettings
from scheduler.term.loops import TermLoops
from scheduler.term.term import Term
from tests.support.control_loops import ControlLoops
from tests.support.fake_hub import FakeHub
from tests.support.standards_rig import StandardsRig


async def rig_with(*sites: str, **options: Any) -> StandardsRig:  # noqa: ANN401 - fields
    rig = StandardsRig(**options)
    for name in sites:
        await rig.add_site(name)
    return rig


async def test_each_site_has_a_profile_and_each_placed_workload_a_decision() -> None:
    rig = await rig_with("m1", "m2")
    await rig.place("app", "m2", "m1")
    await rig.place("waiting")
    assert await rig.write_due() is None
    profiles = await rig.profiles()
    assert set(profiles) == {"m1", "m2"}
    assert profiles["m1"]["status"]["conditions"][0]["status"] == "True"
    assert await rig.decided() == {"app": ["m1", "m2"]}
    assert rig.log_of_faults == []


async def test_an_unchanged_hub_costs_no_write() -> None:
    rig = await rig_with("m1")
    await rig.place("app", "m1")
    await rig.write_due()
    before = len(rig.telemetry.writes)
    assert before == 3  # a profile, its status, a decision
    await rig.write_due()
    await rig.clock.advance(601)  # lists again
    await rig.write_due()
    assert len(rig.telemetry.writes) == before
    await rig.restart()
    await rig.write_due()
    assert len(rig.telemetry.writes) == before


async def test_changes_between_two_passes_are_one_write() -> None:
    rig = await rig_with("m1", "m2")
    await rig.place("app", "m1")
    await rig.write_due()
    rig.telemetry.writes.clear()
    for sites in (("m2",), ("m1", "m2"), ("m2",)):
        await rig.place("app", *sites)
        rig.read_hub()
    await rig.write_due()
    assert rig.telemetry.writes == [("PlacementDecision", "written")]
    assert await rig.decided() == {"app": ["m2"]}


async def test_a_workload_that_has_no_place_any_more_has_no_decision() -> None:
    rig = await rig_with("m1")
    await rig.place("app", "m1")
    await rig.write_due()
    await rig.place("app")
    await rig.write_due()
    assert await rig.decisions() == []


async def test_a_hub_without_the_kinds_is_asked_once_a_minute_and_written_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig = await rig_with("m1", served=set())
    await rig.place("app", "m1")
    rig.read_hub()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rig.loop.run())
        await rig.clock.advance(301)
        task.cancel()
    assert rig.asked <= 2 * 6
    assert rig.telemetry.writes == []
    assert not caplog.records
    rig.served |= {CLUSTER_PROFILES, PLACEMENT_DECISIONS}  # they are installed
    await rig.clock.advance(61)
    await rig.write_due()
    assert await rig.decided() == {"app": ["m1"]}


async def test_without_profiles_no_decision_is_written() -> None:
    rig = await rig_with("m1", served={PLACEMENT_DECISIONS})
    await rig.place("app", "m1")
    await rig.write_due()
    assert await rig.decisions() == []


async def test_decisions_are_switched_off_alone() -> None:
    rig = await rig_with("m1", has_decisions=False)
    await rig.place("app", "m1")
    await rig.write_due()
    assert set(await rig.profiles()) == {"m1"}
    assert await rig.decisions() == []


async def test_a_site_that_goes_leaves_decisions_before_its_profile_goes() -> None:
    rig = await rig_with("m1", "m2")
    await rig.place("app", "m1", "m2")
    await rig.write_due()
    await rig.hub.delete(SITES, "m2")
    rig.telemetry.writes.clear()
    await rig.write_due()
    assert rig.telemetry.writes == [
        ("PlacementDecision", "written"),
        ("ClusterProfile", "deleted"),
    ]
    assert await rig.decided() == {"app": ["m1"]}


async def test_what_another_client_owns_stays() -> None:
    rig = await rig_with("m1")
    foreign = {"spec": {"clusterManager": {"name": "ocm"}}}
    meta = {"name": "m1", "namespace": NAMESPACE}
    await rig.hub.create(CLUSTER_PROFILES, {"metadata": meta, **foreign})
    theirs = {"name": "kapok-app-0", "namespace": "ns"}
    body = {"metadata": theirs, "schedulerName": "other", "decisions": []}
    await rig.hub.create(PLACEMENT_DECISIONS, body)
    await rig.place("app", "m1")
    await rig.write_due()
    assert (await rig.profiles())["m1"]["spec"] == foreign["spec"]
    assert [one["schedulerName"] for one in await rig.decisions()] == ["other"]


async def test_what_was_deleted_by_hand_comes_back_and_what_nobody_owns_goes() -> None:
    rig = await rig_with("m1")
    await rig.place("app", "m1")
    await rig.write_due()
    await rig.hub.delete(CLUSTER_PROFILES, "m1", NAMESPACE)
    stray = {"metadata": {"name": "x", "namespace": "ns"}, "schedulerName": "kapok"}
    await rig.hub.create(PLACEMENT_DECISIONS, {**stray, "decisions": []})
    await rig.clock.advance(601)
    await rig.write_due()
    assert set(await rig.profiles()) == {"m1"}
    assert [one["metadata"]["name"] for one in await rig.decisions()] == ["kapok-app-0"]


async def test_figures_are_written_once_a_minute_and_silence_at_once() -> None:
    rig = await rig_with("m1")
    await rig.write_due()

    async def report(**status: Any) -> int:  # noqa: ANN401 - fields
        before = len(rig.telemetry.writes)
        await rig.hub.merge_patch(SITES, "m1", {"status": status}, subresource="status")
        await rig.write_due()
        return len(rig.telemetry.writes) - before

    assert await report(freeCpu="3") == 0
    await rig.clock.advance(61)
    assert await report(freeCpu="2") == 1
    silent = {"type": "Ready", "status": "False", "reason": "Silent"}
    assert await report(conditions=[silent]) == 1
    shown = (await rig.profiles())["m1"]["status"]
    assert shown["properties"] == []


async def test_writes_are_paced_and_nearly_stop_while_work_waits() -> None:
    rig = await rig_with(*(f"m{number}" for number in range(100)))
    rig.read_hub()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rig.loop.run())
        await rig.clock.advance(0.5)
        assert 50 <= len(rig.telemetry.writes) <= 80
        rig.is_pressed = True
        await rig.clock.advance(0.1)
        before = len(rig.telemetry.writes)
        await rig.clock.advance(5)
        assert len(rig.telemetry.writes) - before <= 13
        rig.is_pressed = False
        await rig.clock.advance(10)
        task.cancel()
    assert len(rig.telemetry.writes) == 200


class TroubledHub(FakeHub):
    """Raises `trouble` for each apply."""

    trouble: Exception | None = None

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        if self.trouble is not None:
            raise self.trouble
        return await super().apply(
            resource, body, field_manager=field_manager, force=force, subresource=subresource
        )


async def test_a_busy_hub_ends_the_pass_and_nothing_is_lost() -> None:
    rig = await rig_with("m1", hub=(hub := TroubledHub()))
    await rig.place("app", "m1")
    hub.trouble = Busy("429", status=429, retry_after_seconds=7)
    trouble = await rig.write_due()
    assert isinstance(trouble, Busy)
    assert rig.telemetry.writes == []
    hub.trouble = None
    await rig.write_due()
    assert await rig.decided() == {"app": ["m1"]}


async def test_what_the_hub_refuses_is_set_aside_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await rig_with("m1", "m2", hub=(hub := TroubledHub()))
    hub.trouble = Refused("no", status=403, reason="Forbidden")
    for _ in range(5):
        assert await rig.write_due() is None
        await rig.clock.advance(1)
    assert rig.telemetry.writes == [("ClusterProfile", "refused")] * 2
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1
    hub.trouble = None
    await rig.clock.advance(301)
    await rig.write_due()
    assert set(await rig.profiles()) == {"m1", "m2"}


async def test_a_site_moves_between_slices_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{number:03}" for number in range(150)]
    rig = await rig_with("a00", *names)
    await rig.place("app", *names)
    await rig.write_all()
    gaps: list[set[str]] = []
    plain = rig.hub.apply

    async def watched(*words: Any, **more: Any) -> Object:  # noqa: ANN401 - those of apply
        after = await plain(*words, **more)
        gaps.append(set(names[1:]) - set((await rig.decided())["app"]))
        return after

    monkeypatch.setattr(rig.hub, "apply", watched)
    for placed in (("a00", *names), tuple(names[1:])):
        await rig.place("app", *placed)
        await rig.write_all()
        assert (await rig.decided())["app"] == sorted(placed)
    assert len(gaps) == 4
    assert not any(gaps)


@pytest.mark.parametrize(
    ("wanted", "is_served", "runs", "has_decisions"),
    [
        (StandardsSettings(), True, True, True),
        (StandardsSettings(), False, False, False),
        (StandardsSettings(cluster_profiles=False), True, False, False),
        (StandardsSettings(placement_decisions=False), True, True, False),
    ],
)
def test_what_is_switched_off_has_no_loop(
    wanted: StandardsSettings,
    is_served: bool,  # noqa: FBT001 - a table
    runs: bool,  # noqa: FBT001 - a table
    has_decisions: bool,  # noqa: FBT001 - a table
) -> None:
    known = ControlLoops().term.known

    async def serves(_resource: ApiResource) -> bool:
        return True

    settings = msgspec.structs.replace(known.settings, standards=wanted)
    term = Term(replace(known, settings=settings, is_served=serves if is_served else None))
    loops = dict(TermLoops(term).deciding())
    assert ("standard objects" in loops) == runs
    if runs:
        bound = loops["standard objects"].__self__  # type: ignore[attr-defined] # a bound method
        assert (bound.decisions is not None) == has_decisions
