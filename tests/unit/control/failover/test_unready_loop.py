"""Replicas that stay not ready at a site that reports: what is replaced, and what stays."""

from typing import Any

import pytest

from scheduler.control.failover.gate import OpenGate
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import Raw, workload


def spread(name: str, *sites: str, replicas: int = 4, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    """A workload with equal parts at these sites, which may run at any."""
    groups = [{"name": "first", "sites": list(sites)}, {"name": "else", "siteSelector": {}}]
    placement = {
        "siteGroups": groups,
        "strategy": "Weighted",
        "weights": [{"site": site, "weight": 1} for site in sites],
    }
    return workload(replicas, name=name, placement=placement, **spec)


async def test_pending_replicas_are_replaced_first_and_only_they() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", replicas=3)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        city.broken.add("m2")
        await city.live(50)
        assert (city.where(), city.leaving()) == ({"m1": 3}, {})
        await city.live(40)
        assert (city.where(), city.leaving()) == ({"m1": 1, "m2": 2}, {"m1": 2})
        assert "moved from m1: 2 of 3 replicas not ready for 60 s" in city.line()
        assert "(no node for its pods)" in city.line()
        assert city.condition()[:2] == ("True", "Replacing")
        city.broken.clear()
        await city.live(30)
        assert (city.where(), city.leaving()) == ({"m1": 1, "m2": 2}, {})
        assert city.condition()[:2] == ("True", "Replaced")
        assert city.status().phase == "Running"


async def test_an_image_that_is_broken_stays_where_it_is_and_the_status_says_why() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4})
    async with city.started(pinned("app", "m1")):
        city.not_ready["m1", "app"] = ("crash-loop", 0)
        await city.live(400)
        assert (city.where(), city.leaving()) == ({"m1": 2}, {})
        status, reason, message = city.condition()
        assert (status, reason) == ("False", "NoSiteRunsIt")
        assert message == (
            "2 of 2 replicas at m1 not ready (crash loop): not moved: no site runs this generation"
        )


@pytest.mark.parametrize("reason", ["crash-loop", "image-pull", "probe", "other"])
async def test_what_runs_elsewhere_is_replaced_there(reason: str) -> None:
    city = FailingCity({"m1": 4, "m2": 8, "m3": 8})
    async with city.started(spread("app", "m1", "m2")):
        assert city.where() == {"m1": 2, "m2": 2}
        city.not_ready["m1", "app"] = (reason, 1)
        await city.live(130)
        assert (city.where(), city.leaving()) == ({"m1": 1, "m2": 3}, {})
        [move] = city.status().failover.unready  # type: ignore[union-attr]
        assert (move.site, move.to, move.replicas, move.reason) == ("m1", ("m2",), 1, reason)


async def test_a_replacement_that_is_not_ready_either_is_taken_back() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", replicas=3)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        city.broken.add("m2")
        await city.live(90)
        assert (city.where(), city.leaving()) == ({"m1": 1, "m2": 2}, {"m1": 2})
        await city.live(70)
        assert (city.where(), city.leaving()) == ({"m1": 3}, {})
        assert "moved back to m1: 2 at m2 not ready for 6" in city.line()
        [move] = city.status().failover.unready  # type: ignore[union-attr]
        assert move.failed
        await city.live(100)
        assert city.where() == {"m1": 3}
        assert city.condition()[:2] == ("False", "MovedLately")
        city.not_ready.clear()
        await city.live(30)
        assert city.condition()[:2] == ("False", "MovedBack")
        assert city.status().phase == "Running"


async def test_a_workload_moves_from_a_site_once_an_hour_also_under_the_next_leader() -> None:
    city = FailingCity({"m1": 4, "m2": 8})
    async with city.started(pinned("app", "m1", replicas=4)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 2)
        await city.live(130)
        assert city.where() == {"m1": 2, "m2": 2}
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        await city.live(120)
        assert city.where() == {"m1": 2, "m2": 2}
        assert city.condition()[:2] == ("False", "MovedLately")
    async with city.next_leader() as second:
        await second.live(120)
        assert second.where() == {"m1": 2, "m2": 2}
        assert second.condition()[:2] == ("False", "MovedLately")


async def test_what_has_no_room_elsewhere_stays_and_moves_when_there_is() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1", replicas=3)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        await city.live(110)
        assert city.where() == {"m1": 3}
        assert city.condition()[:2] == ("False", "NoRoom")
        assert city.status().phase != "Waiting"
        city.room["m2"] = 4
        await city.live(330)
        assert city.where() == {"m1": 1, "m2": 2}


@pytest.mark.parametrize(
    ("failover", "reason"),
    [
        ({"mode": "Manual"}, "Manual"),
        ({"mode": "Fenced"}, "CannotFence"),
        ({"unreadyAfterSeconds": 0}, ""),
        ({"unreadyAfterSeconds": 7200}, ""),
    ],
)
async def test_what_its_rules_hold_stays(failover: Raw, reason: str) -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover=failover)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 0)
        await city.live(120)
        assert city.where() == {"m1": 2}
        assert city.condition()[1] == reason


async def test_its_own_time_counts() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"unreadyAfterSeconds": 120})):
        city.not_ready["m1", "app"] = ("node-lost", 0)
        await city.live(220)
        assert city.where() == {"m2": 2}


class Frozen(OpenGate):
    """A gate that is shut."""

    def why_not(self, site: str) -> str:  # noqa: ARG002 - the protocol
        return "evictions are frozen since noon"


async def test_a_freeze_holds_it() -> None:
    city = FailingCity({"m1": 4, "m2": 4}, gate=Frozen())
    async with city.started(pinned("app", "m1")):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 0)
        await city.live(100)
        assert city.where() == {"m1": 2}
        assert city.condition()[1] == "Frozen"
        assert "frozen since noon" in city.condition()[2]


async def test_a_new_generation_begins_anew() -> None:
    city = FailingCity({"m1": 8, "m2": 8})
    async with city.started(pinned("app", "m1")):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        await city.live(50)
        await city.patch("app", {"demand": {"replicas": 3}})
        await city.live(50)
        assert city.where() == {"m1": 3}, "not ready for 100 s, but its order is newer"
        await city.live(60)
        assert city.where() == {"m1": 1, "m2": 2}


async def test_the_same_reason_at_many_sites_moves_nothing() -> None:
    city = FailingCity({f"m{n}": 4 for n in range(1, 5)})
    names = [("a", "m1"), ("b", "m2"), ("c", "m3")]
    async with city.started(*(pinned(name, at) for name, at in names)):
        for name, at in names:
            city.not_ready[at, name] = ("pending-unschedulable", 0)
        await city.live(120)
        for name, at in names:
            assert city.where(name) == {at: 2}
            assert city.condition(name)[1] == "NotReadyAtManySites"
        del city.not_ready["m3", "c"]
        await city.live(60)
        assert city.where("a") != {"m1": 2}


async def test_a_site_that_does_not_report_is_left_to_failover() -> None:
    city = FailingCity({"m1": 4, "m2": 4}, after_seconds=5_000.0)
    async with city.started(pinned("app", "m1")):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 0)
        await city.live(30)
        city.fall_silent("m1")
        await city.live(150)
        assert city.where() == {"m1": 2}
        assert city.condition()[1] == ""


async def test_what_is_paused_stays_and_is_not_decided_again_and_again() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 0)
        await city.patch("app", {"paused": True})
        await city.live(120)
        assert city.where() == {"m1": 2}
        assert city.condition()[1] == "Paused"
        decided = len(city.loops.recorder.records)
        await city.live(60)
        assert len(city.loops.recorder.records) == decided


async def test_a_change_of_replicas_in_the_middle_of_a_move_ends_nothing() -> None:
    city = FailingCity({"m1": 8, "m2": 8})
    async with city.started(pinned("app", "m1", replicas=3)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        city.broken.add("m2")
        await city.live(90)
        assert (city.where(), city.leaving()) == ({"m1": 1, "m2": 2}, {"m1": 2})
        await city.patch("app", {"demand": {"replicas": 4}})
        await city.live(10)
        assert sum(city.where().values()) == 4
        assert city.leaving()["m1"] == 2, "they stay although they are on no node"
        city.broken.clear()
        await city.live(40)
        assert city.leaving() == {}
        assert sum(city.where().values()) == 4


async def test_a_lost_site_in_the_middle_of_a_move_is_left_to_failover() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4}, after_seconds=60.0)
    async with city.started(pinned("app", "m1", replicas=3)):
        city.not_ready["m1", "app"] = ("pending-unschedulable", 1)
        city.broken.add("m2")
        city.broken.add("m3")
        await city.live(90)
        [target] = city.where().keys() - {"m1"}
        city.fall_silent(target)
        await city.live(140)
        assert target not in city.where()
        assert sum(city.where().values()) == 3
        city.broken.clear()
        await city.live(60)
        assert sum(city.where().values()) == 3
        assert city.leaving() == {}
