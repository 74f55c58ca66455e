"""The page in headless Chromium: how soon a view is there, and how soon it answers a person.

The HTTP server is the real one, of a state with 1,000 sites and 10,000 workloads, of which 100
sites report each second and one workload changes ten times a second. The first views are loaded
with an empty cache. Limits: 1,000 ms for a first view, and 100 ms from an input to the next frame.
`milliseconds` counts until what was asked is shown, with the page's own pause after typing.
"""

import argparse
import asyncio
import json
import socket
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._web_state import WebState
from benchmarks.scrape import sources_of
from benchmarks.watchers import change_state
from scheduler.runtime.clock import SystemClock
from scheduler.web.listener import WebListener
from scheduler.web.server import serve_web
from tests.support.browser import Browser, browser

FIRST_LIMIT_MILLISECONDS, INPUT_LIMIT_MILLISECONDS = 1000.0, 100.0
_WORKLOADS_PER_SITE = 10
_TOKEN = "reader"  # noqa: S105 - of the benchmark's own server
_WATCH = """(() => {
  const look = () => {
    const root = document.documentElement;
    const isThere = root?.dataset.ready === "true" && document.querySelector(SELECTOR);
    if (isThere) setTimeout(() => { window.shownAt = performance.now(); });
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()"""
_ACT = """const done = arguments[arguments.length - 1];
const set = (selector, value, kind) => {
  const box = document.querySelector(selector);
  box.value = value;
  box.dispatchEvent(new Event(kind, {bubbles: true}));
};
const began = performance.now();
let painted = 0;
const look = () => setTimeout(() => {
  painted = painted || performance.now() - began;
  if (SHOWN) done([painted, performance.now() - began]);
  else requestAnimationFrame(look);
});
ACTION;
requestAnimationFrame(look);"""


@dataclass(frozen=True, slots=True)
class _Step:
    """An input and what shows its effect.

    Attributes:
        case: its name in the row.
        action: JavaScript that does what a person does.
        shown: an expression that is true once the effect is drawn.
    """

    case: str
    action: str
    shown: str


def _there(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


_FIRST = {
    "first view: overview": ("#/", "main .totals b"),
    "first view: fleet": ("#/fleet", ".tile .tile-figure"),
    "first view: workloads": ("#/workloads", "#workloads tbody a"),
}
_FIRST_ROW = "document.querySelector('#workloads tbody a')?.textContent"
_STEPS = (
    _Step("open the fleet", "location.hash = '#/fleet'", _there(".tile .tile-figure")),
    _Step(
        "show memory",
        "set('#fleet-by', 'memory', 'change')",
        "document.querySelector('.tile-figure')?.textContent.includes('iB')",
    ),
    _Step(
        "find a site",
        "set('#sites-filter', 'site-00042', 'input')",
        "document.querySelectorAll('.tile').length === 1",
    ),
    _Step("open a site", "document.querySelector('.tile a').click()", _there("#nodes")),
    _Step("open workloads", "location.hash = '#/workloads'", _there("#workloads tbody a")),
    _Step(
        "sort workloads",
        "document.querySelector('#workloads thead button').click()",
        f"/work-0*[1-9]\\d*99$/.test({_FIRST_ROW})",
    ),
    _Step(
        "scroll workloads",
        "document.querySelector('.beside .scroll').scrollTop = 8000",
        "+document.querySelector('#workloads tr[data-row]').ariaRowIndex > 200",
    ),
    _Step(
        "find a workload",
        "set('#workloads-filter', 'work-00042', 'input')",
        f"{_FIRST_ROW} === 'default/work-00042'",
    ),
    _Step("open the overview", "location.hash = '#/'", _there("main .totals b")),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument("--sites", type=int, default=1000, metavar="N", help="default: %(default)s")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="default: %(default)s")


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row per first view and input."""
    return asyncio.run(_rows(arguments.sites, arguments.times))


async def _rows(sites: int, times: int) -> list[dict[str, object]]:
    clock = SystemClock()
    city = WebState(clock)
    city.admit(sites)
    city.report_all()
    city.place(sites * _WORKLOADS_PER_SITE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        serve_web(WebListener(port=port), sources_of(city, clock, token=_TOKEN)),
        asyncio.TaskGroup() as group,
    ):
        changes = group.create_task(change_state(city, clock))
        found = await asyncio.to_thread(_measure, f"http://127.0.0.1:{port}/", times)
        changes.cancel()
    workloads = sites * _WORKLOADS_PER_SITE
    return [
        {"case": row.pop("case"), "sites": sites, "workloads": workloads, **row} for row in found
    ]


def _measure(url: str, times: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as window:
        window.command("Network.enable", {})
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        window.command("Network.setExtraHTTPHeaders", {"headers": headers})
        found = [_first(window, url, case, times) for case in _FIRST]
        window.open(f"{url}#/")
        window.run("window.shownAt = 0")
        taken = [[_act(window, step) for step in _STEPS] for _ in range(times)]
        faults = window.console_messages()
        if faults:
            raise ValueError(f"the page has faults: {faults[:3]}")
    for at, step in enumerate(_STEPS):
        painted, shown = zip(*(one[at] for one in taken), strict=True)
        worst = {"paint_milliseconds": statistics.median(painted)}
        worst["paint_milliseconds_worst"] = max(painted)
        found.append({"case": step.case, **_spread(list(shown)), **_rounded(worst)})
    return found


def _first(window: Browser, url: str, case: str, times: int) -> dict[str, object]:
    """Loads a view again and again with an empty cache."""
    address, selector = _FIRST[case]
    window.command("Network.setCacheDisabled", {"cacheDisabled": True})
    source = _WATCH.replace("SELECTOR", json.dumps(selector))
    script = window.command("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    taken = []
    for at in range(times):
        window.open(f"{url}?load={at}{address}")
        waits = "const done = arguments[0]; const look = () => (window.shownAt ?"
        taken.append(
            window.run_async(f"{waits} done(window.shownAt) : setTimeout(look, 5)); look()")
        )
    window.command("Page.removeScriptToEvaluateOnNewDocument", script)
    window.command("Network.setCacheDisabled", {"cacheDisabled": False})
    return {"case": case, **_spread(taken)}


def _act(window: Browser, step: _Step) -> tuple[float, float]:
    script = _ACT.replace("SHOWN", step.shown).replace("ACTION", step.action)
    try:
        painted, shown = window.run_async(script)
    except AssertionError as error:
        raise ValueError(f"{step.case}: {error}; the page:\n{window.text()[:2000]}") from None
    return float(painted), float(shown)


def _spread(values: list[float]) -> dict[str, object]:
    found = {"milliseconds": statistics.median(values), "milliseconds_worst": max(values)}
    return _rounded(found)


def _rounded(found: dict[str, float]) -> dict[str, object]:
    return {name: round(value, 1) for name, value in found.items()}
