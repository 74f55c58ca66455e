"""A hub that is restored under schedulers that run: what the Lease shows, and what they do."""

import asyncio

import pytest

from scheduler.control.hub_history import (
    GENERATIONS_ANNOTATION,
    LIFT_GENERATIONS,
    HubHistory,
)
from scheduler.control.leader_election import (
    KEEP_ORDERS,
    LEASE_NAME,
    ORDERS_ANNOTATION,
    Leadership,
    LeadershipLost,
)
from scheduler.control.ports.hub import LEASES, NAMESPACE, HubError, Object
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults


class Hubs:
    """A hub that is replaced by one with an earlier state."""

    def __init__(self) -> None:
        self.clock, self.hub = FakeClock(), FakeHub()

    def leadership(self, identity: str = "one", *, is_sole_candidate: bool = True) -> Leadership:
        return Leadership(
            hub=self.hub,
            clock=self.clock,
            faults=make_faults(self.clock),
            identity=identity,
            is_sole_candidate=is_sole_candidate,
        )

    async def restore(self, *leaders: Leadership, lease: Object | None, version: int = 0) -> None:
        """Has these schedulers see an earlier Lease, or none."""
        self.hub = FakeHub()
        self.hub.store.version = version
        if lease is not None:
            kept = {key: one for key, one in lease["metadata"].items() if key != "resourceVersion"}
            await self.hub.create(LEASES, {**lease, "metadata": kept})
        for one in leaders:
            one.hub = self.hub

    async def lease(self) -> Object:
        return await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)


async def renew(leader: Leadership, times: int) -> None:
    for _ in range(times):
        await leader._renew_or_lose()  # noqa: SLF001 - one turn of `renew_until_lost`


def seen_by(one: Leadership) -> tuple[bool, bool]:
    """Whether it would say so on the Lease, and whether it has to list."""
    return one.history.is_restored, one.history.must_list


def noted_by(one: Leadership) -> tuple[bool, bool]:
    """Whether it keeps unknown orders, and whether it has to raise generations."""
    return one.keeps_unknown_orders, one.must_lift_generations


@pytest.mark.parametrize("has_lease", [True, False])
async def test_a_leader_of_a_restored_hub_steps_down_and_begins_an_epoch_above_all(
    *, has_lease: bool
) -> None:
    hubs = Hubs()
    leader = hubs.leadership()
    assert await leader.acquire() == 1
    before = await hubs.lease()
    await leader.raise_epoch_above(7)
    await renew(leader, 4)
    await hubs.restore(leader, lease=before if has_lease else None)
    assert leader.may_write()
    await leader.check_history()
    assert not leader.may_write(), "nothing is published by a plan of the time before"
    with pytest.raises(LeadershipLost, match="version went back"):
        await leader.renew_until_lost()
    assert await leader.acquire() == 9
    assert leader.may_write()
    assert noted_by(leader) == (True, True)
    notes = (await hubs.lease())["metadata"]["annotations"]
    assert (notes[ORDERS_ANNOTATION], notes[GENERATIONS_ANNOTATION]) == (
        KEEP_ORDERS,
        LIFT_GENERATIONS,
    )
    await leader.note_generations_lifted()
    await renew(leader, 2)
    assert noted_by(leader) == (True, False)
    assert leader.history.must_list, "until the objects were listed"
    body: Object = {"metadata": {"annotations": {ORDERS_ANNOTATION: None}}}
    await hubs.hub.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)
    await renew(leader, 1)
    assert noted_by(leader) == (False, False)
    assert leader.may_write()


async def test_the_next_leader_lifts_generations_that_the_one_before_did_not() -> None:
    hubs = Hubs()
    first = hubs.leadership()
    await first.acquire()
    before = await hubs.lease()
    await renew(first, 2)
    await hubs.restore(first, lease=before)
    with pytest.raises(LeadershipLost):
        await renew(first, 1)
    await first.acquire()
    second = hubs.leadership("two")
    await second.acquire()
    assert (second.keeps_unknown_orders, second.must_lift_generations) == (True, True)


async def test_a_standby_notes_the_restore_and_forgets_it_when_the_leader_has_said_so() -> None:
    hubs = Hubs()
    leader = hubs.leadership()
    standby = hubs.leadership("two", is_sole_candidate=False)
    await leader.acquire()
    before = await hubs.lease()
    await renew(leader, 3)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(standby.acquire())
        await hubs.clock.settle()
        await hubs.restore(leader, standby, lease=before)
        await hubs.clock.advance(0.5)
        assert seen_by(standby) == (True, True)
        with pytest.raises(LeadershipLost):
            await renew(leader, 1)
        await leader.acquire()
        await hubs.clock.advance(0.5)
        assert seen_by(standby) == (False, True)
        waiting.cancel()


async def test_ordinary_terms_and_a_late_answer_are_no_restore() -> None:
    hubs = Hubs()
    leader = hubs.leadership()
    await leader.check_history()
    await leader.acquire()
    await renew(leader, 3)
    await leader.check_history()
    await leader.release()
    assert await leader.acquire() == 2
    assert (leader.history.is_restored, leader.keeps_unknown_orders) == (False, False)
    history = HubHistory(version=9)
    history.note({"metadata": {"resourceVersion": "8"}}, 7, 1)
    history.note({"metadata": {"resourceVersion": "opaque"}}, 9, 1)
    assert (history.is_restored, history.version) == (False, 9)


async def test_a_lease_that_cannot_be_read_is_no_answer() -> None:
    hubs = Hubs()
    leader = hubs.leadership()
    await leader.acquire()

    async def fail(*_words: object) -> Object:
        raise HubError("away")

    leader.hub = type("Away", (FakeHub,), {"get": fail})()
    with pytest.raises(HubError, match="away"):
        await leader.check_history()
    assert not leader.history.is_restored
