"""The views of work in a real browser, on a real demo: what an operator asks, and hostile text."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_demo import running
from tests.support.browser import Browser, browser, require_browser
from tests.support.page_double import ESCAPES, MARKUP, Reader, poisoned, serving
from tests.support.up import KUBECTL, ROOT, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PLACED, REFUSED, UNNAMED = (
    "health/appointment",
    "health/patient-export",
    "health/new-questionnaire",
)
EXPORT = ROOT / "manifests" / "samples" / "workloads" / "patient-export.yaml"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_browser()
    folder = tmp_path_factory.mktemp("work") / "demo"
    with running(folder):
        hub = folder / "hub"
        command = [
            str(KUBECTL),
            "--kubeconfig",
            str(hub / "kubeconfig"),
            "apply",
            "-f",
            str(EXPORT),
        ]
        subprocess.run(command, check=True, capture_output=True)
        yield hub


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("window")) as found:
        yield found


def address(data_dir: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scheduler.cli.entry", "open", "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip()


def show(window: Browser, view: str) -> None:
    """Goes to a view without loading the page again."""
    window.run(f"location.hash = {json.dumps(view)}")


def text_of(window: Browser, selector: str) -> str:
    """The text of an element; "": it is not there."""
    script = f"return document.querySelector({json.dumps(selector)})?.innerText || ''"
    return str(window.run(script))


def shows(window: Browser, selector: str, *words: str) -> str:
    """Waits until an element has all these words; returns its text of that moment."""

    def look() -> str:
        text = text_of(window, selector)
        return text if all(word in text for word in words) else ""

    try:
        return str(eventually(look))
    except AssertionError:
        said = f"{selector} has not {words}; the page:\n{window.text()}"
        raise AssertionError(said) from None


def choose(window: Browser, selector: str, value: str) -> None:
    """Types into a field."""
    window.run(
        f"const box = document.querySelector({json.dumps(selector)});"
        f"box.value = {json.dumps(value)};"
        "box.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def press(window: Browser, selector: str) -> None:
    """Presses an element."""
    window.run(f"document.querySelector({json.dumps(selector)}).click()")


@pytest.fixture
def page(data_dir: Path, window: Browser) -> Browser:
    window.open(address(data_dir))
    return window


def test_workloads_are_found_by_facets_whose_choice_is_in_the_address(page: Browser) -> None:
    show(page, "#/workloads")
    shows(page, "#workloads", PLACED, REFUSED)
    shows(page, "#workloads-count", "9")
    press(page, "[data-facet=tenant] input")
    shows(page, "#workloads-count", " of 9")
    # A link shows what its sender saw.
    eventually(lambda: "tenant=" in page.run("return location.hash"))
    assert page.console_messages() == []


def test_why_it_does_not_run_and_who_can_change_it(page: Browser) -> None:
    show(page, f"#/workloads/{REFUSED}")
    shows(page, "#why-line", "selector")
    shows(page, "#changes", "the tenant may change it", "workload.siteSelector")
    show_me = "return document.querySelector('#changes a[href^=\"#/whatif?\"]').href"
    eventually(lambda: "change=workload.siteSelector" in page.run(show_me))
    shows(page, ".heat table", "selector")
    page.run("document.querySelector('.heat td.bad button').focus()")
    shows(page, "#said", ",")
    words = "return document.getElementById('in-words').textContent"
    eventually(lambda: "labels do not match" in page.run(words))  # for a reader of the screen
    press(page, '#changes a[href^="#/whatif?"]')
    shows(page, "#suggested", REFUSED, "CN-SC", "gz-core", "the tenant may change it")
    shows(page, "#suggested-outcome #whatif-moves", REFUSED)
    shows(page, "#suggested-outcome #whatif-sides", "Before", "After")
    show(page, "#/whatif?workload=health/patient-export&change=site.add&target=x")
    shows(page, "#suggested", "no longer one of the smallest changes")
    show(page, f"#/workloads/{UNNAMED}")
    shows(page, "#reasons", "no data class given", "does not say how sensitive")
    assert page.console_messages() == []


def test_why_here_and_not_there_and_what_it_costs(page: Browser) -> None:
    show(page, f"#/workloads/{PLACED}?part=why&versus=gz-core,shaoguan")
    shows(page, "#versus", "gz-core", "shaoguan", "CNY per replica-hour")
    shows(page, "#costs", "gz-core", "CNY/h")
    assert page.console_messages() == []


def test_where_it_ran_at_a_time_and_what_happened(page: Browser) -> None:
    show(page, f"#/workloads/{PLACED}?part=history&at=2099-01-01T00:00:00Z")
    shows(page, "#at", "gz-core (")
    shows(page, "#timeline", "placed")
    show(page, f"#/workloads/{PLACED}?part=history&at=2001-01-01T00:00:00Z")
    shows(page, "#at", "Nothing is recorded")
    show(page, f"#/workloads/{PLACED}?part=events")
    shows(page, "#workload-events", "Placed")
    show(page, f"#/workloads/{PLACED}?part=manifests")
    shows(page, "[data-part=manifests]", "Deployment appointment")
    assert page.console_messages() == []


def test_what_waits_and_what_carbon_costs_today(page: Browser) -> None:
    show(page, "#/queue")
    shows(page, "#queue", UNNAMED, "the data class scheme changes")
    shows(page, "#by-reason", "no data class given")
    show(page, "#/carbon")
    shows(page, "#spend-now", "CO₂e/h", "CNY/h")
    shows(page, "#spend-today", "Carbon cost today")
    shows(page, "#inputs", "Carbon intensity")
    shows(page, "#carbon-tenants", "health")
    shows(page, "#carbon-sites", "gz-core", "assumed")
    assert page.console_messages() == []


def test_where_it_still_fits_and_what_is_lost_with_a_site(page: Browser) -> None:
    show(page, "#/room")
    shows(page, "#fit-form", "CPU cores")
    choose(page, "#fit-cpu", "2")
    choose(page, "#fit-gpu", "")
    press(page, "#fit-form button")
    shows(page, "#fit-answer", "of 3 sites take it now")
    choose(page, "#loss-site", "gz-core")
    press(page, "#loss-form button")
    shows(page, "#loss-answer", "gz-core runs")
    shows(page, "#loss", "insurance-db", "lost")
    assert page.console_messages() == []


VIEWS = {
    "#/workloads": "#workloads",
    f"#/workloads/{PLACED}?part=where": "#workload-sites",
    f"#/workloads/{REFUSED}?part=why": "#changes",
    f"#/workloads/{PLACED}?part=why&versus=gz-core,shaoguan": "#versus",
    f"#/workloads/{PLACED}?part=history&at=2099-01-01T00:00:00Z": "#at",
    f"#/workloads/{PLACED}?part=events": "#workload-events",
    f"#/workloads/{PLACED}?part=asks": "[data-part=asks] pre",
    f"#/workloads/{PLACED}?part=manifests": "[data-part=manifests] details",
    "#/queue": "#queue",
    "#/carbon": "#carbon-sites",
    "#/room?cpu=2&lost=gz-core": "#loss",
}


def test_every_view_of_work_is_there_in_chinese(page: Browser) -> None:
    window = page
    window.run("localStorage.setItem('kapok.language', 'zh'); location.reload()")
    try:
        eventually(lambda: window.run("return document.documentElement.lang") == "zh-CN")
        for view, selector in VIEWS.items():
            eventually(lambda: window.run("return document.documentElement.dataset.ready"))
            show(window, view)
            shows(window, selector)
        shows(window, "main", "哪里放得下")
        show(window, f"#/workloads/{REFUSED}?part=why")
        shows(window, "#why-line", "个站点")
        shows(window, "#changes", "可由租户修改", "就可以放置")
        assert window.console_messages() == [], "no word is missing"
    finally:
        window.run("localStorage.clear()")


def _answers(reader: Reader) -> dict[str, Any]:
    paths = [
        "/api/v1/workloads/table?limit=400",
        "/api/v1/queue",
        "/api/v1/tenants",
        "/api/v1/spend",
        "/api/v1/sites",
        "/api/v1/fits?request=cpu=2",
        "/api/v1/losses/gz-core",
        *(
            f"/api/v1/workloads/{name}{part}"
            for name in (PLACED, REFUSED)
            for part in ("", "/why?versus=gz-core&versus=shaoguan", "/history", "/events")
        ),
        f"/api/v1/workloads/{REFUSED}/changes",
    ]
    refused = f"/api/v1/workloads/{REFUSED}/why?versus=gz-core&versus=shaoguan"
    found = {path.partition("?")[0]: reader.get(path) for path in paths if path != refused}
    found[refused.partition("?")[0]] = reader.get(refused)
    return found


def _with_all_that_may_be_shown(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers with what this demo does not have: quotas, reservations, endpoints, remains."""
    detail = answers[f"/api/v1/workloads/{PLACED}"]
    at = "2026-01-01T00:00:00Z"
    moves = [{"from": "m", "to": ["n"], "replicas": 1, "at": at, "silentSince": at, "by": "me"}]
    detail |= {
        "labels": {"k": "v"},
        "endpoints": [{"site": "m", "address": "a", "host": "h", "port": 80, "ready": True}],
        "endpointsLeftOut": 2,
        "sitesLeftOut": 3,
        "leaving": [{"name": "m", "replicas": 1, "replacedBy": ["n"]}],
        "remains": [{"site": "m", "claims": ["c"], "message": "left"}],
        "failover": {"reason": "Moved", "message": "moved", "moved": moves, "unready": moves},
        "plan": {"startAt": "2099-01-01T00:00:00Z"},
        "manifestsLeftOut": ["Deployment d"],
    }
    queue = answers["/api/v1/queue"]
    reserved = [{"site": "m", "replicas": 1}]
    queue["reserved"] = [{"workload": "a/b", "sites": reserved}]
    queue["waiting"][0] |= {"reserved": reserved, "startAt": "2099-01-01T00:00:00Z"}
    tenant = answers["/api/v1/tenants"]["tenants"][0]
    tenant |= {"share": 1.5, "dominant": "cpu", "cohort": "city", "problem": "not a quantity"}
    amounts = {"used": 3, "quota": 2, "borrowed": 1, "lent": 0, "borrowLimit": 4}
    tenant["resources"] = [{"name": "cpu", **amounts}, {"name": "pods", **amounts, "quota": None}]
    here, there = [{"name": "m", "replicas": 1}], [{"name": "n", "replicas": 1}]
    moved = {"moved": True, "why": {"m": "silent"}, "left": here, "gained": there}
    answers[f"/api/v1/workloads/{PLACED}/history"]["entries"][0] |= {**moved, "times": 3}
    return answers


def test_markup_and_escapes_in_any_field_are_text(data_dir: Path, window: Browser) -> None:
    reader = Reader(address(data_dir))
    whole = _with_all_that_may_be_shown(_answers(reader))
    answers = {path: poisoned(body) for path, body in whole.items()}
    detail = answers[f"/api/v1/workloads/{PLACED}"]
    detail["labels"] = {f"k{MARKUP}": MARKUP + ESCAPES}
    event = poisoned(reader.first_event("/api/v1/live?view=overview"))
    with serving(answers, {"overview": event}) as url:
        window.open(url)
        for view, selector in VIEWS.items():
            show(window, view)
            shows(window, selector)
            text = text_of(window, "main")
            unseen = [line for line in text.splitlines() if "\x1b" in line or "\u202e" in line]
            assert unseen == [], view
            assert window.run("return window.hacked") is None
            strange = "return document.querySelectorAll('main img, main script, main b b').length"
            assert window.run(strange) == 0, view
        show(window, "#/queue")
        shows(window, "#largest-share", "150%", "cpu")
        shows(window, "#reserved", "<img")
        show(window, f"#/workloads/{PLACED}?part=where")
        shows(window, "#endpoints", ":80", "<img")
        shows(window, "#failovers", "→", "asked by me<img")
        show(window, f"#/workloads/{PLACED}?part=asks")
        text = shows(window, "[data-part=asks]", "<img src=x onerror")
        assert "⟨U+001B⟩" in text, "an escape is shown as its code"
        show(window, "#/workloads/health/nothing")
        shows(window, "main", "no such workload")
        assert "placed on" not in text_of(window, "main"), "nothing of the one before"
