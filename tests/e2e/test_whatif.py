"""What-ifs of a running scheduler: `kapok up`, its hub and broker, sites on the wire."""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.cli.support.web_access import WebClient, WebUnavailable
from scheduler.hub.kubeconfig import bearer_token_of
from tests.support.browser import Browser, browser, require_browser
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import FAST_SETTINGS, ROOT, Up, becomes, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: app, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  priority: 5
  demand: {replicas: 3, requests: {cpu: "1", memory: 1Gi}}
"""
KINDS = "sites,sitegrants,tenants,workloads,placementpolicies,clusterplacementpolicies"
PATH = "/api/v1/whatif"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(
        tmp_path, settings=f"{FAST_SETTINGS}\nsurvival: {{interval_seconds: 1}}\n"
    ) as it:
        yield it


def words_of(up: Up, *words: str) -> list[str]:
    return [sys.executable, "-m", "scheduler.cli.entry", *words, "--data-dir", str(up.data_dir)]


def ask(up: Up, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer and stderr of a command; in this process, whose start costs nothing."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--data-dir", str(up.data_dir), "-o", "json"])
    assert out.getvalue() or code == 2, err.getvalue()
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def hub_and_ledger(up: Up) -> tuple[object, object]:
    """What a what-if must not touch: objects but figures of sites and tenants, and records."""
    items = json.loads(up.kubectl("get", KINDS, "-A", "-o", "json"))["items"]
    for one in items:
        if one["kind"] in ("Site", "Tenant"):  # their figures are written at intervals
            one.pop("status", None)
            one["metadata"].pop("resourceVersion", None)
    return items, ask(up, "ledger", "list")[1]


def place_of(up: Up) -> str:
    status = up.get("kw", "app").get("status", {})
    groups = status.get("placement", {}).get("groups", [])
    return str(groups[0]["sites"][0]) if status.get("phase") == "Running" else ""


def loss_of(up: Up, site: str) -> dict[str, str]:
    """The condition `SurvivesLoss` of a site; empty: it has none."""
    conditions = up.get("site", site).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "SurvivesLoss"), {})


def client_of(up: Up) -> WebClient:
    token = asyncio.run(bearer_token_of(Path(up.ready["kubeconfig"])))
    assert token
    return WebClient(up.ready["page"].rstrip("/"), token)


def test_the_live_fleet_is_asked_and_nothing_of_it_is_touched(up: Up) -> None:
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest)
    with running_sites(one, two):
        eventually(lambda: one.index and two.index)
        up.apply(WORKLOAD)
        here = eventually(lambda: place_of(up))
        other = ({"m1", "m2"} - {here}).pop()
        before = hub_and_ledger(up)

        code, answer, _ = ask(up, "whatif", "drain", here)
        assert (code, answer["unplaced"]) == (0, [])
        move = {"workload": "default/app", "from": here, "to": other, "replicas": 3}
        assert answer["moves"] == [move]
        code, answer, _ = ask(up, "whatif", "grid", f"{here}=100%/2h")
        assert (code, answer["moves"], answer["grid"][0]["met"]) == (0, [move], True)
        assert ask(up, "whatif", "grid", f"{here}=900kW")[0] == 1
        code, answer, _ = ask(up, "whatif", "load", "90")
        assert (code, [row["workload"] for row in answer["unplaced"]]) == (1, ["default/app"])
        assert answer["unplacedBy"]["priority"] == {"5": 1}
        assert answer["smallestChange"][0]["kind"] == "site.add"
        code, answer, _ = ask(up, "capacity", "--cpu", "8")
        assert code == 0
        assert {"name": other, "replicas": 4, "firstRefusal": None} in answer["sites"]
        code, _, err = ask(up, "whatif", "drain", f"{here}x")
        assert code == 2
        assert f"did you mean {here}" in err

        code, answer, _ = ask(up, "survive")
        assert code == 0
        survived = {one["of"]: (one["survives"], one["workloads"]) for one in answer["losses"]}
        assert survived == {here: (True, 1), other: (True, 0)}
        code, _, err = ask(up, "survive", f"{here}x")
        assert (code, f"did you mean {here}" in err) == (2, True)
        said = "its workload has a lawful place elsewhere"
        becomes(
            lambda: {name: loss_of(up, here).get(name) for name in ("status", "reason", "message")},
            {"status": "True", "reason": "PlanFound", "message": said},
        )
        assert not loss_of(up, other)  # nothing runs there

        check_ctrl_c(up)
        web = client_of(up)
        check_one_at_a_time(web)
        check_answers_of_the_page(web, here)
        assert hub_and_ledger(up) == before


def check_ctrl_c(up: Up) -> None:
    """Ctrl-C leaves the question with 130, and the scheduler answers the next one."""
    # An answer may come first; then it is asked again.
    assert any(leave_question(up) == 130 for _ in range(5))


def is_asking(process: "subprocess.Popen[str]", port: int) -> bool:
    """Whether a process has a connection to a port of this machine, or has ended."""
    folder = Path(f"/proc/{process.pid}")
    far_end, inodes = f":{port:04X}", set()
    for line in (folder / "net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[2].endswith(far_end):
            inodes.add(f"socket:[{words[9]}]")
    try:
        opened = {str(one.readlink()) for one in (folder / "fd").iterdir()}
    except OSError:  # a file was closed meanwhile, or the process has ended
        opened = set()
    return bool(inodes & opened) or process.poll() is not None


def leave_question(up: Up) -> int:
    with subprocess.Popen(
        words_of(up, "whatif", "load", "1.5"), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as waits:
        port = int(up.ready["page"].rstrip("/").rpartition(":")[2])
        eventually(lambda: is_asking(waits, port), pause_seconds=0.01)
        waits.send_signal(signal.SIGINT)
        code = waits.wait(60)
        assert waits.stderr is not None
        assert "Traceback" not in waits.stderr.read()
        return code


def check_one_at_a_time(web: WebClient) -> None:
    """Of several questions at once one is answered, the others are refused at once."""
    body = json.dumps({"type": "whatif", "changes": [{"type": "load", "factor": 1.5}]}).encode()

    def post(_: int) -> int:
        try:
            lines = list(web.post_lines(PATH, body, timeout=60.0))
        except WebUnavailable as error:
            return error.code
        return 200 if "answer" in lines[-1] else 0

    def all_at_once() -> set[int]:
        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(post, range(4)))

    eventually(lambda: all_at_once() == {200, 429}, within_seconds=60.0)


def check_answers_of_the_page(web: WebClient, site: str) -> None:
    """The page asks by words; what cannot be read is 400, what the fleet lacks 409."""
    answer = web.get(f"{PATH}?scenario=lose+{site}+thaw")
    assert not answer["unplaced"]
    assert web.get("/api/v1/capacity?cpu=9")["replicas"] == 0
    for path, code, said in (
        (f"{PATH}?scenario=drain+nowhere", 409, "no site 'nowhere'"),
        (f"{PATH}?scenario=load+1+load+2", 409, "load has two different values"),
        (f"{PATH}?scenario=add+-f+/etc/passwd", 400, "files are read by kapok whatif only"),
        (f"{PATH}?scenario=", 400, "is empty"),
        ("/api/v1/capacity?cpus=1", 400, "no parameter 'cpus'"),
        ("/api/v1/capacity?cpu=x", 400, "not a quantity"),
    ):
        with pytest.raises(WebUnavailable, match=said) as refused:
            web.get(path)
        assert refused.value.code == code


def test_the_page_shows_before_and_after_side_by_side(up: Up, tmp_path: Path) -> None:
    require_browser()
    one, two = (ScriptedSite(n, up.ready["broker"], up.ready["hubKey"]) for n in ("m1", "m2"))
    up.apply(one.manifest + two.manifest)
    with running_sites(one, two), browser(tmp_path) as window:
        eventually(lambda: one.index and two.index)
        up.apply(WORKLOAD)
        here = eventually(lambda: place_of(up))
        window.open(page_address(up))
        window.run(f"location.hash = '#/whatif?scenario=drain+{here}'")
        shows(window, "All is placed as before.", "default/app")
        count = "return document.querySelectorAll('#whatif-sides tbody tr').length"
        eventually(lambda: window.run(count) > 7)
        # A form asks when it is sent; what the server refuses is shown as text.
        fill(window, "whatif-form", scenario="load 90 thaw")
        shows(window, "1 workload is left without a place.", "a site like")
        fill(window, "whatif-form", scenario=f"grid {here}=900kW")
        shows(window, "of 900 kW can be promised")
        fill(window, "whatif-form", scenario="drain <img src=x>")
        eventually(lambda: "begins no change" in window.text() or "no site" in window.text())
        assert not window.run("return document.querySelector('main img')")
        fill(window, "capacity-form", cpu="8")
        eventually(lambda: "m1" in str(window.run(CAPACITY_TEXT)))
        window.screenshot(tmp_path / "whatif.png")
        # 429: the scheduler was asking itself what its sites survive; the page asks again.
        expected = ("409 (Conflict)", "429 (Too Many Requests)")
        messages = window.console_messages()
        assert [one for one in messages if not any(code in one for code in expected)] == []


def shows(window: Browser, *words: str) -> None:
    """Waits until the page shows all these words at once."""

    def look() -> bool:
        text = window.text()
        return all(word in text for word in words)

    eventually(look)


CAPACITY_TEXT = "return document.getElementById('capacity-sites')?.innerText"


def fill(window: Browser, form: str, **values: str) -> None:
    """Types into a form, and sends it."""
    lines = [f"const f = document.getElementById('{form}');"]
    for name, value in values.items():
        field = f"f.querySelector('[name={name}]')"
        lines += [
            f"{field}.value = {json.dumps(value)};",
            f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}));",
        ]
    window.run("".join(lines))
    window.run(f"document.getElementById('{form}').requestSubmit()")


def page_address(up: Up) -> str:
    done = subprocess.run(
        words_of(up, "open"), capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()
