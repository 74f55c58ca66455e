"""Rollouts by the loops: who gets the new content, what stops it, and what a new leader knows.

The queue, the worker, the reconciler and all that they use are the real ones; sites are answered
for by the test.
"""

from base64 import b64encode
from random import Random
from typing import Any

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.control.ports.hub import (
    CONTROLLER_REVISIONS,
    KAPOK_RESOURCES,
    WORKLOADS,
    WatchEvent,
)
from scheduler.control.rollout.words import WORD_ANNOTATION
from scheduler.model.demand.demand import Demand
from scheduler.placement.choose import choose
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, workload
from tests.unit.control.orders.test_claims import answer

RINGS = {"m1": "canary", "m2": "main", "m3": "main"}
SITES = [
    site(name, nodes(8), labels={"ring": ring}, observedAt="2026-11-24T08:00:00Z")
    for name, ring in RINGS.items()
]
GROUPS = [
    {"name": "canary", "siteSelector": {"matchLabels": {"ring": "canary"}}},
    {"name": "main", "siteSelector": {"matchLabels": {"ring": "main"}}},
]
OLD, NEW, NEWER = "v1", "v2", "v3"


def web(image: str) -> list[Raw]:
    made = of_kind("apps/v1", "Deployment", replicas=3, template=template())
    made["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return [made]


def app(*manifests: Raw, **rollout: Any) -> Raw:  # noqa: ANN401 - fields of a rollout
    weights = [{"site": name, "weight": 1} for name in RINGS]
    made = workload(3, name="app", placement={"strategy": "Weighted", "weights": weights})
    del made["spec"]["demand"]
    made["spec"]["manifests"] = list(manifests) or web(OLD)
    made["spec"]["rollout"] = {"groups": GROUPS, **rollout}
    return made


class City:
    """Three sites, each of which reports that it runs what it is ordered, but for what is told."""

    def __init__(self, loops: ControlLoops) -> None:
        self.loops = loops
        self.bad: dict[str, str] = {}

    async def pass_on(self, rounds: int = 3) -> Raw:
        """The sites answer and the loops take it in, a few times; returns the status."""
        for _ in range(rounds):
            self.loops.read_hub()
            await self.loops.clock.advance(1)
            for name in RINGS:
                self._answer(name)
        self.loops.read_hub()
        await self.loops.clock.advance(1)
        status: Raw = (await self.loops.workload("app"))["status"]
        return status

    def _answer(self, name: str) -> None:
        self.loops.dispatcher.flush()
        orders = self.loops.dispatcher.plans[name].orders
        phase = self.bad.get(name)
        bad = {
            order_id: OrderState(
                id=order_id, generation=one.generation, applied_generation=1, phase=phase
            )
            for order_id, one in orders.items()
            if phase
        }
        answer(self.loops, name, orders=bad)

    async def change(self, **spec: Any) -> None:  # noqa: ANN401 - fields of a spec
        await self.loops.hub.merge_patch(WORKLOADS, "app", {"spec": spec}, namespace="ns")

    async def say(self, word: str, number: int = 1) -> None:
        note = {"metadata": {"annotations": {WORD_ANNOTATION: f"{word} id-{number}"}}}
        await self.loops.hub.merge_patch(WORKLOADS, "app", note, namespace="ns")

    def images(self) -> dict[str, str]:
        """What each site is to run."""
        found: dict[str, str] = {}
        for name in RINGS:
            for order in self.loops.dispatcher.plans[name].orders.values():
                tree = msgspec.to_builtins(order.manifests[0])
                found[name] = tree["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    def generations(self) -> dict[str, int]:
        return {
            name: order.generation
            for name in RINGS
            for order in self.loops.dispatcher.plans[name].orders.values()
        }


def condition(status: Raw, kind: str) -> Raw:
    return next((one for one in status["conditions"] if one["type"] == kind), {})


async def test_a_change_goes_out_group_by_group() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        status = await city.pass_on()
        assert status["phase"] == "Running"
        assert "rollout" not in status
        before = city.generations()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        status = await city.pass_on()
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
        after = city.generations()
        assert after["m1"] > before["m1"]
        assert {after[one] == before[one] for one in ("m2", "m3")} == {True}
        assert status["rollout"]["phase"] == "Progressing"
        assert status["rollout"]["waitsFor"] == "not ready at m1"
        assert condition(status, "Ready")["status"] == "False"
        assert "canary (1 of 2): 1 of 3 sites" in condition(status, "RolledOut")["message"]
        city.bad = {}
        status = await city.pass_on()
        assert city.images() == dict.fromkeys(RINGS, NEW)
        assert status["rollout"]["phase"] == "Complete"
        assert "formerAccepted" not in status
        assert condition(status, "RolledOut")["status"] == "True"
        assert condition(status, "Ready")["status"] == "True"


async def test_a_site_that_fails_stops_it_and_undo_brings_the_former_content_back() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Failed"}
        await city.change(manifests=web(NEW))
        status = await city.pass_on()
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
        assert (status["rollout"]["phase"], status["phase"]) == ("Paused", "Degraded")
        assert condition(status, "Stalled")["reason"] == "RolloutPaused"
        assert "canary failed: failed at m1" in status["decision"]["line"]
        before = city.generations()
        city.bad = {}
        await city.say("undo")
        status = await city.pass_on()
        assert city.images() == dict.fromkeys(RINGS, OLD)
        assert status["rollout"]["phase"] == "RolledBack"
        after = city.generations()
        assert after["m1"] > before["m1"]
        assert after["m2"] == before["m2"]
        await city.say("resume", 2)
        status = await city.pass_on(5)
        assert status["rollout"]["phase"] == "Complete"
        assert city.images() == dict.fromkeys(RINGS, NEW)


async def test_on_failure_rollback_takes_it_back_by_itself() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app(onFailure="Rollback")):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Failed"}
        await city.change(manifests=web(NEW))
        status = await city.pass_on()
        assert status["rollout"]["phase"] == "RolledBack"
        assert city.images() == dict.fromkeys(RINGS, OLD)


async def test_pause_holds_and_resume_goes_on() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app(soakSeconds=3600)):
        city = City(loops)
        await city.pass_on()
        await city.change(manifests=web(NEW))
        await city.pass_on()
        await city.say("pause")
        status = await city.pass_on()
        assert status["rollout"]["phase"] == "Paused"
        await loops.clock.advance(4000)
        assert city.images()["m2"] == OLD
        await city.say("resume", 2)
        status = await city.pass_on()
        assert status["rollout"]["phase"] == "Progressing"
        assert status["rollout"]["waitsFor"] == "it soaks 3600 s"
        await loops.clock.advance(3700)
        status = await city.pass_on()
        assert city.images()["m2"] == NEW


async def test_a_group_that_stays_unready_pauses_at_its_deadline_without_any_report() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app(progressDeadlineSeconds=120)):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        status = await city.pass_on()
        assert status["rollout"]["phase"] == "Progressing"
        await loops.clock.advance(130)
        loops.read_hub()
        status = (await loops.workload("app"))["status"]
        assert status["rollout"]["phase"] == "Paused"
        assert "canary was not ready after 120 s" in status["rollout"]["because"]
        assert city.images()["m3"] == OLD


async def test_a_newer_change_replaces_one_that_is_under_way() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Failed"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEWER))
        status = await city.pass_on()
        assert city.images() == {"m1": NEWER, "m2": OLD, "m3": OLD}
        assert status["rollout"]["phase"] == "Progressing"
        await city.say("undo")
        await city.pass_on()
        assert city.images() == dict.fromkeys(RINGS, OLD)


async def test_a_change_back_ends_the_rollout() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Failed"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        city.bad = {}
        await city.change(manifests=web(OLD))
        status = await city.pass_on()
        assert status["rollout"]["phase"] == "Complete"
        assert city.images() == dict.fromkeys(RINGS, OLD)


async def test_a_new_leader_goes_on_where_the_last_one_was() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
    await loops.workload("app")
    after = ControlLoops(clock=loops.clock, hub=loops.hub, recorder=loops.recorder)
    async with after.leads(*SITES):
        city = City(after)
        city.bad = {"m1": "Applied"}
        await city.pass_on()
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
        city.bad = {}
        status = await city.pass_on(5)
        assert status["rollout"]["phase"] == "Complete"
        assert city.images() == dict.fromkeys(RINGS, NEW)


async def test_a_leader_that_has_only_restored_orders_knows_both_contents() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
    restored = ControlLoops(clock=loops.clock, hub=loops.hub, recorder=loops.recorder)
    for resource in KAPOK_RESOURCES:
        for one in (await restored.hub.list(resource)).items:
            restored.objects.apply_event(resource, WatchEvent("ADDED", one))
    restored.dispatcher.start_epoch(EPOCH + 1)
    restored.startup.begin()
    await restored.startup.restorer.load_accepted()
    for _ in restored.startup.restorer.restore_orders(20):
        pass
    assert City(restored).images() == {"m1": NEW, "m2": OLD, "m3": OLD}


async def test_scaling_is_no_rollout() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        await city.change(replicas=6)
        status = await city.pass_on()
        assert "rollout" not in status
        assert status["ready"] == 3
        assert status["replicas"] == 6


async def test_scaling_during_a_rollout_changes_no_content() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        await city.change(replicas=6)
        status = await city.pass_on()
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
        assert status["replicas"] == 6


async def test_a_refused_edit_leaves_a_rollout_where_it_is() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        await city.change(jurisdictions=["CN-HK"], manifests=web(NEWER))
        loops.requeuer.redecide(loops.objects.workloads)
        status = await city.pass_on()
        assert condition(status, "Accepted")["status"] == "False"
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}


async def test_without_its_groups_a_rollout_ends_and_all_sites_have_the_new_content() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        await city.change(rollout=None)
        status = await city.pass_on()
        assert city.images() == dict.fromkeys(RINGS, NEW)
        assert "formerAccepted" not in status


async def test_overlapping_groups_are_refused_by_name() -> None:
    loops = ControlLoops()
    every = {"name": "all", "siteSelector": {}}
    async with loops.started(*SITES, app(groups=[GROUPS[0], every])):
        status = await City(loops).pass_on(1)
        assert status["phase"] == "Refused"
        assert "canary and all both select site m1" in status["reason"]


async def test_surge_is_in_flight_until_a_site_is_ready_with_the_new_content() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        city.bad = {"m1": "Applied"}
        await city.change(manifests=web(NEW))
        await city.pass_on()
        states = loops.sites.states
        kept = [one for one in states["m1"].ordered if one.endswith("#surge")]
        assert [one.replicas for one in states["m1"].ordered[kept[0]]] == [1]
        assert kept[0].removesuffix("#surge") in states["m1"].ordered
        assert not [one for one in states["m2"].ordered if one.endswith("#surge")]
        city.bad = {}
        await city.pass_on(5)
        assert not [one for name in RINGS for one in states[name].ordered if "#" in one]


async def test_each_step_is_recorded_and_decided_alike_when_it_is_replayed() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app()):
        city = City(loops)
        await city.pass_on()
        await city.change(manifests=web(NEW))
        await city.pass_on(6)
        steps = [one for _, one in loops.recorder.records if one.get("decision")]
        rolled = [one["decision"].rollout for one in steps if one["decision"].rollout]
        assert [(one.phase, one.released) for one in rolled] == [
            ("Progressing", 1),
            ("Progressing", 2),
            ("Complete", 2),
        ]
        last = steps[-1]
        demand = last["demand"]
        assert isinstance(demand, Demand)
        now = last["decision"].decided_at
        again = choose(demand, loops.fleet, now=now, terms=last["terms"])
        assert again.rollout == last["decision"].rollout


def large(image: str) -> list[Raw]:
    """Manifests that are too large for a status, also packed."""
    noise = b64encode(Random(1).randbytes(90_000)).decode()  # noqa: S311 - not for secrets
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}}
    return [*web(image), {**data, "data": {"noise": noise}}]


async def revisions(loops: ControlLoops) -> int:
    return len((await loops.hub.list(CONTROLLER_REVISIONS)).items)


async def test_a_large_former_content_is_kept_beside_the_workload_until_it_is_replaced() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, app(*large(OLD))):
        city = City(loops)
        await city.pass_on()
        assert await revisions(loops) == 1
        city.bad = {"m1": "Applied"}
        await city.change(manifests=large(NEW))
        await city.pass_on()
        assert await revisions(loops) == 2
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
    after = ControlLoops(clock=loops.clock, hub=loops.hub, recorder=loops.recorder)
    async with after.leads(*SITES):
        city = City(after)
        city.bad = {"m1": "Applied"}
        await city.pass_on()
        assert city.images() == {"m1": NEW, "m2": OLD, "m3": OLD}
        await city.say("undo")
        await city.pass_on()
        assert city.images() == dict.fromkeys(RINGS, OLD)
        await city.say("resume", 2)
        city.bad = {}
        await city.pass_on(5)
        assert city.images() == dict.fromkeys(RINGS, NEW)
        assert await revisions(after) == 1
