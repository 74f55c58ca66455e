"""Failover in the loops: what is replaced, what is not, and what happens on return."""

from tests.support.failing_city import FailingCity, pinned


async def test_a_lost_site_is_replaced_first_and_withdrawn_then() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        assert city.where() == {"m1": 2}
        city.fall_silent("m1")
        city.broken.add("m2")
        await city.live(90)
        assert city.where() == {"m1": 2}
        await city.live(30)
        assert city.where() == {"m2": 2}
        assert city.leaving() == {"m1": 2}
        assert "moved from m1: silent since 2026-" in city.line()
        city.broken.discard("m2")
        await city.live(20)
        assert city.where() == {"m2": 2}
        assert city.leaving() == {}
        assert [one.site for one in city.status().remains] == ["m1"]
        assert city.condition()[:2] == ("True", "Replaced")
        city.come_back("m1")
        await city.live(10)
        assert city.runs["m1"] == {}
        await city.live(20)
        assert city.status().remains == ()
        assert city.where() == {"m2": 2}
        assert city.status().phase == "Running"
