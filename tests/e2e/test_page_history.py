"""Where work ran yesterday and why it moved: the real page over a ledger of several days."""

import asyncio
import socket
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.control.ports.hub import HubError, Object
from scheduler.inquiry.answers import AnswerInputs, RunningAnswers
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.decision import SiteAssignment
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import SystemClock
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from tests.integration.cli.test_replay import NOON, demand, facts_of
from tests.support.browser import Browser, browser, require_browser
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SUBJECT = "health/appointment"
SILENT, DRAINED = "the site is silent since 03:10", "the site is being drained"


async def record_days(folder: Path, now: datetime) -> None:
    """Three days of a workload: placed at two sites, moved in the night before last, and today."""
    asked = demand()
    fleet = Fleet([facts_of("b-core", "16"), facts_of("a-edge", "4")])
    placed = choose(asked, fleet, now=NOON, terms=DEFAULT_TERMS)

    def moved(left: str, to: str, why: str) -> object:
        return msgspec.structs.replace(
            placed,
            assignment=(SiteAssignment(site=to, replicas=4),),
            ended_by={left: why},
            line=f"moved from {left} to {to}",
        )

    days = (
        (timedelta(days=3), placed),
        (timedelta(hours=30), moved("a-edge", "b-core", SILENT)),
        (timedelta(hours=29), moved("a-edge", "b-core", SILENT)),
        (timedelta(hours=2), moved("b-core", "c-west", DRAINED)),
    )
    async with Ledger(folder) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        for age, decision in days:
            content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": decision}
            await recorder.record(
                subject=SUBJECT, epoch=3, at=now - age, content=content, spec=WorkloadSpec()
            )


def sources_of(folder: Path) -> WebSources:
    """A scheduler that knows the workload, and answers from the ledger of a folder."""
    clock = SystemClock()
    scene = WebState(clock)
    scene.admit(2)
    scene.report_all()
    scene.place(1)
    work = scene.sources.registry.workloads
    namespace, _, name = SUBJECT.partition("/")
    work[namespace, name] = msgspec.structs.replace(
        work["default", "work-00000"], metadata=Metadata(namespace=namespace, name=name)
    )

    async def read_events(namespace: str, name: str, limit: int) -> list[Object]:
        raise HubError(f"no events of {namespace}/{name} are kept here, {limit} asked")

    def nothing(*_: object) -> bytes:
        raise LookupError

    inputs = AnswerInputs(
        place=folder / LEDGER_FILE,
        take_snapshot=scene.take_snapshot,
        terms=lambda: DEFAULT_TERMS,
        demands_at=lambda _site: iter(()),
        read_events=read_events,
        clock=clock,
    )
    return WebSources(
        take_snapshot=scene.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=nothing, read_page=nothing, read_blob=nothing, read_blob_of=nothing
        ),
        readiness_problem=lambda: "",
        review_token=fake_reviewer({"good": [ALL]}),
        clock=clock,
        faults=make_faults(clock),
        answers=RunningAnswers(inputs),
    )


def ask_for_yesterday(url: str, folder: Path) -> None:
    """Clicks as an operator does, and reads the answers."""
    with browser(folder) as window:
        window.command("Network.enable", {})
        headers = {"Authorization": "Bearer good"}
        window.command("Network.setExtraHTTPHeaders", {"headers": headers})
        window.open(f"{url}#/workloads/{SUBJECT}?part=history")
        eventually(
            lambda: all(one in _text(window, "#timeline") for one in (SILENT, DRAINED)),
            within_seconds=60,
        )
        window.run(
            "[...document.querySelectorAll('section.panel button')]"
            ".find((one) => one.textContent === 'Yesterday at this time').click()"
        )
        eventually(lambda: "b-core (4)" in _text(window, "#at"), within_seconds=30)
        eventually(lambda: "c-west" not in _text(window, "#at"), within_seconds=30)
        eventually(lambda: SILENT in _text(window, "#timeline .in-force"), within_seconds=30)
        eventually(
            lambda: "a-edge (1) → b-core (1)" in _text(window, "#timeline .in-force"),
            within_seconds=30,
        )
        assert window.console_messages() == []


def _text(window: Browser, selector: str) -> str:
    found = window.run(f"return document.querySelector({selector!r})?.innerText || ''")
    return str(found)


async def test_the_page_says_where_work_ran_yesterday_and_why_it_moved(tmp_path: Path) -> None:
    require_browser()
    await record_days(tmp_path / "ledger", SystemClock().now())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serve_web(WebListener(port=port), sources_of(tmp_path / "ledger")):
        folder = tmp_path / "window"
        folder.mkdir()
        await asyncio.to_thread(ask_for_yesterday, f"http://127.0.0.1:{port}/", folder)
