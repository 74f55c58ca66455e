"""A real headless Chromium, driven over the WebDriver protocol (W3C) with nothing but urllib."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.tools import require_tool

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")

_ANSWER_SECONDS = 90.0  # the driver itself gives a script 30 s, and a page more


def require_browser() -> None:
    """Skips the test without the browser and its driver; in CI it fails."""
    require_tool("chromium")
    require_tool("chromedriver")


@dataclass(frozen=True, slots=True)
class Browser:
    """One browser window.

    Attributes:
        session: URL of its session at the driver.
    """

    session: str

    def open(self, url: str) -> None:
        """Opens a URL and waits for the page."""
        _send("POST", f"{self.session}/url", {"url": url})

    def run(self, script: str) -> Any:  # noqa: ANN401 - whatever the script returns
        """Runs a script in the page; returns its result."""
        return _send("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def run_async(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives back
        """Runs a script whose last argument is a function that takes its result."""
        return _send("POST", f"{self.session}/execute/async", {"script": script, "args": []})

    def text(self) -> str:
        """The visible text of the page."""
        return str(self.run("return document.body.innerText"))

    def console_messages(self) -> list[str]:
        """Console messages from level warning up, with violations of the content policy."""
        found = _send("POST", f"{self.session}/se/log", {"type": "browser"})
        return [one["message"] for one in found if one["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Every URL that the page requested since the last call."""
        found = _send("POST", f"{self.session}/se/log", {"type": "performance"})
        events = (json.loads(one["message"])["message"] for one in found)
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def resize(self, width: int, height: int) -> None:
        """Gives the page this size in CSS pixels, as a phone or a wall has it."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def command(self, name: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Sends a command of the DevTools protocol; returns its result."""
        body = {"cmd": name, "params": parameters}
        return _send("POST", f"{self.session}/goog/cdp/execute", body)

    def press(self, key: str) -> None:
        """Presses and releases a key, as a person does; special keys by their WebDriver code."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        _send("POST", f"{self.session}/actions", {"actions": [keyboard]})

    def screenshot(self, path: Path) -> None:
        """Writes a screenshot of the window as PNG."""
        path.write_bytes(base64.b64decode(_send("GET", f"{self.session}/screenshot")))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile; the context ends it."""
    require_browser()
    profile = folder / "profile"
    profile.mkdir()
    port = free_port()
    with (folder / "chromedriver.log").open("w") as log:
        driver = subprocess.Popen(
            # A port that it chooses itself may be taken for one of its two addresses.
            [str(CHROMEDRIVER), f"--port={port}"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        root = f"http://127.0.0.1:{port}"
        _wait_for_start(driver)
        session = _send("POST", f"{root}/session", {"capabilities": _capabilities(profile)})
        window = f"{root}/session/{session['sessionId']}"
        try:
            yield Browser(window)
        finally:
            _send("DELETE", window)
    finally:
        driver.terminate()
        driver.communicate(timeout=60)


def _capabilities(profile: Path) -> dict[str, Any]:
    words = (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "no-first-run",
        "window-size=1500,1000",
        f"user-data-dir={profile}",
    )
    options = {"binary": CHROMIUM, "args": [f"--{word}" for word in words]}
    logs = {"browser": "ALL", "performance": "ALL"}
    return {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}


def _wait_for_start(driver: subprocess.Popen[str]) -> None:
    assert driver.stdout is not None
    said = ""
    for line in driver.stdout:
        said += line
        if "started successfully" in line:
            return
    raise AssertionError(f"chromedriver did not start:\n{said}")


def _send(method: str, url: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_SECONDS) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        said = json.load(error)["value"]
        raise AssertionError(f"{said['error']}: {said['message'][:500]}") from None
