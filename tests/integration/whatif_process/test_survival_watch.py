"""The condition `SurvivesLoss`: after changes only, in a process of its own, never out of date."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from scheduler.model.kinds.fields import Condition
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.questions import Question, SurvivalQuestion
from scheduler.whatif.survival.touched import KnownLoss
from scheduler.whatif_process.asker import WhatIfAsker
from scheduler.whatif_process.survival_watch import SurvivalWatch
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import grant, nodes, site, workload
from tests.support.whatifs import copy_of

pytestmark = pytest.mark.integration


class CountingTelemetry(NullTelemetry):
    """Keeps the last counts."""

    def __init__(self) -> None:
        self.counts: tuple[int, int, int] | None = None
        self.domains: dict[str, tuple[int, int, int]] = {}
        self.judgements = 0

    def observe_survival(
        self, seconds: float, *, survived: int, not_survived: int, unknown: int
    ) -> None:
        assert seconds >= 0
        self.judgements += 1
        self.counts = (survived, not_survived, unknown)

    def set_domain_losses(self, of: str, *, survived: int, not_survived: int, unknown: int) -> None:
        self.domains[of] = (survived, not_survived, unknown)


class Rig:
    """A watch with answers that a test sets, and how often it was asked."""

    def __init__(self, interval_seconds: float = 30.0) -> None:
        self.clock, self.telemetry = FakeClock(), CountingTelemetry()
        self.questions: list[Question] = []
        self.domain_questions: list[Question] = []
        self.version: int | None = 1
        self.lines: list[bytes] = []
        self.domain_lines = [b'{"answer":{"losses":[]}}']
        self.survives(m1=True, m2=False, m3=None)
        self.takes_seconds = 0.0
        self.watch = SurvivalWatch(
            ask=self.ask,
            version=lambda: self.version,
            clock=self.clock,
            telemetry=self.telemetry,
            faults=make_faults(self.clock),
            interval_seconds=interval_seconds,
        )

    def survives(self, **sites: bool | None) -> None:
        rows: list[dict[str, Any]] = [
            {
                "of": name,
                "survives": known,
                "workloads": 2,
                "sentence": "all well" if known else f"why {name}: team-b/payroll",
                "lostCount": 0 if known else 1,
                "plan": [],
            }
            for name, known in sites.items()
        ]
        rows.append({"of": "empty", "survives": True, "workloads": 0, "sentence": "nothing"})
        answer = {"answer": {"losses": rows, "computedAt": "x"}}
        self.lines = [b'{"what":"losses","done":1,"total":2}\n', msgspec.json.encode(answer)]

    async def ask(self, question: Question) -> AsyncGenerator[bytes, None]:
        is_of_sites = isinstance(question, SurvivalQuestion) and not question.losses
        (self.questions if is_of_sites else self.domain_questions).append(question)
        if self.takes_seconds and is_of_sites:
            await self.clock.sleep(self.takes_seconds)
        for line in self.lines if is_of_sites else self.domain_lines:
            yield line

    def statuses(self) -> dict[str, str]:
        found = {name: self.watch.condition_of(name) for name in ("m1", "m2", "m3", "empty")}
        return {name: f"{one.status} {one.reason}" for name, one in found.items() if one}


@asynccontextmanager
async def running(watch: SurvivalWatch) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        yield
        task.cancel()


async def judged(rig: Rig, times: int) -> None:
    """Lets time pass until so many judgements are over; each is read on a thread."""
    while rig.telemetry.judgements < times:
        await rig.clock.advance(1)
        await asyncio.to_thread(int)


async def test_each_site_with_work_has_the_condition_with_a_sentence() -> None:
    rig = Rig()
    assert await rig.watch.judge_if_changed()
    assert rig.questions == [SurvivalQuestion(with_plans=True)]
    assert rig.statuses() == {
        "m1": "True PlanFound",
        "m2": "False ProvedLost",
        "m3": "Unknown NoPlanFound",
    }
    condition = rig.watch.condition_of("m2")
    assert condition == Condition(
        type="SurvivesLoss",
        status="False",
        reason="ProvedLost",
        message="no place for 1 of 2 workloads; kapok survive m2 says which, and why",
        last_transition_time=rig.clock.now(),
    )
    assert rig.telemetry.counts == (1, 1, 1)


async def test_the_status_of_a_site_which_all_tenants_read_names_no_workload() -> None:
    rig = Rig()
    await rig.watch.judge_if_changed()
    told = {name: one.message for name in rig.statuses() if (one := rig.watch.condition_of(name))}
    assert told == {
        "m1": "all well",
        "m2": "no place for 1 of 2 workloads; kapok survive m2 says which, and why",
        "m3": "no place was found for 1 of 2 workloads; kapok survive m3 says which, and why",
    }
    # The page shows the names to those who may see all workloads.
    assert rig.watch.conditions["m2"].message == "why m2: team-b/payroll"
    rig.lines = [b'{"failed": "it took longer than 300 s"}']
    rig.watch.note_change()
    await rig.watch.judge_if_changed()
    failed = rig.watch.condition_of("m2")
    assert failed is not None
    assert failed.message == "it is not judged: it took longer than 300 s"


async def test_without_a_change_nothing_is_judged_and_the_time_of_a_status_stays() -> None:
    rig = Rig()
    await rig.watch.judge_if_changed()
    began = rig.clock.now()
    assert not await rig.watch.judge_if_changed()
    await rig.clock.advance(60)
    rig.survives(m1=True, m2=True)
    rig.watch.note_change()
    assert await rig.watch.judge_if_changed()
    same, other = rig.watch.condition_of("m1"), rig.watch.condition_of("m2")
    assert same is not None
    assert other is not None
    assert (same.last_transition_time, other.last_transition_time) == (began, rig.clock.now())
    assert "m3" not in rig.statuses()  # gone, or without work now


@pytest.mark.parametrize(
    "line", [b'{"failed": "it took longer than 300 s"}', b"not JSON", b'{"answer": {}}', b""]
)
async def test_what_cannot_be_judged_is_not_known_and_the_loop_goes_on(line: bytes) -> None:
    rig = Rig()
    async with running(rig.watch):
        await judged(rig, 1)
        good = list(rig.lines)
        rig.lines, rig.version = [line], 2
        await judged(rig, 2)
        assert set(rig.statuses().values()) == {"Unknown NotJudged"}
        rig.lines, rig.version = good, 3
        await judged(rig, 3)
        assert rig.statuses()["m2"] == "False ProvedLost"


async def test_changes_are_judged_together_and_a_long_judgement_is_followed_by_a_long_pause() -> (
    None
):
    rig = Rig()
    rig.takes_seconds = 40.0
    async with running(rig.watch):
        for second in range(400):
            rig.version = second
            await rig.clock.advance(1)
            await asyncio.to_thread(int)
    assert 2 <= len(rig.questions) <= 3  # 40 s, at least 120 s of pause, and so on


async def test_a_replica_that_does_not_lead_and_one_that_is_switched_off_judge_nothing() -> None:
    rig, off = Rig(), Rig(interval_seconds=0)
    await rig.watch.judge_if_changed()
    rig.version = None
    assert not await rig.watch.judge_if_changed()
    assert rig.statuses() == {}
    await off.watch.run()
    assert off.questions == []


def domain_answer(**domains: bool | None) -> list[bytes]:
    rows: list[dict[str, Any]] = [
        {
            "of": name.replace("_", "="),
            "survives": known,
            "workloads": 2,
            "sentence": "why",
            "siteNames": ["m1", "m2"],
            "plan": [{"workload": "ns/web", "to": [{"site": "m3", "replicas": 2}]}],
        }
        for name, known in domains.items()
    ]
    rows.append({"of": "city=empty", "survives": True, "workloads": 0, "sentence": "nothing"})
    return [msgspec.json.encode({"answer": {"losses": rows}})]


def proved(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """A row of a loss that is survived, with its plan."""
    plan = [{"workload": "ns/a", "to": [{"site": "m9", "replicas": 2}]}]
    row = {"of": name, "survives": True, "workloads": 2, "sentence": f"why {name}"}
    return {**row, "siteNames": [name], "plan": plan, "digest": f"d-{name}", **more}


async def test_losses_that_nothing_has_touched_keep_their_answers_and_plans() -> None:
    rig = Rig()

    def answers(*rows: dict[str, Any]) -> None:
        rig.lines = [msgspec.json.encode({"answer": {"losses": rows}})]

    async def asked_again() -> tuple[KnownLoss, ...]:
        rig.watch.note_change()
        await rig.watch.judge_if_changed()
        question = rig.questions[-1]
        assert isinstance(question, SurvivalQuestion)
        return question.known

    kept = KnownLoss(of="m1", digest="d-m1", targets=("m9",))
    answers(proved("m1"), {"of": "m2", "survives": False, "workloads": 1, "sentence": "full"})
    assert await asked_again() == ()
    entry = rig.watch.plans.entry_for("ns/a", ["m1"], lambda _: True)
    assert entry is not None
    answers({"of": "m1", "unchanged": True, "workloads": 2}, proved("m2", digest="d2"))
    assert await asked_again() == (kept,)
    assert rig.statuses() == {"m1": "True PlanFound", "m2": "True PlanFound"}
    assert rig.watch.plans.entry_for("ns/a", ["m1"], lambda _: True) == entry
    answers(proved("m1"), proved("m2"))
    assert [one.of for one in await asked_again()] == ["m1", "m2"]
    rig.lines = [b'{"failed":"no memory"}']
    assert len(await asked_again()) == 2
    answers(proved("m1"))
    assert await asked_again() == (), "after a failure all is proved again"
    await rig.clock.advance(601)
    assert await asked_again() == (), "and all of it now and then"
    assert await asked_again() == (kept,)


async def test_domains_are_counted_by_kind_and_their_plans_are_kept() -> None:
    rig = Rig()
    rig.domain_lines = domain_answer(province_A=True, province_B=False, city_C=None)
    await rig.watch.judge_if_changed()
    assert rig.telemetry.domains == {
        "province": (1, 1, 0),
        "city": (0, 0, 1),
        "provider": (0, 0, 0),
    }
    entry = rig.watch.plans.entry_for("ns/web", ("m1", "m2"), lambda _site: True)
    assert entry is not None
    assert entry.loss == "province=A"
    (question,) = rig.domain_questions
    assert isinstance(question, SurvivalQuestion)
    assert [(one.kind, one.value) for one in question.losses] == [
        ("province", "*"),
        ("city", "*"),
        ("provider", "*"),
    ]


async def test_domains_that_cannot_be_judged_are_unknown_and_the_sites_keep_their_answers() -> None:
    rig = Rig()
    rig.domain_lines = domain_answer(province_A=True, province_B=False)
    await rig.watch.judge_if_changed()
    rig.domain_lines = [b'{"failed": "no memory"}']
    rig.watch.note_change()
    await rig.watch.judge_if_changed()
    assert rig.telemetry.domains["province"] == (0, 0, 2)
    assert rig.watch.plans.entry_for("ns/web", ("m1",), lambda _site: True) is None
    assert rig.statuses()["m1"] == "True PlanFound"
    rig.version = None
    assert not await rig.watch.judge_if_changed()
    assert not len(rig.watch.plans)


async def test_domains_wait_nine_times_as_long_as_they_took_and_are_judged_then() -> None:
    rig = Rig()

    async def ask(question: Question) -> AsyncGenerator[bytes, None]:
        async for line in rig.ask(question):
            if rig.domain_questions and question is rig.domain_questions[-1]:
                await rig.clock.sleep(10.0)
            yield line

    rig.watch.ask = ask
    async with running(rig.watch):
        while not rig.telemetry.domains:
            await rig.clock.advance(1)
            await asyncio.to_thread(int)
        rig.watch.note_change()
        await judged(rig, 2)
        assert len(rig.domain_questions) == 1
        for _ in range(120):
            await rig.clock.advance(1)
            await asyncio.to_thread(int)
        assert len(rig.domain_questions) == 2  # without another change
        assert len(rig.questions) == 2


async def test_the_real_process_judges_domains_together() -> None:
    def take_copy() -> FleetCopy:
        places = {"m1": "P", "m2": "P", "m3": "Q"}
        sites = [
            site(name, nodes(3), spec={"location": {"province": place}})
            for name, place in places.items()
        ]
        return copy_of(*sites, grant(*places), workload(2, name="web", placed={"m1": 1, "m2": 1}))

    rig = Rig()
    real: Any = WhatIfAsker(take_copy).ask
    rig.watch.ask = real
    assert await rig.watch.judge_if_changed()
    assert rig.telemetry.domains["province"] == (1, 0, 0)  # nothing runs in Q
    entry = rig.watch.plans.entry_for("ns/web", ("m1", "m2"), lambda _site: True)
    assert entry is not None
    assert (entry.loss, [(one.site, one.replicas) for one in entry.sites]) == (
        "province=P",
        [("m3", 2)],
    )


async def test_the_real_process_judges_a_real_copy() -> None:
    def take_copy() -> FleetCopy:
        return copy_of(
            site("m1", nodes(1)),
            site("m2", nodes(3)),
            grant("m1", "m2"),
            workload(2, name="web", placed={"m1": 2}),
            workload(2, name="db", placed={"m2": 2}),
        )

    rig = Rig()
    real: Any = WhatIfAsker(take_copy).ask
    rig.watch.ask = real
    assert await rig.watch.judge_if_changed()
    assert rig.statuses() == {"m1": "True PlanFound", "m2": "False ProvedLost"}
    lost = rig.watch.condition_of("m2")
    assert lost is not None
    assert lost.message.startswith("no place for 1 of 1 workloads; ")
    assert "ns/db" in rig.watch.conditions["m2"].message
    plans = rig.watch.plans
    entry = plans.entry_for("ns/web", ("m1",), lambda _site: True)
    assert entry is not None
    assert (entry.loss, [(one.site, one.replicas) for one in entry.sites]) == ("m1", [("m2", 2)])
    assert [one.workload for one in plans.listed(entry.version)] == ["ns/web"]
    assert plans.entry_for("ns/db", ("m2",), lambda _site: True) is None  # it is not survived
    rig.watch.ask, rig.lines = rig.ask, [b'{"failed": "no memory"}']
    rig.watch.note_change()
    await rig.watch.judge_if_changed()
    assert not len(rig.watch.plans)  # an old plan is not shown as a new one
