"""The end of the epochs: what a Lease there does, and what `EpochResetter` makes of it."""

import asyncio
from typing import Any

import msgspec
import pytest

from scheduler.control.epoch_reset import EpochNotSettable, EpochReset, EpochResetter
from scheduler.control.leader_election import (
    EPOCH_ANNOTATION,
    LEASE_NAME,
    MAX_LEASE_SECONDS,
    EpochExhausted,
    Leadership,
    LeaseHeld,
)
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS, Refused
from scheduler.model.kinds.workload import LAST_EPOCH, MAX_KEPT_EPOCH
from scheduler.settings import HubSettings
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults

END = 2**31 - 1


class HubFixture:
    """A hub with a Lease and workloads, and no scheduler."""

    def __init__(self) -> None:
        self.hub, self.clock, self.new_keys = FakeHub(), FakeClock(), 0

    def leadership(self, identity: str = "one", *, is_sole_candidate: bool = True) -> Leadership:
        return Leadership(
            hub=self.hub,
            clock=self.clock,
            faults=make_faults(self.clock),
            identity=identity,
            is_sole_candidate=is_sole_candidate,
        )

    async def with_lease(self, transitions: object, annotation: str | None = None) -> "HubFixture":
        notes = {} if annotation is None else {EPOCH_ANNOTATION: annotation}
        body = {
            "metadata": {"name": LEASE_NAME, "namespace": NAMESPACE, "annotations": notes},
            "spec": {"holderIdentity": "", "leaseTransitions": transitions},
        }
        await self.hub.create(LEASES, body)
        return self

    async def with_status(self, name: str, epoch: int | None) -> "HubFixture":
        status = {} if epoch is None else {"status": {"epoch": epoch, "phase": "Running"}}
        await self.hub.create(WORKLOADS, {"metadata": {"name": name, "namespace": "a"}, **status})
        return self

    async def reset(self, wanted: int | None = None) -> EpochReset:
        def replace_key() -> None:
            self.new_keys += 1

        return await EpochResetter(
            hub=self.hub,
            leadership=self.leadership("repair"),
            replace_key=replace_key,
            clock=self.clock,
        ).run(wanted)

    async def epochs(self) -> dict[str, Any]:
        workloads = (await self.hub.list(WORKLOADS)).items
        return {one["metadata"]["name"]: one.get("status", {}).get("epoch") for one in workloads}


@pytest.mark.parametrize(
    ("transitions", "annotation"),
    [(END, None), (LAST_EPOCH, None), (5, str(END)), (2**53, "9" * 20)],
)
async def test_a_lease_at_the_end_ends_the_start_with_the_command(
    transitions: int, annotation: str | None
) -> None:
    fixture = await HubFixture().with_lease(transitions, annotation)
    with pytest.raises(EpochExhausted, match="run `kapok hub adopt --epoch`"):
        await fixture.leadership().acquire()
    lease = await fixture.hub.get(LEASES, LEASE_NAME, NAMESPACE)
    assert lease["spec"]["holderIdentity"] == "", "it is not taken"


@pytest.mark.parametrize("annotation", ["9" * 5000, "-1", "x", "", "3000000000", "1e9", "4"])
async def test_an_annotation_that_no_leader_has_written_stops_nothing(annotation: str) -> None:
    fixture = await HubFixture().with_lease(5, annotation)
    assert await fixture.leadership().acquire() == 6


async def test_a_leader_is_never_raised_to_the_end() -> None:
    fixture = await HubFixture().with_lease(5)
    leadership = fixture.leadership()
    await leadership.acquire()
    for epoch in (END, LAST_EPOCH, 5):
        assert await leadership.raise_epoch_above(epoch) == 6
    assert await leadership.raise_epoch_above(6) == 7
    assert await leadership.raise_epoch_above(LAST_EPOCH - 1) == LAST_EPOCH


async def test_a_lease_and_statuses_at_the_end_get_a_low_epoch_and_the_hub_a_new_key() -> None:
    fixture = await HubFixture().with_lease(END)
    for name, epoch in {"low": 12, "end": END, "high": MAX_KEPT_EPOCH + 1, "new": None}.items():
        await fixture.with_status(name, epoch)
    done = await fixture.reset()
    assert (done.epoch, done.epoch_before, done.statuses, done.refused) == (12, END, 2, {})
    assert (done.has_new_key, fixture.new_keys) == (True, 1)
    assert await fixture.epochs() == {"low": 12, "end": 12, "high": 12, "new": None}
    assert await fixture.leadership().acquire() == 13


async def test_a_run_that_was_interrupted_is_repeated_whole() -> None:
    fixture = await HubFixture().with_lease(END)
    await fixture.with_status("end", END)
    fixture.hub.faults[LEASE_NAME] = Refused("not now")
    with pytest.raises(Refused):
        await fixture.reset()
    fixture.hub.faults.clear()
    assert (await fixture.reset()).epoch == 1
    assert await fixture.epochs() == {"end": 1}


async def test_a_status_that_the_hub_does_not_change_is_named_and_stops_nothing() -> None:
    fixture = await HubFixture().with_lease(END)
    await fixture.with_status("one", END)
    await fixture.with_status("two", END)
    fixture.hub.faults["one"] = Refused("an old schema")
    done = await fixture.reset()
    assert (done.statuses, done.refused) == (1, {"a/one": "an old schema"})
    assert await fixture.leadership().acquire() == 2


async def test_a_hub_that_changes_no_status_keeps_its_key_and_its_lease() -> None:
    fixture = await HubFixture().with_lease(END)
    await fixture.with_status("one", END)
    fixture.hub.faults["one"] = Refused("status.epoch must not decrease")
    with pytest.raises(EpochNotSettable, match="apply manifests/crds"):
        await fixture.reset()
    assert fixture.new_keys == 0
    with pytest.raises(EpochExhausted):
        await fixture.leadership().acquire()


async def test_a_number_above_all_sites_keeps_the_key() -> None:
    fixture = await HubFixture().with_lease(3)
    await fixture.with_status("low", 3)
    done = await fixture.reset(40)
    assert (done.epoch, done.has_new_key, done.statuses) == (40, False, 0)
    assert await fixture.leadership().acquire() == 41


async def test_a_hub_without_a_lease_gets_the_epoch_that_is_named() -> None:
    fixture = HubFixture()
    assert (await fixture.reset(7)).epoch == 7
    assert await fixture.leadership().acquire() == 8


@pytest.mark.parametrize("wanted", [11, 0, -5, LAST_EPOCH, END])
async def test_an_epoch_that_the_hub_would_refuse_is_refused_with_those_it_accepts(
    wanted: int,
) -> None:
    fixture = await HubFixture().with_lease(END)
    await fixture.with_status("low", 12)
    with pytest.raises(EpochNotSettable, match=f"12 to {LAST_EPOCH - 1}"):
        await fixture.reset(wanted)
    assert fixture.new_keys == 0


async def test_a_healthy_hub_is_left_alone_without_a_number() -> None:
    fixture = await HubFixture().with_lease(7)
    with pytest.raises(EpochNotSettable, match="nothing to repair: the epoch is 7"):
        await fixture.reset()
    assert await fixture.leadership().acquire() == 8


async def test_a_lease_of_years_ends_after_the_longest_that_the_settings_allow() -> None:
    fixture = await HubFixture().with_lease(7)
    spec = {"holderIdentity": "gone", "leaseDurationSeconds": END, "renewTime": "then"}
    await fixture.hub.merge_patch(LEASES, LEASE_NAME, {"spec": spec}, namespace=NAMESPACE)
    standby = fixture.leadership(is_sole_candidate=False)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(standby.acquire())
        await fixture.clock.advance(MAX_LEASE_SECONDS - 1)
        assert not taking.done()
        await fixture.clock.advance(3)
        assert taking.result() == 8


def test_no_setting_makes_a_lease_longer_than_others_wait_for_it() -> None:
    longest = msgspec.convert({"lease_seconds": MAX_LEASE_SECONDS}, HubSettings)
    assert longest.lease_seconds == MAX_LEASE_SECONDS
    with pytest.raises(msgspec.ValidationError, match=str(MAX_LEASE_SECONDS)):
        msgspec.convert({"lease_seconds": MAX_LEASE_SECONDS + 1}, HubSettings)


async def test_a_lease_that_a_scheduler_renews_is_not_taken() -> None:
    fixture = await HubFixture().with_lease(7)
    leader = fixture.leadership()
    await leader.acquire()
    repair = fixture.leadership("repair", is_sole_candidate=False)
    async with asyncio.TaskGroup() as group:
        renewing = group.create_task(leader.renew_until_lost())
        taking = group.create_task(refusal_of(repair))
        for _ in range(20):
            await fixture.clock.advance(1.0)
        renewing.cancel()
    assert "one holds the Lease" in taking.result()


async def refusal_of(repair: Leadership) -> str:
    with pytest.raises(LeaseHeld) as refusal:
        await repair.take_for_repair()
    return str(refusal.value)
