"""Drains and maintenance in the loops: what leaves a site, what stays, and what says why."""

from datetime import timedelta
from typing import Any

from scheduler.control.failover.gate import OpenGate
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.model.formatters import format_rfc3339
from scheduler.model.maintenance import MAINTENANCE_LEAD_SECONDS
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import Raw


def managed(
    name: str, at: str, replicas: int, *, kind: str = "Deployment", **budget: object
) -> Raw:
    """A workload of manifests, with a PodDisruptionBudget if one is given."""
    labels = {"app": name}
    pods = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}
    template: Raw = {"metadata": {"labels": labels}, "spec": pods}
    spec: Raw = {"selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    if kind == "Job":
        template["spec"] = {**pods, "restartPolicy": "Never"}
        spec = {"template": template, "parallelism": replicas, "completions": replicas}
    version = "batch/v1" if kind == "Job" else "apps/v1"
    manifests = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec},
    ]
    if budget:
        manifests.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": f"{name}-pdb"},
                "spec": {"selector": {"matchLabels": labels}, **budget},
            }
        )
    raw = pinned(name, at, replicas)
    del raw["spec"]["demand"]
    more = {} if kind == "Job" else {"replicas": replicas}
    raw["spec"] = {**raw["spec"], "manifests": manifests, **more}
    return raw


def in_seconds(city: FailingCity, seconds: float) -> str:
    return format_rfc3339(city.loops.clock.now() + timedelta(seconds=seconds))


def running(city: FailingCity) -> int:
    return sum(count for runs in city.runs.values() for _, count in runs.values())


async def test_a_drained_site_is_left_with_the_replacement_first() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        city.broken.add("m2")
        await city.drain("m1", requestedBy="ops")
        await city.live(10)
        assert (city.where(), city.leaving()) == ({"m2": 2}, {"m1": 2})
        assert "moved from m1: being drained" in city.line()
        reason, message = city.closed("m1")
        assert reason == "Draining"
        assert "drain asked by ops: 1 workload is left" in message
        city.broken.discard("m2")
        await city.live(30)
        assert (city.where(), city.leaving()) == ({"m2": 2}, {})
        assert city.closed("m1")[0] == "Drained"
        assert city.runs["m1"] == {}
        assert city.status().failover is None, "nothing of a drain moves back"
        assert city.status().phase == "Running"
        assert not city.loops.drain_loop.evictions


async def test_after_uncordon_work_stays_where_it_is_and_new_work_comes() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": "Return"})):
        await city.drain("m1")
        await city.live(30)
        assert city.where() == {"m2": 2}
        await city.edit_site("m1", cordon=None, drain=None)
        await city.live(30)
        assert city.where() == {"m2": 2}
        assert city.closed("m1") == ("", "")


async def test_a_budget_lets_only_so_many_leave_at_once() -> None:
    city = FailingCity({"m1": 6, "m2": 6})
    async with city.started(managed("app", "m1", 5, maxUnavailable=2)):
        assert city.where() == {"m1": 5}
        await city.drain("m1")
        least = running(city)
        for _ in range(40):
            await city.live(1)
            least = min(least, running(city))
        assert least == 5
        assert (city.where(), city.closed("m1")[0]) == ({"m2": 5}, "Drained")
        decisions = [one["decision"] for _, one in city.loops.recorder.records]
        left = [{each.site: each.replicas for each in one.assignment} for one in decisions]
        assert [one.get("m1", 0) for one in left] == [5, 3, 1, 0]
        assert "moved from m1: being drained (2 of 5)" in decisions[1].line


async def test_a_budget_that_forbids_everything_is_named_and_the_work_runs_on() -> None:
    city = FailingCity({"m1": 6, "m2": 6})
    async with city.started(managed("app", "m1", 3, maxUnavailable=0)):
        await city.drain("m1")
        await city.live(30)
        assert city.where() == {"m1": 3}
        assert city.status().phase == "Running"
        why = "PodDisruptionBudget app-pdb (maxUnavailable: 0) lets no replica be away"
        stays = f"replicas stay at m1: {why}"
        assert city.condition(kind="Drained") == ("False", "Stuck", stays)
        reason, message = city.closed("m1")
        assert reason == "DrainStuck"
        # All tenants read sites: the workload itself says why, and the site names none.
        assert message == (
            "drain asked: 1 workload is left there, 1 stuck; the condition Drained of each says why"
        )


async def test_replicas_that_are_not_ready_elsewhere_use_the_budget() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4})
    raw = managed("app", "m1", 4, maxUnavailable=1)
    raw["spec"]["placement"] = {"strategy": "Balanced"}
    async with city.started(raw):
        before = city.where()
        city.broken.add("m2")
        await city.live(10)
        await city.drain("m1")
        await city.live(30)
        assert city.where() == before
        assert "are not ready at its other sites" in city.condition(kind="Drained")[2]
        city.broken.discard("m2")
        await city.live(60)
        assert "m1" not in city.where()
        assert city.condition(kind="Drained") == ("", "", "")


async def test_the_only_feasible_site_keeps_its_work_and_says_why_until_there_is_room() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1")):
        await city.drain("m1", by=in_seconds(city, 60))
        await city.live(30)
        assert city.where() == {"m1": 2}
        assert city.status().phase == "Running"
        assert "1 full" in city.condition(kind="Drained")[2]
        assert city.closed("m1")[0] == "DrainStuck"
        recorded = len(city.loops.recorder.records)
        await city.live(60)
        assert city.closed("m1")[0] == "DrainOverdue"
        assert ", 1 stuck; " in city.closed("m1")[1]
        assert len(city.loops.recorder.records) == recorded, "trying again is no new decision"
        city.room["m2"] = 4
        await city.live(90)
        assert city.where() == {"m2": 2}
        assert city.closed("m1")[0] == "Drained"


async def test_numbered_pods_stay_until_they_are_forced_and_end_before_they_start() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(managed("app", "m1", 2, kind="StatefulSet")):
        await city.drain("m1")
        await city.live(30)
        assert city.where() == {"m1": 2}
        message = city.condition(kind="Drained")[2]
        assert "pods have numbers" in message
        assert "kapok site drain m1 --force" in message
        await city.drain("m1", force=True)
        most = 0
        for _ in range(60):
            await city.live(1)
            most = max(most, running(city))
        assert city.where() == {"m2": 2}
        assert most == 2, "no number runs twice"
        assert city.closed("m1")[0] == "Drained"


async def test_a_job_runs_to_its_end_unless_it_is_forced() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(managed("app", "m1", 2, kind="Job")):
        await city.drain("m1")
        await city.live(30)
        assert city.where() == {"m1": 2}
        assert "begin again elsewhere" in city.condition(kind="Drained")[2]
        await city.drain("m1", force=True)
        await city.live(30)
        assert city.where() == {"m2": 2}


async def test_a_copy_at_every_site_is_not_moved() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    raw = pinned("app", "m1", 1)
    raw["spec"]["placement"] = {"strategy": "Duplicated"}
    async with city.started(raw):
        await city.drain("m1")
        await city.live(20)
        assert city.where() == {"m1": 1, "m2": 1}
        assert "each of its sites runs a whole copy" in city.condition(kind="Drained")[2]
        await city.drain("m1", force=True)
        await city.live(20)
        assert city.condition(kind="Drained") == ("", "", "")
        assert city.closed("m1")[0] == "Drained"


async def test_two_sites_that_are_drained_at_once_do_not_swap_their_work() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("a", "m1"), pinned("b", "m2")):
        await city.drain("m1")
        await city.drain("m2")
        await city.live(60)
        assert (city.where("a"), city.where("b")) == ({"m1": 2}, {"m2": 2})
        for name in ("a", "b"):
            assert "2 cordoned" in city.condition(name, "Drained")[2]
            assert city.leaving(name) == {}
        await city.edit_site("m2", cordon=None, drain=None)
        await city.live(90)
        assert (city.where("a"), city.where("b")) == ({"m2": 2}, {"m2": 2})


async def test_a_target_that_is_drained_in_the_middle_of_a_move_is_left_again() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4})
    async with city.started(pinned("app", "m1")):
        city.broken.update(("m2", "m3"))
        await city.drain("m1")
        await city.live(10)
        [second] = city.where()
        await city.drain(second)
        await city.live(10)
        [third] = city.where()
        assert {"m1", second, third} == {"m1", "m2", "m3"}
        assert running(city) >= 2
        city.broken.clear()
        await city.live(40)
        assert (city.where(), city.leaving()) == ({third: 2}, {})


class FrozenGate(OpenGate):
    """A gate that is shut."""

    def why_not(self, site: str) -> str:
        return f"evictions are frozen, {site} too"

    def take(self, most: int) -> int:
        return 0 * most


async def test_a_freeze_does_not_hold_back_the_drain_of_a_site_that_reports() -> None:
    city = FailingCity({"m1": 4, "m2": 4}, gate=FrozenGate())
    async with city.started(pinned("app", "m1")):
        await city.drain("m1")
        await city.live(30)
        assert city.where() == {"m2": 2}


async def test_a_silent_site_is_left_to_failover() -> None:
    city = FailingCity({"m1": 4, "m2": 4}, gate=FrozenGate())
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(60)
        await city.drain("m1")
        await city.live(90)
        assert city.where() == {"m1": 2}
        reason, message = city.closed("m1")
        assert reason == "DrainStuck"
        assert "the site does not report, so failover replaces" in message
        city.loops.failover_loop.gate = OpenGate()
        await city.live(30)
        assert city.where() == {"m2": 2}
        assert "moved from m1: silent since" in city.line()


async def test_a_new_leader_drains_no_site_before_it_has_received_it() -> None:
    """It does not know yet that the site is silent, so failover and its freezes hold nothing."""
    city = FailingCity({"m1": 4, "m2": 4}, gate=FrozenGate())
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(60)
        await city.drain("m1")
        await city.live(20)
        assert city.where() == {"m1": 2}
    async with city.next_leader() as second:
        await second.live(10)
        assert second.loops.sites.states["m1"].health.name == "Unknown"
        assert second.where() == {"m1": 2}
        second.come_back("m1")
        await second.live(90)
        assert second.where() == {"m2": 2}


async def test_a_site_that_falls_silent_during_a_drain_comes_under_failover() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1")):
        await city.drain("m1")
        await city.live(20)
        assert city.closed("m1")[0] == "DrainStuck"
        city.fall_silent("m1")
        await city.live(60)
        city.room["m2"] = 4
        await city.live(20)
        assert city.where() == {"m1": 2}, "not before its time"
        await city.live(90)
        assert city.where() == {"m2": 2}
        assert city.condition()[:2] == ("True", "Replaced")


async def test_a_site_that_is_deleted_during_its_drain_ends_it() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1")):
        await city.drain("m1")
        await city.live(20)
        await city.loops.hub.delete(SITES, "m1")
        city.loops.read_hub()
        del city.room["m1"]
        await city.live(20)
        assert city.where() == {}
        assert city.condition(kind="Drained") == ("", "", "")
        assert city.closed("m1") == ("", "")
        assert not city.loops.drain_loop.evictions


async def test_the_next_leader_continues_a_drain() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(managed("app", "m1", 4, maxUnavailable=1)):
        await city.drain("m1")
        await city.live(12)
        assert city.where()["m1"] in (2, 3)
        async with city.next_leader() as second:
            await second.live(120)
            assert second.where() == {"m2": 4}


async def test_work_with_higher_priority_leaves_first_and_a_rate_bounds_the_rest() -> None:
    city = FailingCity({"m1": 200, "m2": 200})
    works = [pinned(f"w{n:03}", "m1", 1) for n in range(80)]
    works[77]["spec"]["priority"] = 50
    async with city.started(*works):
        await city.drain("m1")
        await city.loops.drain_loop.check()
        started = [key[1] for key in city.loops.drain_loop.evictions]
        assert len(started) == 50
        assert "w077" in started
        await city.live(60)
        assert city.closed("m1")[0] == "Drained"


async def test_maintenance_moves_what_can_be_moved_before_it_begins() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        lead = MAINTENANCE_LEAD_SECONDS
        window = {"from": in_seconds(city, lead + 60), "until": in_seconds(city, lead + 600)}
        await city.edit_site("m1", maintenance=[{**window, "reason": "new switches"}])
        await city.live(30)
        assert city.where() == {"m1": 2}
        assert city.closed("m1") == ("", "")
        await city.live(60)
        assert city.where() == {"m2": 2}
        assert "moved from m1: maintenance from " in city.line()
        reason, message = city.closed("m1")
        assert reason == "MaintenanceSoon"
        assert "(new switches): nothing is left there" in message


async def test_what_cannot_be_moved_stays_in_maintenance_and_a_condition_says_so() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(managed("app", "m1", 2, kind="StatefulSet")):
        window = {"from": in_seconds(city, -60), "until": in_seconds(city, 600)}
        await city.edit_site("m1", maintenance=[window])
        await city.live(30)
        assert city.where() == {"m1": 2}
        assert "pods have numbers" in city.condition(kind="Drained")[2]
        assert city.closed("m1")[0] == "Maintenance"


async def test_waiting_work_is_placed_when_the_last_of_overlapping_windows_ends() -> None:
    city = FailingCity({"m1": 4})
    async with city.started():
        windows = [
            {"from": in_seconds(city, -60), "until": in_seconds(city, 60)},
            {"from": in_seconds(city, 30), "until": in_seconds(city, 90)},
        ]
        await city.edit_site("m1", maintenance=windows)
        await _create(city, pinned("app", "m1"))
        await city.live(70)
        assert city.where() == {}
        assert "1 cordoned" in city.line()
        await city.live(40)
        assert city.where() == {"m1": 2}


async def test_work_that_ends_before_a_window_runs_on_and_is_placed() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    schedule: dict[str, Any] = {"durationSeconds": 300}
    async with city.started(pinned("app", "m1", schedule=schedule)):
        window = {"from": in_seconds(city, 400), "until": in_seconds(city, 900)}
        await city.edit_site("m1", maintenance=[window])
        await _create(city, pinned("short", "m1", schedule={"durationSeconds": 200}))
        await _create(city, pinned("long", "m1", schedule={"durationSeconds": 500}))
        await city.live(60)
        assert city.where() == {"m1": 2}
        assert city.where("short") == {"m1": 2}
        assert city.where("long") == {"m2": 2}


async def _create(city: FailingCity, raw: Raw) -> None:
    await city.loops.hub.create(WORKLOADS, {**raw, "status": {}})
    city.loops.read_hub()
    await city.settle(2)
