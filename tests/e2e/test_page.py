"""The page in a real browser: what it shows, that it updates, and that no other host is asked."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, browser, require_browser
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import ROOT, Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

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


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    require_browser()
    with running_up(tmp_path) as running:
        yield running


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as found:
        yield found


def address(up: Up) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scheduler.cli.entry", "open", "--data-dir", str(up.data_dir)],
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
        shown = eventually(lambda: rows(window) == 1 and window.text())
        assert "secret-017" in shown
        assert "secret-018" not in shown
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
    assert "kapok open" in window.text()
    url = address(up)
    window.open(url)
    eventually(lambda: "Workloads" in window.text())
    window.open(url)
    assert "used already" in window.text()
