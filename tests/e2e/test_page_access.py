"""The page for every reader: each view with axe-core, by keyboard, on a phone and on a wall."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from tests.e2e.test_demo import running
from tests.e2e.test_page_work import address
from tests.support.accessibility import grave_findings
from tests.support.browser import Browser, browser, require_browser
from tests.support.page_double import ESCAPES, Reader, poisoned, serving
from tests.support.page_tour import (
    DESK,
    LANGUAGES,
    PARTS,
    PHONE,
    PLACED,
    REFUSED,
    THEMES,
    VIEWS,
    WALL,
    Stop,
    apply_export,
    choose_looks,
    visit,
)
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TAB, ENTER, RIGHT, DOWN = "\ue004", "\ue007", "\ue014", "\ue015"
EVERYTHING = (*VIEWS, *PARTS)
Look = tuple[str, str, tuple[int, int]]
_FOCUSABLE = "a[href], button, select, input, summary, [tabindex='0']"
_IS_WIDER = "const page = document.documentElement; return page.scrollWidth > page.clientWidth"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_browser()
    folder = tmp_path_factory.mktemp("access") / "demo"
    with running(folder):
        apply_export(folder / "hub" / "kubeconfig")
        yield folder / "hub"


@pytest.fixture(scope="module")
def window(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window of a session; it is silent and asks no other host, whatever a test does."""
    with browser(tmp_path_factory.mktemp("window")) as found:
        found.open(address(data_dir))
        host = found.run("return location.host")
        yield found
        assert found.console_messages() == []
        asked = {url.split("/")[2] for url in found.requests() if url.startswith("http")}
        assert asked == {host}


def faults(window: Browser, stops: Iterable[Stop], look: Look) -> list[str]:
    """What is wrong with these views in one look."""
    language, theme, size = look
    window.resize(*size)
    choose_looks(window, language=language, theme=theme)
    found: list[str] = []
    for stop in stops:
        visit(window, stop)
        where = f"{stop.address} in {look}"
        found += [f"{where}: {one}" for one in grave_findings(window)]
        if window.run(_IS_WIDER):
            found.append(f"{where}: the page is wider than the window")
    return found


def test_axe_finds_nothing_grave_in_any_view(window: Browser) -> None:
    """Each view in both languages, colours and sizes; all their combinations are the soak's."""
    looks = {
        ("en", "light", DESK): (*VIEWS[0::2], *PARTS[0::4]),
        ("en", "dark", PHONE): (*VIEWS[1::2], *PARTS[1::4]),
        ("zh", "light", DESK): (*VIEWS[1::2], *PARTS[2::4]),
        ("zh", "dark", PHONE): (*VIEWS[0::2], *PARTS[3::4]),
    }
    assert [fault for look, stops in looks.items() for fault in faults(window, stops, look)] == []
    assert window.console_messages() == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_axe_finds_nothing_grave_in_any_look(window: Browser) -> None:
    looks = product(LANGUAGES, THEMES, (PHONE, DESK, WALL))
    assert [fault for look in looks for fault in faults(window, EVERYTHING, look)] == []


def at_desk(window: Browser, stop: Stop) -> None:
    window.resize(*DESK)
    choose_looks(window, language="en", theme="light")
    visit(window, stop)


def stop_of(view: str) -> Stop:
    return next(one for one in VIEWS if one.view == view)


def reached_by_tab(window: Browser, presses: int) -> list[tuple[int, bool]]:
    """Of each element that Tab reaches: its place in the document, and whether it is seen."""
    window.run(
        "window.scrollTo(0, 0); document.activeElement.blur();"
        f"window.stops = [...document.querySelectorAll({json.dumps(_FOCUSABLE)})]"
        ".filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility());"
        "const first = document.createElement('span'); first.tabIndex = -1;"
        "document.body.prepend(first); first.focus(); first.remove();"
    )
    reached = []
    for _ in range(presses):
        window.press(TAB)
        at, is_outlined, is_in_window = window.run(
            "const one = document.activeElement, style = getComputedStyle(one);"
            "const box = one.getBoundingClientRect();"
            "return [window.stops.indexOf(one),"
            " style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,"
            " box.bottom > 0 && box.top < innerHeight]"
        )
        reached.append((at, is_outlined and is_in_window))
    return reached


@pytest.mark.parametrize("view", ["overview", "workload", "queue", "room", "whatif"])
def test_tab_reaches_every_control_in_order_and_shows_where_it_is(
    window: Browser, view: str
) -> None:
    at_desk(window, stop_of(view))
    count = len(window.run(f"return [...document.querySelectorAll({json.dumps(_FOCUSABLE)})]"))
    reached = reached_by_tab(window, count)
    stops = window.run("return window.stops.length")
    assert stops > 10
    assert reached[:stops] == [(at, True) for at in range(stops)], "each once, then out: no trap"


def test_the_first_control_skips_the_navigation(window: Browser) -> None:
    at_desk(window, stop_of("overview"))
    assert reached_by_tab(window, 1) == [(0, True)]
    window.press(ENTER)
    assert window.run("return document.activeElement.id") == "main"


def test_tables_are_sorted_and_the_cells_of_why_are_read_by_keyboard(window: Browser) -> None:
    at_desk(window, stop_of("queue"))
    window.run("document.querySelector('#queue thead button').focus()")
    firsts = []
    for order in ("ascending", "descending"):
        window.press(ENTER)
        script = (
            f"return document.querySelector('#queue th[aria-sort={order}]')"
            " && document.querySelector('#queue tbody a').textContent"
        )
        firsts.append(eventually(partial(window.run, script)))
    assert firsts[0] < firsts[1], "the first row is another one"

    at_desk(window, stop_of("workload"))
    window.run("document.querySelector('.heat [data-at=\"0,0\"]').focus()")
    said: list[str] = []
    for key, at in (("", "0,0"), (RIGHT, "0,1"), (DOWN, "1,1")):
        if key:
            window.press(key)
        script = (
            f"return document.activeElement.dataset.at === '{at}'"
            " && document.getElementById('said').innerText"
        )
        # Each cell says its own sentence.
        said.append(eventually(partial(new_words, window, script, tuple(said))))


def test_a_wall_shows_every_view_large_and_without_controls(window: Browser) -> None:
    window.run("location.href = '/?wall'")
    window.resize(*WALL)
    ready = "document.documentElement.dataset.ready === 'true'"
    eventually(lambda: window.run(f"return location.search === '?wall' && {ready}"))
    found = []
    for stop in VIEWS:
        visit(window, stop)
        if window.run(_IS_WIDER):
            found.append(f"{stop.address} is wider than the wall")
        controls = "nav:not(.tabs), header select, main form, .bar label"
        seen = window.run(
            f"return [...document.querySelectorAll({json.dumps(controls)})]"
            ".filter((one) => one.checkVisibility()).length"
        )
        if seen:
            found.append(f"{stop.address} shows {seen} controls")
        size = window.run("return parseFloat(getComputedStyle(document.body).fontSize)")
        assert size >= 2 * 14, "legible from afar"
    window.run("location.href = '/'")
    eventually(lambda: window.run("return !!document.querySelector('header select')"))
    assert found == []


def wait_for(window: Browser, selector: str, words: str = "") -> None:
    """Waits until an element is there and seen, and shows these words."""
    look = (
        f"const one = document.querySelector({json.dumps(selector)});"
        "return one && one.checkVisibility() ? one.innerText : ''"
    )

    def is_seen() -> bool:
        text = str(window.run(look))
        return bool(text) and words in text

    try:
        eventually(is_seen)
    except AssertionError:
        said = f"{selector} does not show {words!r}; the page:\n{window.text()}"
        raise AssertionError(said) from None


def new_words(window: Browser, script: str, known: tuple[str, ...]) -> str:
    """What a script gives, if it is something else than before."""
    found = str(window.run(script) or "")
    return "" if found in known else found


def click(window: Browser, selector: str) -> None:
    wait_for(window, selector)
    window.run(f"document.querySelector({json.dumps(selector)}).click()")


def go(window: Browser, view: str) -> None:
    click(window, f"header nav a[href='#/{view}']")


def test_an_operator_finds_each_answer_by_clicks_alone(window: Browser) -> None:
    at_desk(window, stop_of("overview"))
    wait_for(window, "main .totals", "3/3")
    wait_for(window, "section[aria-labelledby=attention] li a")
    click(window, "main .totals a[href='#/workloads?phase=Refused']")
    click(window, f"#workloads a[href='#/workloads/{REFUSED}']")
    click(window, ".tabs a[href$='part=why']")
    wait_for(window, "#changes", "the tenant may change it")

    go(window, "workloads")
    click(window, f"#workloads a[href='#/workloads/{PLACED}']")
    click(window, ".tabs a[href$='part=history']")
    wait_for(window, "#timeline", "placed")
    click(window, "[data-part=history] .bar button, .bar button.plain")
    wait_for(window, "#at", "Nothing is recorded")  # the demo began today

    go(window, "room")
    eventually(lambda: window.run("return document.getElementById('fit-cpu')?.value") == "8")
    click(window, "#fit-form button")
    wait_for(window, "#fit-answer", "sites")
    go(window, "queue")
    wait_for(window, "#largest-share", "health uses most of its quota")
    go(window, "carbon")
    wait_for(window, "#spend-today", "Carbon cost today")
    go(window, "fleet")
    click(window, ".tile a[href='#/sites/gz-core']")
    click(window, "main .bar a.button")
    eventually(lambda: "gz-core" in window.run("return decodeURIComponent(location.hash)"))
    wait_for(window, "#whatif-sides tbody")


UNSEEN = {one for one in ESCAPES if not one.isprintable()}
POISONED_VIEWS = {
    "#/": ".attention",
    "#/fleet": ".tile",
    "#/fleet?as=table": "#sites tbody a",
    "#/sites/gz-core": "#nodes",
    "#/whatif?scenario=lose%20gz-core": "#whatif-sides tbody",
    "#/whatif?cpu=1": "#capacity-total",
}


def test_markup_and_escapes_in_what_sites_and_what_ifs_say_are_text(
    data_dir: Path, tmp_path: Path
) -> None:
    """The views of work: `test_page_work`."""
    reader = Reader(address(data_dir))
    asked = {
        "/api/v1/whatif": "/api/v1/whatif?scenario=lose+gz-core",
        "/api/v1/capacity": "/api/v1/capacity?cpu=1",
    }
    answers = {path: poisoned(reader.get(question)) for path, question in asked.items()}
    streams = {"overview": "overview", "fleet": "fleet", "site": "site&name=gz-core"}
    events = {
        view: poisoned(reader.first_event(f"/api/v1/live?view={query}"))
        for view, query in streams.items()
    }
    with browser(tmp_path) as window, serving(answers, events) as url:
        window.open(url)
        for view, selector in POISONED_VIEWS.items():
            window.run(f"location.hash = {json.dumps(view)}")
            wait_for(window, selector)
            wait_for(window, "main", "<img src=x onerror")
            text = str(window.run("return document.querySelector('main').innerText"))
            assert not UNSEEN & set(text), view
            assert window.run("return window.hacked") is None, view
            strange = "return document.querySelectorAll('main img, main script, main b b').length"
            assert window.run(strange) == 0, view
