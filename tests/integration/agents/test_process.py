"""The `kapok-agent` command as people and supervisors use it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.member_clusters import wait_until
from tests.support.ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

AGENT = [sys.executable, "-m", "agents.cli"]
HELPLESS = {name: value for name, value in os.environ.items() if not name.startswith("KAPOK_")}


def agent(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AGENT, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=HELPLESS | environment,
    )


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*AGENT, *words], stderr=subprocess.PIPE, text=True, env=HELPLESS) as one:
        try:
            yield one
        finally:
            one.kill()


def settings(tmp_path: Path, **more: Any) -> Path:  # noqa: ANN401 - any setting
    path = tmp_path / "agent.yaml"
    tree = {"site": "site-a", "data_dir": str(tmp_path / "data"), "broker": {"port": free_port()}}
    path.write_text(json.dumps(tree | more))
    return path


def test_print_shows_one_report_and_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("seconds,power_watts,fault\n0,120,door-open\n")
    path = settings(
        tmp_path,
        replay={"file": str(tmp_path / "r.csv")},
        static={"pue": 1.4, "intensity_gco2_per_kwh": 441.9},
        peers=[{"name": "gz-core", "milliseconds": 3.5}],
    )
    done = agent("--config", str(path), "--print")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert (report["site"], report["kind"]) == ("site-a", "full")
    assert report["power"] == {"watts": 120.0, "origin": "measured"}
    assert report["intensity"] == {"gco2PerKwh": 441.9, "origin": "yearly"}
    assert report["rtt"] == [{"to": "gz-core", "milliseconds": 3.5, "origin": "modelled"}]
    assert report["faults"] == ["door-open"]
    assert "executor" not in report, "no cluster: the scheduler says no-executor"
    assert "nodeClasses" not in report


def test_the_key_is_shown_in_the_form_that_the_site_takes(tmp_path: Path) -> None:
    path = settings(tmp_path)
    keys = {agent("--config", str(path), "--show-key").stdout for _ in range(2)}
    assert len(keys) == 1
    assert keys.pop().startswith("ed25519:")


def test_help_teaches_by_example() -> None:
    text = agent("--help").stdout
    assert "agentKeys" in text
    assert text.count("kapok-agent --config agent.yaml") >= 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"brokr": {}}, "did you mean broker?"),
        ({"cluster": {"source": "kubeconfig", "kubeconfig": "/none"}}, "/none: No such file"),
        ({"replay": {"file": "/none.csv"}}, "/none.csv"),
        ({"cluster": {"source": "in-cluster"}}, "automountServiceAccountToken"),
    ],
    ids=["typo", "kubeconfig", "replay", "in-cluster"],
)
def test_what_is_set_wrong_is_said_and_ends_with_2(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    done = agent("--config", str(settings(tmp_path, **more)))
    assert done.returncode == 2
    assert done.stderr.startswith("kapok-agent: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"ended without saying {words!r}")


def test_a_second_agent_on_one_data_directory_is_refused_by_name(tmp_path: Path) -> None:
    path = settings(tmp_path)
    with running("--config", str(path)) as first:
        wait_for(first, "again in")
        second = agent("--config", str(path))
        assert second.returncode == 1
        assert f"{tmp_path}/data: another kapok-agent is using it" in second.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with running("--config", str(settings(tmp_path))) as one:
        wait_for(one, "again in")
        one.send_signal(number)
        assert one.wait(60) == 0
        assert one.stderr is not None
        assert "Traceback" not in one.stderr.read()


def test_it_ends_with_its_supervisor_also_when_that_is_killed(tmp_path: Path) -> None:
    words = [*AGENT, "--config", str(settings(tmp_path)), "--parent-pid"]
    script = (
        "import os, subprocess, sys, time;"
        f"p = subprocess.Popen({words!r} + [str(os.getpid())], stderr=subprocess.DEVNULL);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until((tmp_path / "data" / "boots").exists)
        parent.kill()
    wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def metrics_of(port: int) -> str:
    """The agent's /metrics; "" while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
    except urllib.error.URLError:
        return ""
    return text


def test_metrics_are_served_and_memory_stays_small(tmp_path: Path) -> None:
    port = free_port()
    with running("--config", str(settings(tmp_path, metrics={"port": port}))) as one:
        wait_for(one, "again in")
        wait_until(lambda: bool(metrics_of(port)))
        text = metrics_of(port)
    assert "kapok_agent_connected 0" in text
    rss = float(text.split("\nkapok_agent_resident_memory_bytes ")[1].split()[0])
    assert rss < 50 * 2**20
