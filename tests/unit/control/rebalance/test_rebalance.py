"""Rebalancing by the loops: what moves by itself, what is only reported, what waits for a word."""

from datetime import timedelta
from functools import partial
from typing import Any

from scheduler.control.ports.hub import POLICIES, WORKLOADS
from scheduler.control.ports.hub import SITES as SITE_KIND
from scheduler.control.rebalance.tasks import REBALANCE_ANNOTATION, is_asked, write_asked
from tests.support.control_loops import ControlLoops
from tests.support.fake_clock import START
from tests.support.sites import Raw, nodes, site, workload
from tests.unit.control.orders.test_claims import answer

TODAY = "2026-11-24T08:00:00Z"
NAMES = ("dear", "cheap")


def priced(name: str, cny: float) -> Raw:
    spec = {
        "prices": {"energyCnyPerKwh": 0.5, "coreCnyPerHour": cny},
        "energy": {"pue": 1.5, "pueOrigin": "measured"},
    }
    known = {"gco2PerKwh": 500.0, "origin": "measured", "observedAt": TODAY}
    return site(name, nodes(8), spec=spec, observedAt=TODAY, intensity=known)


SITES = [priced("dear", 0.2), priced("cheap", 0.5)]
"""The first one is cheaper until its price is raised."""


def policy(**rebalance: Any) -> Raw:  # noqa: ANN401 - fields of a budget
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "PlacementPolicy",
        "metadata": {"name": "thrifty", "namespace": "ns"},
        "spec": {"rebalance": rebalance},
    }


def app(name: str = "app") -> Raw:
    return workload(1, name=name, policyRef={"name": "thrifty"})


async def settle(loops: ControlLoops, rounds: int = 3) -> None:
    for _ in range(rounds):
        loops.read_hub()
        await loops.clock.advance(1)
        for name in NAMES:
            answer(loops, name)
    loops.read_hub()
    await loops.clock.advance(1)


async def sites_of(loops: ControlLoops, name: str = "app") -> dict[str, int]:
    groups = (await loops.workload(name))["status"]["placement"]["groups"]
    return {
        at: one["replicas"]
        for one in groups
        if one["phase"] != "Withdrawing"
        for at in one["sites"]
    }


async def dearer(loops: ControlLoops) -> None:
    """The price of the site that was cheaper rises."""
    patch = {"spec": {"prices": {"coreCnyPerHour": 2.0}}}
    await loops.hub.merge_patch(SITE_KIND, "dear", patch)
    loops.read_hub()


class Advice:
    """Keeps the reason and the message of each event."""

    def __init__(self, said: list[tuple[str, str]]) -> None:
        self.said = said

    def record(self, about: object, *, reason: str, message: str, is_warning: bool) -> None:
        del about, is_warning
        self.said.append((reason, message))


class Rig:
    """Loops with two sites and a workload that runs at the one that becomes dear."""

    def __init__(self, **rebalance: Any) -> None:  # noqa: ANN401 - fields of a budget
        self.loops = ControlLoops()
        self.budget = rebalance

    async def begin(self) -> None:
        await self.loops.hub.create(POLICIES, policy(**self.budget))

    async def look(self) -> None:
        """One round of the loop, and what follows."""
        await self.loops.term.rebalance_loop.check()
        await settle(self.loops)


async def test_auto_moves_to_the_cheaper_site_replacement_first() -> None:
    rig = Rig(mode="Auto")
    await rig.begin()
    async with rig.loops.started(*SITES, app()):
        await settle(rig.loops)
        assert await sites_of(rig.loops) == {"dear": 1}
        await rig.look()
        assert await sites_of(rig.loops) == {"dear": 1}, "nothing is cheaper yet"
        await dearer(rig.loops)
        await settle(rig.loops, 1)
        await rig.loops.term.rebalance_loop.check()
        rig.loops.read_hub()
        await rig.loops.clock.advance(1)
        groups = (await rig.loops.workload("app"))["status"]["placement"]["groups"]
        assert {one["phase"]: one["sites"] for one in groups} == {
            "Placing": ["cheap"],
            "Withdrawing": ["dear"],
        }
        await settle(rig.loops)
        assert await sites_of(rig.loops) == {"cheap": 1}
        status = (await rig.loops.workload("app"))["status"]
        assert status["rebalance"]["replicas"] == 1
        assert status["rebalance"]["savedCny"] > 0
        assert "rebalanced (1 moved): saves" in status["decision"]["line"]


async def test_a_workload_moves_at_most_once_a_day() -> None:
    rig = Rig(mode="Auto")
    await rig.begin()
    async with rig.loops.started(*SITES, app()):
        await settle(rig.loops)
        await dearer(rig.loops)
        await rig.look()
        assert await sites_of(rig.loops) == {"cheap": 1}
        patch = {"spec": {"prices": {"coreCnyPerHour": 9.0}}}
        await rig.loops.hub.merge_patch(SITE_KIND, "cheap", patch)
        rig.loops.read_hub()
        await rig.look()
        assert await sites_of(rig.loops) == {"cheap": 1}


async def test_the_moves_of_an_hour_are_limited_over_all_workloads_of_a_policy() -> None:
    rig = Rig(mode="Auto", movesPerHour=1)
    await rig.begin()
    async with rig.loops.started(*SITES, app("a"), app("b")):
        await settle(rig.loops)
        await dearer(rig.loops)
        await rig.look()
        await rig.look()
        moved = [await sites_of(rig.loops, name) == {"cheap": 1} for name in ("a", "b")]
        assert sorted(moved) == [False, True]
        await rig.loops.clock.advance(3700)
        for one in SITES:
            rig.loops.report(one)
        await rig.look()
        assert await sites_of(rig.loops, "a") == {"cheap": 1}
        assert await sites_of(rig.loops, "b") == {"cheap": 1}


async def test_advice_moves_nothing_until_an_operator_asks() -> None:
    rig, said = Rig(mode="Advise"), list[tuple[str, str]]()
    rig.loops.term.rebalance_loop.events = Advice(said)  # type: ignore[assignment]
    await rig.begin()
    async with rig.loops.started(*SITES, app()):
        await settle(rig.loops)
        await dearer(rig.loops)
        await rig.look()
        assert await sites_of(rig.loops) == {"dear": 1}
        await rig.look()
        ((reason, message),) = said
        assert reason == "RebalanceAdvised"
        assert "it would be rebalanced (1 moved): saves" in message
        note = {"metadata": {"annotations": write_asked(rig.loops.clock.now())}}
        await rig.loops.hub.merge_patch(WORKLOADS, "app", note, namespace="ns")
        rig.loops.read_hub()
        await rig.look()
        assert await sites_of(rig.loops) == {"cheap": 1}


async def test_off_and_a_freeze_move_nothing() -> None:
    for budget, frozen in (({"mode": "Off"}, False), ({}, False), ({"mode": "Auto"}, True)):
        rig = Rig(**budget)
        await rig.begin()
        rig.loops.term.rebalance_loop.is_frozen = partial(bool, frozen)
        async with rig.loops.started(*SITES, app()):
            await settle(rig.loops)
            await dearer(rig.loops)
            await rig.look()
            assert await sites_of(rig.loops) == {"dear": 1}


async def test_less_than_the_least_saving_moves_nothing() -> None:
    rig = Rig(mode="Auto", minSavingCnyPerMove=1000)
    await rig.begin()
    async with rig.loops.started(*SITES, app()):
        await settle(rig.loops)
        await dearer(rig.loops)
        await rig.look()
        assert await sites_of(rig.loops) == {"dear": 1}


def test_a_word_holds_for_ten_minutes_and_what_is_no_time_is_none() -> None:
    said = write_asked(START)
    assert is_asked(said, START + timedelta(minutes=9))
    assert not is_asked(said, START + timedelta(minutes=11))
    assert not is_asked(said, START - timedelta(hours=1))
    for text in ("", "yes", "2026-11-24", "2026-11-24T08:00:00", "x" * 5000):
        assert not is_asked({REBALANCE_ANNOTATION: text}, START)
