"""A decision whose status is not written is undone; one that was written all the same counts."""

import pytest

from scheduler.control.ports.hub import WORKLOADS, Busy, HubError, NotFound, Refused
from tests.support.control_loops import ControlLoops
from tests.support.fake_hub import Fate
from tests.support.sites import nodes, site, workload

SITE = site("m1", nodes(2, cpu="4", memory="8Gi"), observedAt="2026-11-24T08:00:00Z")
FIRST, SECOND = workload(6, name="first"), workload(6, name="second")


def with_fates(loops: ControlLoops, *fates: Fate) -> None:
    """What becomes of the first status writes; the write of the finalizer goes through."""
    left = list(fates)
    loops.hub.fate_of = lambda name: (
        left.pop(0) if left and is_finalized(loops, name) else "written"
    )


def in_flight(loops: ControlLoops) -> int:
    """Replicas for which room is kept at the site."""
    return sum(one.replicas for one in loops.sites.facts_of("m1").in_flight)


def is_finalized(loops: ControlLoops, name: str) -> bool:
    return bool(loops.objects.workloads["ns", name].metadata.finalizers)


async def test_an_answer_that_was_cut_off_after_the_write_changes_nothing() -> None:
    loops = ControlLoops()
    with_fates(loops, "landed")
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        assert loops.telemetry.results == ["placed"]
        assert loops.ordered() == {"first"}
        assert loops.recorder.undone == []
        assert len(loops.recorder.records) == 1


@pytest.mark.parametrize("fate", ["lost", "conflict", "late"])
async def test_a_decision_that_was_not_written_is_undone_and_recorded_as_such(fate: Fate) -> None:
    loops = ControlLoops()
    with_fates(loops, fate)
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        assert loops.telemetry.results == ["error"]
        assert loops.ordered() == set()
        assert loops.recorder.undone == [("ns/first", "7-1")]
        # The hub has refused a conflict for good; what was cut off may still arrive.
        assert (in_flight(loops) == 0) == (fate == "conflict")
        assert not loops.quotas.totals
        await loops.clock.advance(1)
        assert loops.telemetry.results == ["error", "placed"]
        assert loops.ordered() == {"first"}
        assert in_flight(loops) == 6


async def test_what_is_on_its_way_is_room_that_others_do_not_have() -> None:
    loops = ControlLoops()
    with_fates(loops, "lost")
    gets: list[HubError] = [Busy("503"), Busy("503")]
    read = loops.hub.get

    async def get(*names: str) -> object:
        if gets:
            raise gets.pop(0)
        return await read(*names)  # type: ignore[arg-type]

    loops.hub.get = get  # type: ignore[method-assign, assignment]
    async with loops.started(SITE, FIRST, SECOND):
        await loops.clock.settle()
        # Nobody knows whether the first was written, so its room is not given to the second.
        assert loops.telemetry.results == ["waiting"]
        assert loops.recorder.undone == []
        await loops.clock.advance(1.5)
        assert loops.recorder.undone == [("ns/first", "7-1#0")]
        await loops.clock.advance(3)
        assert loops.ordered() in ({"first"}, {"second"})


async def test_the_room_of_a_write_that_may_still_arrive_goes_to_no_other_workload() -> None:
    loops = ControlLoops()
    with_fates(loops, "late")
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        await loops.hub.create(WORKLOADS, {**SECOND, "spec": {**SECOND["spec"], "priority": 9}})
        loops.read_hub()
        await loops.clock.settle()
        assert loops.ordered() == set()
        assert await loops.phase("second") == "Waiting"
        loops.hub.land_late()
        loops.read_hub()
        await loops.clock.advance(2)
        assert loops.ordered() == {"first"}
        assert in_flight(loops) == 6


async def test_the_room_of_a_write_that_does_not_arrive_is_given_back_in_the_end() -> None:
    """The workload waits again, so that nothing is written and its object stays as it was."""
    loops = ControlLoops()
    full = site("m1", nodes(1, cpu="1", memory="8Gi"), observedAt="2026-11-24T08:00:00Z")
    async with loops.started(full, FIRST):
        await loops.clock.settle()
        with_fates(loops, "lost")
        loops.report(SITE)
        loops.read_hub()
        await loops.clock.advance(0.3)
        loops.report(full)
        await loops.clock.advance(5)
        assert in_flight(loops) == 6
        await loops.clock.advance(290)
        assert in_flight(loops) == 6
        await loops.clock.advance(10)
        assert in_flight(loops) == 0


async def test_the_room_of_a_late_write_is_given_back_with_its_deleted_workload() -> None:
    loops = ControlLoops()
    with_fates(loops, "late")
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        assert in_flight(loops) == 6
        await loops.hub.delete(WORKLOADS, "first", "ns")
        loops.read_hub()
        await loops.clock.advance(2)
        assert in_flight(loops) == 0


async def test_a_late_write_arrives_after_a_decision_that_wrote_nothing() -> None:
    loops = ControlLoops()
    full = site("m1", nodes(1, cpu="1", memory="8Gi"), observedAt="2026-11-24T08:00:00Z")
    async with loops.started(full, FIRST):
        await loops.clock.settle()
        waiting = (await loops.workload("first"))["status"]
        assert waiting["phase"] == "Waiting"
        with_fates(loops, "late")
        loops.report(SITE)
        loops.read_hub()
        await loops.clock.advance(0.3)
        assert loops.recorder.undone
        # Before it is decided again, it is full again, and nothing is to be written.
        loops.report(full)
        loops.read_hub()
        await loops.clock.advance(5)
        assert (await loops.workload("first"))["status"]["decision"] == waiting["decision"]
        loops.hub.land_late()
        loops.read_hub()
        await loops.clock.advance(2)
        assert loops.ordered() == set()
        assert await loops.phase("first") == "Waiting"


@pytest.mark.parametrize("has_the_watch_been_faster", [False, True])
async def test_a_write_that_a_proxy_sent_twice_is_never_half_believed(
    *, has_the_watch_been_faster: bool
) -> None:
    loops = ControlLoops()
    with_fates(loops, "repeated")

    async def pause() -> None:
        if has_the_watch_been_faster:
            loops.read_hub()

    loops.hub.pause = pause
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        await loops.hub.create(WORKLOADS, {**SECOND, "spec": {**SECOND["spec"], "priority": 9}})
        loops.read_hub()
        await loops.clock.settle()
        loops.read_hub()
        await loops.clock.advance(2)
        assert len(loops.ordered()) == 1  # the site has no room for both
        for name in ("first", "second"):
            reference = (await loops.workload(name))["status"]["decision"]["id"]
            assert ("ns/" + name, reference) not in loops.recorder.undone


async def test_an_edit_while_a_decision_is_on_its_way_is_decided_next() -> None:
    loops = ControlLoops()
    append = loops.recorder.record

    async def slow_record(**facts: object) -> object:
        await loops.clock.sleep(0.5)
        return await append(**facts)

    loops.recorder.record = slow_record
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        await loops.hub.merge_patch(
            WORKLOADS, "first", {"spec": {"demand": {"replicas": 2}}}, namespace="ns"
        )
        loops.read_hub()
        await loops.clock.advance(2)
        assert loops.telemetry.results == ["error", "placed"]
        assert loops.recorder.undone == [("ns/first", "7-1")]
        status = (await loops.workload("first"))["status"]
        assert (status["replicas"], status["observedGeneration"]) == (2, 2)


async def test_a_name_is_kept_until_the_decision_that_gives_it_up_is_carried_out() -> None:
    def named(name: str, *objects: str) -> dict[str, object]:
        raw = workload(1, name=name)
        manifests = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": one}} for one in objects
        ]
        return {**raw, "spec": {**raw["spec"], "manifests": manifests}}

    loops = ControlLoops()
    owner, other = named("owner", "shared"), named("other", "shared")
    async with loops.started(SITE, owner):
        await loops.clock.settle()
        edited = {"spec": {"manifests": named("owner", "own")["spec"]["manifests"]}}  # type: ignore[index]
        await loops.hub.merge_patch(WORKLOADS, "owner", edited, namespace="ns")
        loops.hub.faults["owner"] = Refused("403", status=403)
        await loops.hub.create(WORKLOADS, other)
        loops.read_hub()
        await loops.clock.settle()
        assert await loops.phase("other") == "Refused"  # the order of the owner still has it
        del loops.hub.faults["owner"]
        await loops.clock.advance(10)
        assert await loops.phase("other") == "Placed"


async def test_an_object_that_is_gone_when_its_status_is_written_leaves_nothing() -> None:
    loops = ControlLoops()
    append = loops.recorder.record

    async def slow_record(**facts: object) -> object:
        await loops.clock.sleep(0.5)
        return await append(**facts)

    loops.recorder.record = slow_record
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        await loops.hub.delete(WORKLOADS, "first", "ns")
        loops.read_hub()
        await loops.clock.advance(2)
        assert loops.ordered() == set()
        assert not loops.sites.states["m1"].ordered
        assert not loops.quotas.totals
        with pytest.raises(NotFound):
            await loops.workload("first")


@pytest.mark.parametrize("fate", ["lost", "conflict"])
async def test_nothing_is_ordered_of_an_object_without_the_finalizer(fate: Fate) -> None:
    loops = ControlLoops()
    left: list[Fate] = [fate]
    loops.hub.fate_of = lambda _name: left.pop(0) if left else "written"
    async with loops.started(SITE, FIRST):
        await loops.clock.settle()
        assert loops.telemetry.results == ["error"]
        assert loops.ordered() == set()
        assert loops.recorder.undone == [("ns/first", "7-1")]
        assert await loops.phase("first") == ""
        await loops.clock.advance(1)
        assert loops.ordered() == {"first"}
        assert is_finalized(loops, "first")


async def test_an_object_that_the_hub_gave_the_finalizer_takes_one_write() -> None:
    loops = ControlLoops()
    metadata = {**FIRST["metadata"], "finalizers": ["kapok.dev/withdraw"]}
    async with loops.started(SITE, {**FIRST, "metadata": metadata}):
        before = len(loops.hub.take_events())
        await loops.clock.settle()
        assert loops.ordered() == {"first"}
        written = [event for resource, event in loops.hub.take_events() if resource is WORKLOADS]
        assert len(written) - before == 1
        assert written[0].object["status"]["incarnation"]
