"""Failover in the loops: what is replaced, what is not, and what happens on return."""

from collections.abc import Mapping
from typing import Any

import pytest

from scheduler.control.failover.gate import OpenGate
from scheduler.control.failover.words import (
    WORDS_ANNOTATION,
    OperatorWord,
    read_words,
    write_words,
)
from tests.support.failing_city import FailingCity, pinned
from tests.support.sites import Raw, workload


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


async def test_what_does_not_fit_keeps_its_place_and_says_so_and_moves_when_it_fits() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(120)
        assert city.where() == {"m1": 2}
        assert city.condition()[:2] == ("False", "NotReplaced")
        assert "1 full" in city.condition()[2]
        assert city.status().phase == "Degraded"
        city.room["m2"] = 4
        await city.live(30)
        assert city.where() == {"m2": 2}
        assert city.condition()[:2] == ("True", "Replaced")


async def test_a_site_that_is_back_keeps_what_could_not_be_replaced() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(120)
        city.come_back("m1")
        await city.live(20)
        assert city.where() == {"m1": 2}
        assert city.condition() == ("", "", "")
        assert city.status().phase == "Running"
        assert not city.loops.failover_loop.evictions


@pytest.mark.parametrize(("on_return", "ends_at"), [("Keep", "m2"), ("Return", "m1")])
async def test_a_site_that_returns_in_the_middle_of_a_move(on_return: str, ends_at: str) -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": on_return})):
        city.fall_silent("m1")
        city.broken.add("m2")
        await city.live(120)
        assert (city.where(), city.leaving()) == ({"m2": 2}, {"m1": 2})
        city.come_back("m1")
        await city.live(20)
        assert sum(count for _, count in city.runs["m1"].values()) == 2, "they stay as they are"
        city.broken.discard("m2")
        await city.live(60)
        assert city.where() == {ends_at: 2}
        assert city.leaving() == {}


@pytest.mark.parametrize(
    ("on_return", "ends_at"), [("Keep", "m2"), ("Return", "m1"), ("PreferOriginal", "m2")]
)
async def test_what_is_replaced_goes_back_as_on_return_says(on_return: str, ends_at: str) -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": on_return})):
        city.fall_silent("m1")
        await city.live(140)
        assert city.where() == {"m2": 2}
        city.come_back("m1")
        ready = []
        for _ in range(6):
            await city.live(10)
            ready.append(sum(count for runs in city.runs.values() for _, count in runs.values()))
        assert min(ready) >= 2, "the replacement comes first, in both directions"
        assert city.where() == {ends_at: 2}
        if on_return == "PreferOriginal":
            await city.patch("app", {"demand": {"replicas": 3}})
            await city.live(30)
            assert city.where() == {"m1": 2, "m2": 1} or city.where() == {"m1": 3}


async def test_a_replacement_that_dies_too_is_replaced() -> None:
    city = FailingCity({"m1": 4, "m2": 4, "m3": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": "Return"})):
        city.fall_silent("m1")
        city.broken.update(("m2", "m3"))
        await city.live(120)
        [second] = city.where()
        city.fall_silent(second)
        await city.live(120)
        [third] = city.where()
        assert {"m1", second, third} == {"m1", "m2", "m3"}
        assert city.leaving() == {"m1": 2, second: 2}
        city.broken.clear()
        await city.live(20)
        assert city.leaving() == {}
        assert {one.site for one in city.status().remains} == {"m1", second}
        city.come_back("m1", second)
        await city.live(40)
        assert city.where() == {"m1": 2}


async def test_a_site_that_is_back_takes_over_when_its_replacement_dies_before_it_runs() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        city.broken.add("m2")
        await city.live(120)
        assert city.where() == {"m2": 2}
        city.come_back("m1")
        city.fall_silent("m2")
        await city.live(130)
        assert (city.where(), city.leaving()) == ({"m1": 2}, {})


class ShutGate(OpenGate):
    """A gate that a test opens and shuts."""

    def __init__(self) -> None:
        self.why, self.budget = "frozen", 1_000

    def why_not(self, site: str) -> str:
        assert site
        return self.why

    def take(self, most: int) -> int:
        granted = min(most, self.budget)
        self.budget -= granted
        return granted


async def test_a_shut_gate_holds_all_back_and_nothing_waits_when_it_opens() -> None:
    gate = ShutGate()
    city = FailingCity({"m1": 4, "m2": 9}, gate=gate)
    async with city.started(pinned("app", "m1"), pinned("other", "m1")):
        city.fall_silent("m1")
        await city.live(300)
        assert (city.where(), city.where("other")) == ({"m1": 2}, {"m1": 2})
        gate.why, gate.budget = "", 1
        await city.live(10)
        assert sorted([*city.where(), *city.where("other")]) == ["m1", "m2"], "at the rate"
        gate.budget = 10
        await city.live(2)
        assert (city.where(), city.where("other")) == ({"m2": 2}, {"m2": 2})


class GateThatOpens(ShutGate):
    """It says when it is to be asked again."""

    def next_seconds(self) -> float | None:
        return 0.05 if self.why else None


async def test_a_gate_that_opens_is_asked_when_it_said() -> None:
    gate = GateThatOpens()
    city = FailingCity({"m1": 4, "m2": 9}, gate=gate)
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(300)
        assert city.where() == {"m1": 2}
        gate.why = ""
        await city.live(0.1)
        assert city.where() == {"m2": 2}


async def test_the_highest_priority_gets_the_room_that_is_left() -> None:
    city = FailingCity({"m1": 9, "m2": 2})
    async with city.started(
        pinned("a", "m1", priority=1), pinned("b", "m1", priority=5), pinned("c", "m1", priority=3)
    ):
        city.fall_silent("m1")
        await city.live(120)
        assert [city.where(name) for name in ("a", "b", "c")] == [{"m1": 2}, {"m2": 2}, {"m1": 2}]


async def test_what_stays_elsewhere_is_not_moved() -> None:
    city = FailingCity({"m1": 3, "m2": 9})
    async with city.started(pinned("a", "m1"), pinned("b", "m2"), pinned("c", "m1", replicas=1)):
        city.fall_silent("m1")
        records = len(city.loops.recorder.records)
        await city.live(150)
        assert [city.where(name) for name in "abc"] == [{"m2": 2}, {"m2": 2}, {"m2": 1}]
        assert len(city.loops.recorder.records) == records + 2


async def test_manual_work_says_that_an_operator_decides_and_moves_by_his_word_once() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"mode": "Manual"})):
        city.fall_silent("m1")
        await city.live(200)
        assert city.where() == {"m1": 2}
        assert city.condition()[:2] == ("False", "Manual")
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        stranger = OperatorWord(("ns", "app"), "another uid", "1", "mallory")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([stranger])})
        await city.live(10)
        assert city.where() == {"m1": 2}
        word = OperatorWord(("ns", "app"), uid, "2", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(20)
        assert city.where() == {"m2": 2}
        failover = city.status().failover
        assert failover is not None
        assert [(one.site, one.by, one.replicas) for one in failover.moved] == [("m1", "ops", 2)]
        assert [(one.id, one.by, one.moved) for one in failover.answers] == [("2", "ops", True)]
        city.come_back("m1")
        city.fall_silent("m2")
        await city.live(60)
        await city.live(10)
        assert city.where() == {"m2": 2}, "the word is followed once"


async def test_a_word_that_cannot_be_followed_is_answered_with_the_reason() -> None:
    city = FailingCity({"m1": 4, "m2": 1})
    async with city.started(pinned("app", "m1", failover={"mode": "Manual"})):
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        word = OperatorWord(("ns", "app"), uid, "1", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(10)
        failover = city.status().failover
        assert failover is not None
        [answer] = failover.answers
        assert (answer.moved, "full" in answer.reason) == (False, True), answer
        await city.live(10)
        assert city.where() == {"m1": 2}
        assert city.status().phase == "Running"
        assert not city.loops.failover_loop.evictions


async def test_a_whole_copy_at_every_site_is_not_moved() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    everywhere = workload(1, placement={"strategy": "Duplicated"})
    async with city.started(everywhere):
        before = city.where()
        city.fall_silent("m1")
        await city.live(200)
        assert city.where() == before
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        word = OperatorWord(("ns", "app"), uid, "1", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(20)
        assert city.where() == before
        failover = city.status().failover
        assert failover is not None
        [answer] = failover.answers
        assert (answer.moved, "a whole copy" in answer.reason) == (False, True), answer


async def test_disabled_failover_says_so() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    city.loops.failover_loop.is_enabled = False
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(200)
        assert city.where() == {"m1": 2}
        assert city.condition()[:2] == ("False", "Disabled")


STATEFUL: dict[str, object] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db", "namespace": "ns"},
    "spec": {
        "replicas": 1,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {
                "containers": [
                    {"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
                ]
            },
        },
    },
}


def stateful(**spec: Any) -> Raw:  # noqa: ANN401 - fields
    raw = pinned("app", "m1", **spec)
    raw["spec"].pop("demand")
    raw["spec"]["manifests"] = [STATEFUL]
    return raw


async def test_numbered_pods_start_elsewhere_only_by_an_operators_word() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(stateful(failover={"mode": "Automatic"})):
        city.fall_silent("m1")
        await city.live(200)
        assert city.where() == {"m1": 1}
        assert city.condition()[:2] == ("False", "CannotFence")
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        word = OperatorWord(("ns", "app"), uid, "1", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(30)
        assert city.where() == {"m2": 1}
        assert city.runs["m2"], "a silent site that an operator gave up holds nothing back"
        assert [one.site for one in city.status().remains] == ["m1"]
        city.come_back("m1")
        await city.live(20)
        assert city.runs["m1"] == {}
        assert city.status().remains == ()


async def test_numbered_pods_wait_for_a_site_that_reports_whatever_an_operator_says() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(stateful()):
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        city.mute.add("m1")  # it reports, and does not take new indexes
        word = OperatorWord(("ns", "app"), uid, "1", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(30)
        assert city.where() == {"m2": 1}
        assert city.runs["m2"] == {}, "m1 may run it"
        city.mute.clear()
        await city.live(20)
        assert city.runs["m2"]


async def test_a_site_with_an_older_disk_does_not_keep_what_was_replaced() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1")):
        city.fall_silent("m1")
        await city.live(140)
        assert city.where() == {"m2": 2}
        city.come_back("m1")
        city.mute.add("m1")  # its journal has the index of then
        await city.live(20)
        assert city.where() == {"m2": 2}
        assert [one.site for one in city.status().remains] == ["m1"], "not yet seen gone"
        city.mute.clear()
        await city.live(20)
        assert city.status().remains == ()


async def test_a_site_that_returns_under_another_uid_gets_nothing_of_its_former_life() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": "Return"})):
        city.fall_silent("m1")
        city.broken.add("m2")
        await city.live(120)
        assert city.leaving() == {"m1": 2}
        await city.recreate("m1")
        city.come_back("m1")
        city.broken.clear()
        await city.live(60)
        assert sum(city.where().values()) == 2
        assert city.leaving() == {}
        assert city.status().phase == "Running"


async def test_a_new_leader_goes_on_with_what_the_former_one_began() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"onReturn": "Return"})):
        city.fall_silent("m1")
        city.broken.add("m2")
        await city.live(120)
        assert city.leaving() == {"m1": 2}
    async with city.next_leader() as second:
        second.broken.clear()
        await second.live(60)  # a silent site may still report until it is known to be silent
        assert (second.where(), second.leaving()) == ({"m2": 2}, {})
        second.come_back("m1")
        await second.live(60)
        assert second.where() == {"m1": 2}


async def test_however_short_the_time_a_storm_would_show_first() -> None:
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"afterSeconds": 0})):
        city.fall_silent("m1")
        health = city.loops.sites.states["m1"]
        for _ in range(120):
            await city.live(1)
            if health.health.is_absent:
                break
        await city.live(18)
        assert city.where() == {"m1": 2}
        await city.live(4)
        assert city.where() == {"m2": 2}


async def test_a_word_about_replicas_that_have_left_is_answered_and_never_followed_later() -> None:
    """A drain was quicker, say; and the work is at that site again months later."""
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"mode": "Manual"})):
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        late = OperatorWord(("ns", "app"), uid, "late", "ops")
        await city.annotate("m2", {WORDS_ANNOTATION: write_words([late])})
        await city.live(10)
        failover = city.status().failover
        assert failover is not None
        [answer] = failover.answers
        assert (answer.site, answer.id, answer.moved) == ("m2", "late", False)
        assert "no replicas at m2" in answer.reason
        assert not city.loops.failover_loop.evictions
        word = OperatorWord(("ns", "app"), uid, "now", "ops")
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([word])})
        await city.live(30)
        assert city.where() == {"m2": 2}, "the late word does not take it away again"


async def test_words_that_are_answered_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay on the Sites: 256 words cost 4 ms each time that they are read."""
    city = FailingCity({"m1": 4, "m2": 4})
    async with city.started(pinned("app", "m1", failover={"mode": "Manual"})):
        texts = list[str]()

        def read(annotations: Mapping[str, str]) -> tuple[OperatorWord, ...]:
            texts.append(annotations[WORDS_ANNOTATION])
            return read_words(annotations)

        monkeypatch.setattr("scheduler.control.failover.loop.read_words", read)
        uid = city.loops.objects.workloads["ns", "app"].metadata.uid
        first, gone = (OperatorWord(("ns", name), uid, name, "ops") for name in ("app", "gone"))
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([gone, first])})
        await city.live(30)
        assert city.where() == {"m2": 2}
        assert len(texts) == 1
        back = OperatorWord(("ns", "app"), uid, "back", "ops")
        await city.annotate("m2", {WORDS_ANNOTATION: write_words([back])})
        await city.live(30)
        assert city.where() == {"m1": 2}, "a new word on another site"
        assert len(texts) == 2
        await city.annotate("m1", {WORDS_ANNOTATION: write_words([gone, back._replace(id="3")])})
        await city.live(30)
        assert city.where() == {"m2": 2}, "a new word among others that are answered"
        assert len(texts) == 3
