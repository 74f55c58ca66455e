"""The page in a real browser: what it shows, that it updates, and that no other host is asked."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.browser import Browser, browser, require_browser
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import ROOT, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SCHEME = """
apiVersion: v1
kind: Namespace
metadata: {name: zhengwu}
---
"""
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: zhengwu}}
spec:
  dataClass: {data_class}
  protectionLevel: 2
  networkZones: [public-network]
  demand: {{replicas: 2, requests: {{cpu: "1", memory: 1Gi}}}}
---
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    require_browser()
    with running_up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as found:
        yield found


def address(up: Up, *words: str) -> str:
    command = [sys.executable, "-m", "scheduler.cli.entry", "open", "--data-dir", str(up.data_dir)]
    done = subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip()


def test_the_page_is_live_complete_and_contacts_no_other_host(
    up: Up, window: Browser, tmp_path: Path
) -> None:
    one = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
    place = "{province: CN-GD, city: 广州市南沙区, metro: guangzhou}"
    manifest = one.manifest.replace("{province: CN-GD, city: guangzhou, metro: guangzhou}", place)
    up.apply(SCHEME + manifest + WORKLOAD.format(name="portal", data_class="general-2"))
    window.open(address(up))
    with running_sites(one):
        eventually(lambda: "1/1" in window.text())
        show(window, "#/fleet")
        eventually(lambda: "广州市南沙区" in window.text())
        show(window, "#/workloads")
        eventually(lambda: "portal" in window.text() and "m1 (2)" in window.text())

        many = [WORKLOAD.format(name=f"secret-{n:03}", data_class="important") for n in range(200)]
        up.apply("".join(many))
        eventually(lambda: rows(window) == 201)
        eventually(lambda: "refused" in window.text())
        window.run(
            "const box = document.getElementById('workloads-filter');"
            "box.value = 'secret-017 refused';"
            "box.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        eventually(lambda: rows(window) == 1 and shows(window, "secret-017"))
        assert not shows(window, "secret-018")
        window.screenshot(tmp_path / "page.png")

        one.is_talking = False
        show(window, "#/fleet")
        eventually(lambda: "silent" in window.text())

    show(window, "#/workloads")
    eventually(lambda: rows(window) == 201)
    up.kubectl("delete", "workloads.kapok.dev", "-n", "zhengwu", "--all", "--wait=false")
    eventually(lambda: rows(window) <= 1)
    assert window.console_messages() == []
    hosts = {url.split("/")[2] for url in window.requests() if url.startswith("http")}
    assert hosts == {up.ready["page"].split("/")[2]}


def show(window: Browser, view: str) -> None:
    """Goes to a view without loading the page again."""
    window.run(f"location.hash = '{view}'")


def rows(window: Browser) -> int:
    """How many rows the table of workloads has, drawn or not; -1: it is not there."""
    table = "document.querySelector('#workloads')"
    return int(window.run(f"return {table} ? {table}.getAttribute('aria-rowcount') - 1 : -1"))


def test_a_name_in_the_page_is_text_and_a_visitor_without_a_session_reads_how_to_sign_in(
    up: Up, window: Browser
) -> None:
    window.open(up.ready["page"])
    eventually(lambda: "kapok open" in window.text())
    url = address(up)
    window.open(url)
    eventually(lambda: "Workloads" in window.text())
    window.open(url)
    eventually(lambda: "used already" in window.text())


NARROW, WALL = (360, 800), (3840, 2160)
ADDRESSES = {
    "#/": "overview",
    "#/fleet": "fleet",
    "#/fleet?as=table": "fleet",
    "#/sites/m2": "site",
    "#/workloads": "workloads",
}
"""The names of views by their addresses."""
ESCAPES = "<img src=x onerror=alert(1)>&lt;b&gt;\u202e{1}"


def test_each_view_is_whole_in_both_languages_on_a_phone_and_on_a_wall(
    up: Up, window: Browser, tmp_path: Path
) -> None:
    one = ScriptedSite("m2", up.ready["broker"], up.ready["hubKey"])
    place = f"{{province: CN-GD, city: {json.dumps(ESCAPES)}, metro: guangzhou}}"
    up.apply(
        SCHEME
        + one.manifest.replace("{province: CN-GD, city: guangzhou, metro: guangzhou}", place)
        + WORKLOAD.format(name="archive", data_class="general-2")
    )
    window.open(address(up))
    eventually(lambda: is_ready(window))  # its words are fetched after it is loaded
    with running_sites(one):
        for language, words in (("en", "What wants attention"), ("zh", "需要关注")):
            choose(window, language, nth=1)
            show(window, "#/")
            eventually(partial(shows, window, words))
            for size in (NARROW, WALL):
                window.resize(*size)
                for view, name in ADDRESSES.items():
                    show(window, view)
                    eventually(partial(stands, window, name))
                    assert not spills(window), (language, size, view)
        eventually(lambda: window.run("return document.documentElement.lang") == "zh-CN")
        show(window, "#/sites/m2")
        shown = ESCAPES.replace("\u202e", "⟨U+202E⟩")
        eventually(lambda: shown in window.text(), within_seconds=60)
        window.screenshot(tmp_path / "site.png")
    assert window.run("return document.querySelectorAll('main img').length") == 0
    assert window.console_messages() == []
    window.open(up.ready["page"] + "?wall")
    eventually(lambda: is_ready(window))
    assert window.run("return document.querySelectorAll('nav, select').length") == 0


def test_the_keyboard_alone_reaches_everything_in_order(up: Up, window: Browser) -> None:
    window.open(address(up))
    eventually(lambda: is_ready(window))
    reached = []
    for _ in range(12):
        window.press("\ue004")  # Tab
        reached.append(
            window.run(
                "const one = document.activeElement, style = getComputedStyle(one);"
                "return [one.tagName, one.getAttribute('href') || '', style.outlineStyle]"
            )
        )
    assert reached[0][:2] == ["A", "#main"], "first the way past the navigation"
    links = [href for tag, href, _ in reached if tag == "A"]
    assert links[1:4] == ["#/", "#/", "#/fleet"]
    assert [tag for tag, _, _ in reached].count("SELECT") == 2
    assert {outline for _, _, outline in reached} == {"solid"}, "what has the focus is seen"


def test_a_tenant_may_open_the_page_and_sees_its_own(
    up: Up, window: Browser, tmp_path: Path
) -> None:
    up.apply(SCHEME + WORKLOAD.format(name="hidden", data_class="general-2"))
    words = ["--name", "bureau", "--role", "tenant", "--namespace", "other"]
    command = [sys.executable, "-m", "scheduler.cli.entry", "hub", "token", *words]
    done = subprocess.run(
        [*command, "--data-dir", str(up.data_dir)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(done.stdout)
    kubeconfig.chmod(0o600)
    window.open(address(up, "--kubeconfig", str(kubeconfig)))
    eventually(lambda: is_ready(window))
    eventually(lambda: "You see the workloads of 0 namespaces" in window.text())
    show(window, "#/workloads")
    eventually(lambda: "no rows" in window.text())
    assert "hidden" not in window.text()


def test_a_freeze_is_said_on_each_view_with_its_reason_until_it_is_over(
    up: Up, window: Browser
) -> None:
    window.open(address(up))
    kapok(up, "freeze", "--why", "drill <i>5</i>")
    for view in ("#/", "#/fleet", "#/workloads"):
        show(window, view)
        # Sites of earlier tests are silent: a freeze by doubt may be shown before the operator's.
        eventually(
            lambda: shows(window, "Evictions are frozen.") and shows(window, "drill <i>5</i>")
        )
    # The sites of the tests before are silent: a doubt in the link may stay, the freeze does not.
    assert kapok(up, "thaw", code=None)["reason"] != "operator"
    eventually(lambda: "drill" not in window.text())
    assert window.console_messages() == []


def is_ready(window: Browser) -> bool:
    return bool(window.run("return document.documentElement.dataset.ready === 'true'"))


def stands(window: Browser, name: str) -> bool:
    """Whether the view of this name is drawn, with its figures."""
    drawn = (
        f"document.documentElement.dataset.view === '{name}'"
        " && !document.querySelector('main [aria-busy=true]')"
    )
    return is_ready(window) and bool(window.run(f"return {drawn}"))


def shows(window: Browser, words: str) -> bool:
    return words in window.text()


def spills(window: Browser) -> bool:
    """Whether the page is wider than the window."""
    return bool(
        window.run(
            "const page = document.documentElement; return page.scrollWidth > page.clientWidth"
        )
    )


def choose(window: Browser, value: str, *, nth: int) -> None:
    """Chooses a value of a list in the header."""
    window.run(
        f"const list = document.querySelectorAll('header select')[{nth}]; list.value = '{value}';"
        "list.dispatchEvent(new Event('change', {bubbles: true}))"
    )
