"""The page's questions, answered by the real engine from a real ledger."""

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.control.ports.hub import HubError, Object
from scheduler.inquiry.answers import MAX_WAITING_QUESTIONS, AnswerInputs, RunningAnswers
from scheduler.inquiry.room import lose_site
from scheduler.inquiry.spend import DayMeter, Spending, SpendRate
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.decision import SiteAssignment
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import SitePrices
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.model.words.sentence import json_bytes
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.web.answers.language import in_language
from scheduler.web.answers.source import (
    FitQuestion,
    LedgerUnreadable,
    NothingThere,
    QuestionRefused,
    TooManyQuestions,
    WhyQuestion,
)
from tests.integration.cli.test_replay import NOON, demand, facts_of, record
from tests.support.fake_clock import FakeClock

pytestmark = pytest.mark.integration
KEY = "health/appointment"


def answers_of(
    folder: Path,
    scene: WebState | None = None,
    demands: Iterable[Demand] = (),
    events: list[Object] | None = None,
) -> RunningAnswers:
    clock = FakeClock()
    state = scene or WebState(clock)

    async def read_events(namespace: str, name: str, limit: int) -> list[Object]:
        assert (namespace, name, limit) == ("health", "appointment", 200)
        if events is None:
            raise HubError("no connection")
        return events

    return RunningAnswers(
        AnswerInputs(
            place=folder / LEDGER_FILE,
            take_snapshot=state.take_snapshot,
            terms=lambda: DEFAULT_TERMS,
            demands_at=lambda _site: iter(demands),
            read_events=read_events,
            clock=clock,
        )
    )


async def test_a_page_explains_the_sites_that_are_needed_first(tmp_path: Path) -> None:
    await record(tmp_path, demand())
    answers = answers_of(tmp_path)
    whole = await answers.explain(WhyQuestion(workload=KEY, decision="3-1"))
    assert [site["name"] for site in whole["sites"]] == ["b-core", "a-edge"], "most replicas first"
    first = await answers.explain(WhyQuestion(workload=KEY, decision="3-1", limit=1))
    assert (first["total"], [site["name"] for site in first["sites"]]) == (2, ["b-core"])
    assert first["sites"][0] == whole["sites"][0], "a page explains as the whole does"
    rest = await answers.explain(WhyQuestion(workload=KEY, decision="3-1", offset=1, search="b-"))
    assert (rest["total"], rest["sites"]) == (1, [])
    verdict = whole["sites"][0]["verdicts"][0]
    assert set(verdict) >= {"rule", "reason", "passed", "sentence"}
    assert whole["sites"][0]["costs"][0]["origin"]


async def test_sites_that_refuse_less_come_before_those_that_refuse_more(tmp_path: Path) -> None:
    await record(tmp_path, demand("general-4"))
    body = await answers_of(tmp_path).explain(WhyQuestion(workload=KEY, decision="3-1"))
    assert body["phase"] == "Refused"
    assert body["reasons"] == {"data-class": 2}
    changes = await answers_of(tmp_path).changes(KEY)
    assert all(change["verified"] for change in changes["smallestChange"])
    assert changes["smallestChange"][0]["who"] == "authority"


async def test_any_two_sites_are_compared_rule_by_rule_and_term_by_term(tmp_path: Path) -> None:
    await record(tmp_path, demand())
    answers = answers_of(tmp_path)
    question = WhyQuestion(workload=KEY, decision="3-1", versus=("b-core", "a-edge"), limit=1)
    found = (await answers.explain(question))["versus"]
    assert found["sites"] == ["b-core", "a-edge"]
    standing = "b-core is chosen for 3 replicas; a-edge is chosen for 1 replicas; "
    assert found["sentence"] == standing + "the costs of both are unknown"
    assert [len(term["costs"]) for term in found["terms"]] == [2] * len(found["terms"])
    one = await answers.explain(WhyQuestion(workload=KEY, decision="3-1", versus=("a-edge",)))
    assert one["versus"]["sentence"] == "a-edge is chosen for 1 replicas, together with b-core"
    with pytest.raises(NothingThere, match="no site nowhere"):
        await answers.explain(WhyQuestion(workload=KEY, versus=("nowhere",)))


async def test_what_is_not_there_and_a_lost_ledger_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable):
        await answers_of(tmp_path / "no").explain(WhyQuestion(workload=KEY))
    await record(tmp_path, demand())
    with pytest.raises(NothingThere, match="holds no decision about health/other"):
        await answers_of(tmp_path).explain(WhyQuestion(workload="health/other"))
    with pytest.raises(NothingThere, match="9-9"):
        await answers_of(tmp_path).explain(WhyQuestion(workload=KEY, decision="9-9"))


async def test_a_tenant_reads_no_names_of_other_tenants_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crowded(name: str, cpu: str) -> SiteFacts:
        held = InFlight(workload="reserved for police/case", replicas=1, requests={"cpu": 500})
        return msgspec.structs.replace(facts_of(name, cpu), in_flight=(held,))

    monkeypatch.setattr("tests.integration.cli.test_replay.facts_of", crowded)
    await record(tmp_path, demand())
    answers = answers_of(tmp_path)
    everything = await answers.explain(WhyQuestion(workload=KEY, decision="3-1"))
    assert "police/case" in str(everything)
    own = await answers.explain(WhyQuestion(workload=KEY, decision="3-1", sees_all=False))
    assert "police" not in str(own)
    assert "is reserved for" in str(own)


async def _record_moves(folder: Path) -> None:
    """A placement twice, then one that has moved, then a deletion."""
    asked = demand()
    fleet = Fleet([facts_of("b-core", "16"), facts_of("a-edge", "4")])
    decision = choose(asked, fleet, now=NOON, terms=DEFAULT_TERMS)
    moved = msgspec.structs.replace(
        decision,
        assignment=(SiteAssignment(site="b-core", replicas=4),),
        ended_by={"a-edge": "the site is silent"},
        line="moved 1 replica from a-edge",
    )
    async with Ledger(folder) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        for number, one in enumerate((decision, decision, moved)):
            content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": one}
            at = NOON + timedelta(minutes=number)
            await recorder.record(subject=KEY, epoch=3, at=at, content=content, spec=WorkloadSpec())
        await recorder.record_deletion(
            subject=KEY, epoch=3, at=NOON + timedelta(hours=1), incarnation="i"
        )


async def test_the_timeline_says_where_it_ran_and_why_it_moved(tmp_path: Path) -> None:
    await _record_moves(tmp_path)
    answers = answers_of(tmp_path)
    body = await answers.history(KEY, 0, 50)
    gone, moved, placed = body["entries"]
    assert (gone["kind"], gone["sites"]) == ("deletion", [])
    assert moved["moved"] is True
    assert moved["gained"] == [{"name": "b-core", "replicas": 1}]
    assert moved["left"] == [{"name": "a-edge", "replicas": 1}]
    assert moved["why"] == {"a-edge": "the site is silent"}
    assert (placed["times"], placed["moved"]) == (2, False)
    assert placed["gained"] == placed["sites"]
    assert body["next"] is None
    first = await answers.history(KEY, 0, 1)
    assert [one["kind"] for one in first["entries"]] == ["deletion"]
    second = await answers.history(KEY, first["next"], 1)
    assert second["entries"][0]["id"] == moved["id"]
    assert second["entries"][0]["gained"] == moved["gained"]
    assert (await answers.history("health/other", 0, 50))["entries"] == []


async def test_a_shape_fits_where_a_node_has_room_for_it(tmp_path: Path) -> None:
    scene = WebState(FakeClock())
    scene.admit(3)
    scene.report_all()
    answers = answers_of(tmp_path, scene)
    body = await answers.fits(FitQuestion(requests={"cpu": "1"}, limit=2))
    assert (body["total"], len(body["sites"]), body["rightsChecked"]) == (3, 2, False)
    assert body["fitting"] == 3
    assert body["sites"][0]["replicas"] == body["sites"][0]["room"] > 0
    large = await answers.fits(FitQuestion(requests={"cpu": "900"}))
    assert (large["fitting"], large["sites"][0]["firstRefusal"]) == (0, "full")
    lawful = await answers.fits(FitQuestion(requests={"cpu": "1"}, data_class="general-1"))
    assert (lawful["fitting"], lawful["sites"][0]["firstRefusal"]) == (0, "not-allowed")
    assert lawful["sites"][0]["room"] > 0
    for wrong in ({"cpu": "much"}, {"cpu": "-1"}, {"cpu": "1e30"}, {"kapok.dev/gpu-milli": "1001"}):
        with pytest.raises(QuestionRefused, match=next(iter(wrong))):
            await answers.fits(FitQuestion(requests=wrong))
    for most in ({"cpu": "4e15"}, {"memory": "4e18"}, {"cpu": "1n"}, {"nvidia.com/gpu": "0"}, {}):
        found = await answers.fits(FitQuestion(requests=most, replicas=100_000))
        assert found["total"] == 3
    with pytest.raises(QuestionRefused, match="general-1"):
        await answers.fits(FitQuestion(requests={"cpu": "1"}, data_class="secret"))


def at_site(key: str, priority: int, cores: int) -> Demand:
    asked = demand()
    pods = asked.unit[0]
    shape = msgspec.structs.replace(pods.shape, requests={"cpu": cores * 1000, "pods": 1})
    return msgspec.structs.replace(
        asked,
        key=key,
        priority=priority,
        replicas=1,
        unit=(msgspec.structs.replace(pods, shape=shape),),
        placed=(PlacedReplicas(site="a-edge", replicas=1),),
    )


def test_after_a_loss_the_room_that_is_left_goes_to_the_more_urgent_work() -> None:
    facts = [facts_of("a-edge", "4"), facts_of("b-core", "4")]
    demands = [at_site(f"health/{n}", priority=n, cores=4) for n in range(5)]
    body = lose_site("a-edge", facts, demands, now=NOON, terms=DEFAULT_TERMS)
    assert body["workloads"] == 5
    assert body["outcomes"] == {"replaced": 3, "partly": 0, "lost": 2}, "b-core has three nodes"
    lost = [row for row in body["rows"] if row["outcome"] == "lost"]
    assert [row["workload"] for row in lost] == ["health/1", "health/0"]
    assert lost[0]["reasons"] == {"full": 1}
    assert lost[0]["lawfulSites"] == 1, "a place that the law allows, without room"
    assert body["rows"][-1]["to"] == [{"name": "b-core", "replicas": 1}]
    assert facts[1].in_flight == (), "nothing is changed by asking"


async def test_an_unknown_site_cannot_be_lost(tmp_path: Path) -> None:
    scene = WebState(FakeClock())
    scene.admit(2)
    with pytest.raises(NothingThere, match="no site x; sites: site-00000, site-00001"):
        await answers_of(tmp_path, scene).lost_with("x")
    body = await answers_of(tmp_path, scene).lost_with("site-00000")
    assert (body["workloads"], body["rows"]) == (0, [])


async def test_unknown_prices_are_unknown_and_not_zero(tmp_path: Path) -> None:
    scene = WebState(FakeClock())
    scene.admit(2)
    scene.report_all()
    scene.place(4)
    answers = answers_of(tmp_path, scene)
    body = await answers.spend(scene.take_snapshot())
    total = body["total"]
    assert total["watts"] > 0
    assert total["cnyPerHour"] is None, "no site has prices"
    assert total["gco2PerHour"] > 0
    assert total["knownCarbonRatio"] == 1.0
    assert [row["name"] for row in body["tenants"]] == ["-"]
    assert body["sites"][0]["pueOrigin"] == "assumed"
    inputs = {row["input"]: row for row in body["inputs"]}
    assert inputs["pue"]["measuredRatio"] == 0.0
    assert sum(inputs["power"]["origins"].values()) == 2
    for name, site in scene.sources.registry.sites.items():
        prices = SitePrices(energy_cny_per_kwh=1.0, core_cny_per_hour=0.5)
        spec = msgspec.structs.replace(site.spec, prices=prices)
        scene.sources.registry.sites[name] = msgspec.structs.replace(site, spec=spec)
        scene.sources.sites.admit(name)
    priced = (await answers.spend(scene.take_snapshot()))["total"]
    cores = 4 * 3 * 0.1
    assert priced["cnyPerHour"] == pytest.approx(priced["watts"] / 1000 * 1.4 + cores * 0.5)
    assert priced["knownCostRatio"] == 1.0


def spending(hours: float, watts: float) -> Spending:
    rate = SpendRate(watts=watts, gco2_per_hour=watts / 2, watts_of_known_carbon=watts / 4)
    return Spending(NOON + timedelta(hours=hours), {"bureau": rate}, {"m1": rate})


def test_a_day_is_summed_from_readings_and_begins_at_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    meter = DayMeter()
    for minute in range(0, 61, 5):
        meter.read(spending(minute / 60, 100.0))
    assert meter.tenant_today("bureau")["wattHours"] == pytest.approx(100.0)
    assert meter.total_today()["gco2"] == pytest.approx(50.0)
    assert meter.total_today()["knownCarbonRatio"] == pytest.approx(0.25)
    assert meter.total_today()["cny"] is None, "no price is known, which is not zero"
    assert meter.since == NOON
    meter.read(spending(5, 100.0))
    assert meter.site_today("m1")["wattHours"] == pytest.approx(100.0 + 100.0 / 12)
    assert meter.tenant_today("other")["gco2"] == 0.0, "it has drawn nothing"
    meter.read(spending(24, 100.0))
    assert meter.total_today()["wattHours"] == 0.0
    assert meter.since == NOON + timedelta(hours=24), "what was before is not known"


async def test_events_are_the_newest_first_and_a_silent_hub_is_said(tmp_path: Path) -> None:
    workload = Workload(metadata=Metadata(namespace="health", name="appointment"))
    found: list[dict[str, Any]] = [
        {"reason": "Placed", "message": "a", "lastTimestamp": "2026-11-24T11:00:00Z"},
        {"reason": "Moved", "message": "b", "lastTimestamp": "2026-11-24T12:00:00Z", "count": 3},
    ]
    body = await answers_of(tmp_path, events=found).events(workload)
    assert [(row["reason"], row["count"]) for row in body["events"]] == [
        ("Moved", 3),
        ("Placed", 1),
    ]
    with pytest.raises(LedgerUnreadable, match="the hub does not answer"):
        await answers_of(tmp_path).events(workload)


async def test_questions_wait_for_their_turn_and_too_many_are_refused(tmp_path: Path) -> None:
    await record(tmp_path, demand())
    answers = answers_of(tmp_path)
    question = WhyQuestion(workload=KEY)
    refused: list[str] = []

    async def ask() -> None:
        try:
            await answers.explain(question)
        except TooManyQuestions as error:
            refused.append(str(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(MAX_WAITING_QUESTIONS + 3):
            group.create_task(ask())
    assert len(refused) == 3
    assert "ask again in some seconds" in refused[0]
    assert (await answers.explain(question))["workload"] == KEY


async def test_an_answer_is_said_in_the_language_of_the_reader(tmp_path: Path) -> None:
    await record(tmp_path, demand("general-4"))
    answers = answers_of(tmp_path)
    body = await answers.explain(WhyQuestion(workload=KEY, decision="3-1"))
    chinese = in_language(body, "zh")
    assert "个站点" in chinese["line"]
    refused = [one for one in chinese["sites"][0]["verdicts"] if one["passed"] is False]
    assert refused[0]["message"] == "data-class.compared", "slugs stay as they are"
    assert "此负载为 general-4" in refused[0]["sentence"]
    assert "主管部门" in chinese["plain"][0]["ask"]
    changes = in_language(await answers.changes(KEY), "zh")["smallestChange"]
    assert "就可以放置" in changes[0]["sentence"]
    assert changes[0]["kind"] == (await answers.changes(KEY))["smallestChange"][0]["kind"]
    assert in_language({"line": "something of a user", "n": 1}, "zh")["line"] == (
        "something of a user"
    )
    line = "0/3 sites are feasible: 8 data-class, 3 selector"
    row = in_language({"reason": line, "reasons": [{"reason": "data-class"}]}, "zh")
    assert "个站点" in row["reason"]
    assert row["reasons"] == [{"reason": "data-class"}]
    assert in_language(body, "en") is body
    assert json.loads(json_bytes(in_language(body, "en")))["line"] == body["line"], (
        "as the page gets it"
    )
    assert json.loads(json_bytes(chinese))["line"] == chinese["line"]
