"""Every view of the page, as an address and what shows that it is there.

The names and words are those of the small demo with the sample `patient-export` applied to it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Final

from tests.support.browser import Browser
from tests.support.up import KUBECTL, ROOT, eventually

PLACED: Final = "health/appointment"
REFUSED: Final = "health/patient-export"
EXPORT: Final = ROOT / "manifests" / "samples" / "workloads" / "patient-export.yaml"
LANGUAGES: Final = ("en", "zh")
THEMES: Final = ("light", "dark")
PHONE: Final = (360, 800)
DESK: Final = (1500, 1000)
WALL: Final = (3840, 2160)


@dataclass(frozen=True, slots=True)
class Stop:
    """One state of a view.

    Attributes:
        view: the name of the view in the router.
        address: what follows the host.
        shows: a selector that matches once the view has its figures.
    """

    view: str
    address: str
    shows: str


VIEWS: Final = (
    Stop("overview", "#/", "main .totals b"),
    Stop("fleet", "#/fleet", ".tile .tile-figure"),
    Stop("site", "#/sites/gz-core", "#nodes"),
    Stop("workloads", "#/workloads", "#workloads tbody a"),
    Stop("workload", f"#/workloads/{REFUSED}?part=why", "#changes .change"),
    Stop("queue", "#/queue", "#queue tbody a"),
    Stop("carbon", "#/carbon", "#carbon-sites tbody a"),
    Stop("room", "#/room?cpu=8&gpu=1&lost=gz-core", "#loss tbody a"),
    Stop("whatif", "#/whatif?scenario=lose%20gz-core", "#whatif-sides tbody"),
)
"""One state of each view of the router, in its order: the pictures of the documentation."""

PARTS: Final = (
    Stop("fleet", "#/fleet?as=table", "#sites tbody a"),
    Stop("fleet", "#/fleet?by=age", ".tile .tile-figure"),
    Stop("workload", f"#/workloads/{PLACED}?part=where", "#workload-sites tbody a"),
    Stop("workload", f"#/workloads/{PLACED}?part=why&versus=gz-core,shaoguan", "#versus"),
    Stop("workload", f"#/workloads/{PLACED}?part=history&at=2099-01-01T00:00:00Z", "#at"),
    Stop("workload", f"#/workloads/{PLACED}?part=events", "#workload-events tbody tr"),
    Stop("workload", f"#/workloads/{PLACED}?part=asks", "[data-part=asks] pre"),
    Stop("workload", f"#/workloads/{PLACED}?part=manifests", "[data-part=manifests] details"),
    Stop("whatif", "#/whatif?cpu=1", "#capacity-total"),
    Stop(
        "whatif",
        f"#/whatif?workload={REFUSED}&change=workload.siteSelector&target={REFUSED}",
        "#suggested dl",
    ),
)
"""What else the views show."""


def apply_export(kubeconfig: Path) -> None:
    """Creates a workload that no site may run."""
    command = [str(KUBECTL), "--kubeconfig", str(kubeconfig), "apply", "-f", str(EXPORT)]
    run(command, check=True, capture_output=True)


def visit(window: Browser, stop: Stop) -> None:
    """Goes to a view without loading the page, and waits until it has its figures."""
    window.run(f"location.hash = {json.dumps(stop.address)}")
    ready = (
        f"return document.documentElement.dataset.view === {json.dumps(stop.view)}"
        " && document.documentElement.dataset.ready === 'true'"
        f" && !!document.querySelector({json.dumps(stop.shows)})"
        " && !document.querySelector('main [aria-busy=true]')"
    )
    try:
        eventually(lambda: window.run(ready), pause_seconds=0.03)
    except AssertionError:
        raise AssertionError(f"{stop}; the page:\n{window.text()}") from None


def choose_looks(window: Browser, *, language: str, theme: str) -> None:
    """Chooses language and colours as the lists of the header do."""
    lists = "return document.querySelectorAll('header select').length"
    eventually(lambda: window.run(lists) == len((theme, language)), pause_seconds=0.03)
    for at, value in enumerate((theme, language)):
        window.run(
            f"const list = document.querySelectorAll('header select')[{at}];"
            f"list.value = {json.dumps(value)};"
            "list.dispatchEvent(new Event('change', {bubbles: true}))"
        )
    spoken = {"en": "en", "zh": "zh-CN"}[language]
    eventually(
        lambda: window.run("return document.documentElement.lang") == spoken, pause_seconds=0.03
    )
