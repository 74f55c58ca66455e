"""A drill over loops in memory: what is measured, what stays as it is, and every way it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.control.drills.drill_loop import DrillLoop
from scheduler.control.drills.drill_word import (
    DRILL_MAP,
    DRILL_STATE_MAP,
    DrillState,
    DrillWord,
    drill_word_body,
    read_drill_state,
)
from scheduler.control.failover.gate import OpenGate
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, SITES, HubError
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.model.drills.drill import MAX_DRILL_SECONDS, RUNS_HUB_LABEL
from scheduler.model.kinds.fields import Condition
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import Raw, workload

ROOM = {"m1": 8, "m2": 8, "m3": 8}


class DrillCity:
    """A city whose operator says words about drills.

    Args:
        city: its sites.
    """

    def __init__(self, city: FailingCity) -> None:
        self.city = city
        self.loop: DrillLoop = city.loops.term.drills
        self.loop.gate = self.loop.meter.gate = city.gate
        self.loop.meter.after_seconds = city.after_seconds
        self._said = 0

    @asynccontextmanager
    async def drilling(self) -> AsyncIterator[None]:
        """The loop runs."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.loop.run())
            yield
            task.cancel()

    def reports(self, site: str) -> bool:
        return self.city.loops.sites.states[site].is_ready

    async def say(self, **word: Any) -> str:  # noqa: ANN401 - fields of a word
        """An operator writes a word; the loop has read it when this returns."""
        self._said += 1
        known = {
            "id": f"word-{self._said}",
            "action": "lose",
            "site": "m1",
            "seconds": 400.0,
            "by": "ops",
            "said_at": self.city.loops.clock.now(),
        }
        said = DrillWord(**{**known, **word})
        await self.city.loops.hub.apply(CONFIG_MAPS, drill_word_body(said), field_manager="t")
        await self.city.loops.clock.advance(1.5)
        return said.id

    async def state(self) -> DrillState:
        body = await self.city.loops.hub.get(CONFIG_MAPS, DRILL_STATE_MAP, NAMESPACE)
        return read_drill_state(body)[0]

    async def refusal(self) -> tuple[str, str]:
        refused = (await self.state()).refused
        return (refused.reason, refused.message) if refused else ("", "")

    async def report(self) -> dict[str, Any]:
        report = (await self.state()).last
        assert report is not None
        return report

    def indexes_to(self, site: str) -> int:
        log = self.city.loops.publisher.log
        return sum(1 for what, at, _ in log if (what, at) == ("index", site))

    @property
    def recorded(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.city.loops.recorder.drills
        return found

    def events(self) -> list[str]:
        found = []
        while body := self.city.loops.events.pending.pop():
            if body["involvedObject"]["kind"] == "Site":
                found.append(body["reason"])
        return found


@asynccontextmanager
async def drilled(*works: Raw, **options: Any) -> AsyncIterator[DrillCity]:  # noqa: ANN401 - a city's
    city = FailingCity(dict(ROOM), after_seconds=60.0, **options)
    async with city.started(*works):
        one = DrillCity(city)
        async with one.drilling():
            await city.loops.clock.settle()
            yield one


async def test_a_drill_measures_when_work_is_silent_ordered_and_ready() -> None:
    app = pinned("app", "m1", recovery={"rtoSeconds": 300, "rpoSeconds": 5})
    slow = pinned("slow", "m1", recovery={"rtoSeconds": 30})
    async with drilled(app, slow) as one:
        await one.say()
        one.city.mute.add("m1")  # it works on by the index that it has
        await one.city.live(410)
        report = await one.report()
        assert (report["endedBy"], report["seconds"]) == ("time", 400.0)
        assert 35 <= report["detectionSeconds"] <= 47, "silent 45 s after the last message"
        assert report["stuck"] == []
        moves = {each["workload"]: each for each in report["moves"]}
        assert moves.keys() == {"ns/app", "ns/slow"}
        for each in moves.values():
            assert (each["from"], each["replicas"]) == ("m1", 2)
            assert set(each["to"]) <= {"m2", "m3"}
            assert report["detectionSeconds"] <= each["orderSeconds"] <= 80
            assert each["orderSeconds"] < each["readySeconds"] <= 120
        assert moves["ns/app"]["rto"] == "met"
        assert moves["ns/app"]["rpoSeconds"] == 5
        assert moves["ns/slow"]["rto"] == "missed"
        assert report["rto"] == {"met": 1, "missed": 1, "unknown": 0}
        assert "2 of 2 ordered elsewhere by" in report["line"]
        assert "1 missed the recovery time" in report["line"]


async def test_beginning_and_report_are_recorded_and_said() -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say(why="the yearly one")
        condition = one.loop.condition_of("m1")
        assert condition is not None
        assert "word-1, asked for by ops: the yearly one; until 2026-" in condition.message
        assert one.loop.condition_of("m2") is None
        await one.city.live(60)
        await one.say(action="end")
        assert one.loop.condition_of("m1") is None
        await one.city.live(20)
        began, ended = one.recorded
        assert (began["phase"], ended["phase"]) == ("began", "ended")
        assert began["line"] == (
            "ops has m1 treated as lost for 400 s, where 1 workload runs: the yearly one"
        )
        assert {**await one.report(), "phase": "ended"} == ended
        assert {"DrillBegan", "Silent", "DrillEnded", "Returned"} <= set(one.events())


async def test_the_site_runs_on_and_obeys_again_when_the_drill_is_over() -> None:
    async with drilled(pinned("app", "m1")) as one:
        running, sent = dict(one.city.runs["m1"]), one.indexes_to("m1")
        assert len(running) == 1
        await one.say()
        one.city.mute.add("m1")  # it works on by the index that it has
        assert one.loop.is_lost("m1")
        await one.city.live(380)
        assert "m1" not in one.city.where()
        assert one.indexes_to("m1") == sent, "nothing is ordered or ends at the site"
        assert one.city.runs["m1"] == running
        await one.city.live(25)
        assert not one.loop.is_lost("m1")
        one.city.mute.clear()
        await one.city.live(60)
        assert one.indexes_to("m1") > sent
        assert one.city.runs["m1"] == {}
        assert one.city.status().phase == "Running"


async def test_what_stays_is_named_with_its_reason() -> None:
    manual = pinned("manual", "m1", failover={"mode": "Manual"})
    late = pinned("late", "m1", failover={"afterSeconds": 900}, recovery={"rtoSeconds": 1000})
    large = workload(2, name="large", placement={"siteSelector": {"matchLabels": {"a": "1"}}})
    large["spec"]["placement"] = {"siteGroups": [{"name": "only", "sites": ["m1"]}]}
    async with drilled(manual, late, large) as one:
        await one.say(seconds=200.0)
        await one.city.live(210)
        report = await one.report()
        assert report["moves"] == []
        stuck = {each["workload"]: each for each in report["stuck"]}
        assert stuck["ns/manual"]["reason"].startswith("spec.failover.mode is Manual")
        assert stuck["ns/late"]["reason"] == "its failover begins after 900 s of silence"
        assert stuck["ns/late"]["rto"] == "unknown", "the drill was shorter than that"
        assert stuck["ns/large"]["reason"].startswith("no place was found for it: 0/3 sites")
        assert "3 stay" in report["line"]
        assert one.city.where("manual") == {"m1": 2}


async def test_an_operator_ends_a_drill_and_the_site_is_back() -> None:
    async with drilled(pinned("app", "m1", failover={"afterSeconds": 300})) as one:
        word = await one.say()
        await one.city.live(60)
        assert not one.reports("m1")
        await one.say(action="end", drill="another")
        assert await one.refusal() == ("NoDrill", "no such drill runs")
        await one.say(action="end", drill=word)
        report = await one.report()
        assert report["endedBy"] == "operator"
        assert report["id"] == word
        assert report["stuck"][0]["reason"] == "its failover begins after 300 s of silence"
        await one.city.live(20)
        assert one.reports("m1")
        assert one.city.where() == {"m1": 2}


async def test_a_drill_that_ends_before_the_site_is_silent_says_so() -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say()
        await one.city.live(5)
        await one.say(action="end")
        report = await one.report()
        assert report["detectionSeconds"] is None
        assert report["stuck"][0]["reason"] == "the drill ended before the site counted as silent"
        assert "m1 was not silent yet" in report["line"]


async def test_a_drill_ends_with_its_site() -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say()
        await one.city.live(10)
        await one.city.loops.hub.delete(SITES, "m1")
        one.city.loops.read_hub()
        await one.city.loops.clock.advance(2)
        assert (await one.report())["endedBy"] == "site-gone"
        assert one.loop.running is None


async def test_a_workload_at_every_site_needs_no_other_place() -> None:
    everywhere = workload(1, name="all", placement={"strategy": "Duplicated"})
    async with drilled(everywhere) as one:
        await one.say(seconds=100.0)
        await one.city.live(110)
        report = await one.report()
        assert [each["workload"] for each in report["kept"]] == ["ns/all"]
        assert (report["moves"], report["stuck"]) == ([], [])


# ---------------------------------------------------------------- refusals


async def refused(one: DrillCity, **word: Any) -> tuple[str, str]:  # noqa: ANN401 - fields
    await one.say(**word)
    return await one.refusal()


async def test_what_must_not_begin_is_refused_by_name() -> None:
    async with drilled(pinned("app", "m1")) as one:
        reason, message = await refused(one, site="m11")
        assert (reason, message) == ("UnknownSite", "there is no Site 'm11'; did you mean m1?")
        assert (await refused(one, site=""))[0] == "UnknownSite"
        for seconds in (0.0, -5.0, MAX_DRILL_SECONDS + 1, float("inf"), float("nan")):
            assert (await refused(one, seconds=seconds))[0] == "BadLength"
        reason, message = await refused(one, seconds=30.0)
        assert reason == "TooShort"
        assert "counts as silent after 45 s" in message
        long_ago = one.city.loops.clock.now() - timedelta(minutes=5)
        assert (await refused(one, said_at=long_ago))[0] == "WordTooOld"
        assert (await refused(one, said_at=None))[0] == "WordTooOld"
        assert (await refused(one, action="end"))[0] == "NoDrill"
        assert (await refused(one, action=""))[0] == "NotReadable"
        assert one.loop.running is None
        assert one.recorded == []


async def test_a_second_drill_is_refused_and_the_first_goes_on() -> None:
    async with drilled(pinned("app", "m1")) as one:
        first = await one.say()
        reason, message = await refused(one, site="m2", by="another")
        assert reason == "DrillRuns"
        assert message.startswith("a drill of m1 by ops runs since 2026-")
        running = one.loop.running
        assert running is not None
        assert running.id == first
        assert not one.loop.is_lost("m2")


async def test_no_site_is_lost_while_evictions_are_frozen() -> None:
    class Frozen(OpenGate):
        def why_not(self, site: str) -> str:
            del site
            return "evictions are frozen since 2026-11-24T08:00:00Z: works"

    async with drilled(pinned("app", "m1"), gate=Frozen()) as one:
        reason, message = await refused(one)
        assert reason == "EvictionsFrozen"
        assert "frozen since 2026-11-24T08:00:00Z: works" in message


async def test_a_site_that_is_silent_already_is_refused() -> None:
    async with drilled(pinned("app", "m2")) as one:
        one.city.fall_silent("m1")
        await one.city.live(60)
        reason, message = await refused(one)
        assert (reason, message) == (
            "SiteSilent",
            "m1 does not report already, so its loss is no drill",
        )


async def test_the_site_that_runs_the_hub_is_never_taken() -> None:
    async with drilled(pinned("app", "m1")) as one:
        labels = {"metadata": {"labels": {RUNS_HUB_LABEL: "true"}}}
        await one.city.loops.hub.merge_patch(SITES, "m1", labels)
        one.city.loops.read_hub()
        reason, message = await refused(one)
        assert reason == "OwnSite"
        assert RUNS_HUB_LABEL in message
        assert not one.loop.is_lost("m1")


async def test_a_drill_that_cannot_be_recorded_does_not_begin() -> None:
    async with drilled(pinned("app", "m1")) as one:
        one.city.loops.recorder.evictions_fault = NotRecorded("disk full")
        reason, message = await refused(one)
        assert reason == "NotRecorded"
        assert "disk full" in message
        assert one.loop.running is None


# ---------------------------------------------------------------- kills and failures


async def test_the_next_leader_goes_on_with_a_drill_and_ends_it_in_time() -> None:
    async with drilled(pinned("app", "m1")) as one:
        word = await one.say()
        await one.city.live(60)
        assert (await one.state()).running is not None
    async with one.city.next_leader() as second:
        other = DrillCity(second)
        said = Condition(type="Drill", status="True", reason="TreatedAsLost", message="runs")
        site = second.loops.objects.sites["m1"]
        second.loops.objects.sites["m1"] = msgspec.structs.replace(
            site, status=msgspec.structs.replace(site.status, conditions=(said,))
        )
        assert other.loop.condition_of("m1") == said, "it is not known yet whether it goes on"
        assert other.loop.condition_of("m2") is None
        async with other.drilling():
            await second.live(100)
            assert other.loop.is_lost("m1")
            assert "m1" not in second.where()
            await second.live(300)
        assert not other.loop.is_lost("m1")
        report = await other.report()
        assert (report["id"], report["endedBy"]) == (word, "time")
        assert report["detectionSeconds"] <= 47, "as the first leader measured it"
        assert [each["workload"] for each in report["moves"]] == ["ns/app"]
        assert [each["phase"] for each in other.recorded] == ["began", "ended"]


async def test_a_drill_whose_time_is_over_while_nothing_leads_ends_at_the_next_start() -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say(seconds=100.0)
        await one.city.live(20)
    await one.city.loops.clock.advance(600)
    async with one.city.next_leader() as second:
        other = DrillCity(second)
        await other.loop.sync()
        assert not other.loop.is_lost("m1")
        report = await other.report()
        assert (report["endedBy"], report["seconds"]) == ("time", 100.0)
        await other.loop.sync()
        assert [each["phase"] for each in other.recorded] == ["began", "ended"]


async def test_a_drill_ends_in_time_while_hub_and_ledger_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say(seconds=100.0)

        async def fail(*_: object, **__: object) -> None:
            raise HubError("no hub")

        with monkeypatch.context() as broken:
            broken.setattr(one.loop.hub, "get", fail)
            broken.setattr(one.loop.hub, "apply", fail)
            one.city.loops.recorder.evictions_fault = NotRecorded("disk full")
            await one.city.loops.clock.advance(110)
            assert not one.loop.is_lost("m1")
        assert (await one.state()).running is not None, "no report is lost by a kill now"
        one.city.loops.recorder.evictions_fault = None
        await one.city.loops.clock.advance(2)
        assert (await one.report())["endedBy"] == "time"
        assert [each["phase"] for each in one.recorded] == ["began", "ended"]


async def test_a_word_is_followed_once() -> None:
    async with drilled(pinned("app", "m1")) as one:
        await one.say(seconds=60.0)
        await one.city.live(70)
        assert one.loop.running is None
    async with one.city.next_leader() as second:
        other = DrillCity(second)
        await other.loop.sync()
        assert other.loop.running is None
        body = await second.loops.hub.get(CONFIG_MAPS, DRILL_MAP, NAMESPACE)
        assert body["data"]["site"] == "m1", "the word still stands"
        assert len(other.recorded) == 2
