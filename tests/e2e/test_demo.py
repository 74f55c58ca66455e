"""The demo as a newcomer runs it: real processes, and a checker that shares no code."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.replay import replay
from scheduler.ledger.verify import verify
from tests.support.demo_checker import (
    Export,
    broken_rules,
    decisions_that_do_not_match,
    orders_not_applied,
    what_a_loss_must_concern,
)
from tests.support.grafana import queries, unanswered
from tests.support.prometheus import prometheus
from tests.support.tools import require_tool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

KAPOK = [sys.executable, "-m", "scheduler.cli.entry"]
ANSWER_WITHIN_CPU_SECONDS = 60.0
"""The answer comes within a minute on one idle core; on a busy machine anything is slow."""


def environment(home: Path, *, with_mosquitto: bool = True) -> dict[str, str]:
    """Ours, with a data home of its own; without mosquitto the packaged broker is used."""
    found = {k: v for k, v in os.environ.items() if not k.startswith(("KAPOK_", "KUBECONFIG"))}
    found["KAPOK_DATA_HOME"] = str(home)
    if not with_mosquitto:
        folders = [Path(one) for one in found["PATH"].split(os.pathsep)]
        hidden = [str(one) for one in folders if not (one / "mosquitto").exists()]
        found["PATH"] = os.pathsep.join(hidden)
    return found


def processes_of(folder: Path) -> dict[int, str]:
    """Processes whose command line names this folder, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in words and int(entry.name) != os.getpid():
            found[int(entry.name)] = words.replace(b"\0", b" ").decode()
    return found


def children_cpu_seconds() -> float:
    """CPU time of the processes that have ended, and of all that they had started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def eventually(holds: Callable[[], object], *, within_seconds: float) -> bool:
    end = time.monotonic() + within_seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)  # noqa: TID251 - other processes are waited for
    return True


def test_the_demo_settles_and_an_independent_checker_finds_nothing(tmp_path: Path) -> None:
    target = tmp_path / "export"
    words = ["demo", "--exit-when-settled", "-o", "json", "--export", str(target)]
    before = children_cpu_seconds()
    done = subprocess.run(
        [*KAPOK, *words],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert children_cpu_seconds() - before < ANSWER_WITHIN_CPU_SECONDS
    answer = json.loads(done.stdout)
    _check_answer(answer)
    export = Export(target)
    assert broken_rules(export) == []
    assert orders_not_applied(export) == []
    assert decisions_that_do_not_match(export) == []
    assert set(export.members) == set(export.reports) == {s["name"] for s in answer["sites"]}
    _check_what_ifs_of(export, target)
    assert list((tmp_path / "home").iterdir()) == []  # nothing is left behind
    assert eventually(lambda: processes_of(tmp_path) == {}, within_seconds=20)


def _check_answer(answer: dict[str, Any]) -> None:
    summary = answer["summary"]
    assert summary["sites"] == summary["reporting"] == len(answer["sites"]) >= 12
    assert summary["workloads"] == len(answer["workloads"]) >= 24
    assert summary["violations"] == 0
    assert summary["seconds"] > 0
    phases = summary["phases"]
    assert phases.get("Running", 0) + phases.get("Completed", 0) >= 18
    why = {one["name"]: one["reasons"] for one in answer["workloads"]}
    assert "data-class-missing" in why["new-questionnaire"]
    assert "jurisdiction" in why["patient-export"]
    assert "architecture" in why["legacy-console"]
    assert "network-zone" in why["sealed-files"]
    assert "too-far" in why["vr-patrol"]
    assert "fragmented" in why["in-memory-warehouse"]
    for one in answer["workloads"]:
        assert one["line"]
        if one["phase"] == "Running":
            assert all(site["ready"] == site["replicas"] for site in one["sites"])


def _check_what_ifs_of(export: Export, folder: Path) -> None:
    """Some sites of the exported city are lost in turn: what ran there moves, or is left over."""
    for site in sorted(export.members)[::5]:
        done = subprocess.run(
            [*KAPOK, "whatif", "-f", str(folder), "lose", site, "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        answer = json.loads(done.stdout)
        assert done.returncode == bool(answer["unplaced"])
        concerned = {one["workload"] for one in answer["moves"] if one["from"] == site}
        concerned |= {one["workload"] for one in (*answer["unplaced"], *answer["ends"])}
        assert concerned == what_a_loss_must_concern(export, site)
        assert all(one["to"] != site for one in answer["moves"])


class Running:
    """A demo that runs in the background."""

    def __init__(self, process: "subprocess.Popen[str]", said: list[str], home: Path) -> None:
        self.process, self.said, self.home = process, said, home

    def paste(self, line: str) -> str:
        """Runs the commands that the demo printed, as a shell would after pasting."""
        export = next(one for one in self.said if one.startswith("export "))
        done = subprocess.run(
            ["bash", "-ec", f"{export}\n{line}"],  # noqa: S607 - what people type into
            env={k: v for k, v in environment(self.home).items() if k != "KAPOK_DATA_HOME"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def running(folder: Path, *words: str, with_mosquitto: bool = True) -> Iterator[Running]:
    """A small demo, once it has said its last line."""
    command = [*KAPOK, "demo", "--size", "small", "--data-dir", str(folder), *words]
    home = folder.parent / "home"
    with subprocess.Popen(
        command,
        env=environment(home, with_mosquitto=with_mosquitto),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        try:
            for line in process.stderr:
                said.append(re.sub(r"^ *[0-9.]+ s +", "", line).strip())
                if said[-1].startswith("Ctrl-C"):
                    break
            assert said[-1].startswith("Ctrl-C"), "\n".join(said)
            yield Running(process, said, home)
        finally:
            process.kill()
            process.stderr.close()


def readme_commands() -> list[str]:
    """What the README's first screen asks to paste, but for the export, which names a folder."""
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    block = text.partition("<!-- a test pastes these -->\n```\n")[2].partition("```")[0]
    found = [line.partition("#")[0].strip() for line in block.splitlines()]
    commands = [line for line in found if line and not line.startswith("export ")]
    assert len(commands) >= 4
    return commands


def ask_prometheus(folder: Path, demo: Running, kapok: str) -> None:
    """A real Prometheus scrapes the demo, and has an answer to every query of the dashboards."""
    require_tool("prometheus")
    port = json.loads((folder / "hub" / "ports.json").read_text())["web"]
    with prometheus(folder.parent, f"127.0.0.1:{port}") as server:
        assert eventually(lambda: server.value("kapok_leader") == 1, within_seconds=60)
        for query, count in (
            ("kapok_site_power_watts", 3),
            ('kapok_workloads{phase="Running"} > 0', 1),
            ("kapok_site_emission_gco2_per_hour", 1),
            ('kapok_site_info{province="CN-GD"}', 1),
        ):
            assert eventually(
                lambda: len(server.query(query)) >= count,  # noqa: B023 - called at once
                within_seconds=60,
            ), query
        change_one(demo, kapok)  # after it settled nothing is decided, and its rates are of nothing
        wanted = list(queries())
        assert eventually(lambda: not unanswered(server, wanted), within_seconds=60), unanswered(
            server, wanted
        )


def look_from_a_terminal(demo: Running, kapok: str) -> None:
    """The live table once, the history of a workload, and what all of it draws."""
    found = json.loads(demo.paste(f"{kapok} top -o json"))
    assert len(found["sites"]) == found["summary"]["reporting"] == 3
    one = next(each for each in found["workloads"] if each["phase"] == "Running")
    table = demo.paste(f"{kapok} history {one['namespace']}/{one['name']}")
    assert "Placed" in table
    rows = json.loads(demo.paste(f"{kapok} carbon --by tenant -o json"))["rows"]
    assert all(each["watts"] > 0 and each["origin"] == "assumed" for each in rows)
    assert len(demo.paste(f"{kapok} carbon").splitlines()) == 3 + 2


def change_one(demo: Running, kapok: str) -> None:
    """A new priority for a workload that runs: it is decided again, and runs on."""
    found = json.loads(demo.paste(f"{kapok} kubectl get kw -A -o json"))["items"]
    runs = next(one for one in found if one["status"]["phase"] == "Running")
    key = f"-n {runs['metadata']['namespace']} {runs['metadata']['name']}"
    demo.paste(f"""{kapok} kubectl patch kw {key} --type merge -p '{{"spec":{{"priority":7}}}}'""")


def test_the_printed_commands_work_when_pasted_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with running(folder, with_mosquitto=False) as demo:
        kapok = next(one.split()[0] for one in demo.said if one.endswith("get kw -A"))
        commands = [one for one in demo.said if one.startswith(kapok)]
        answers = {one.removeprefix(kapok).strip(): demo.paste(one) for one in commands}
        assert "gz-nansha-edge" in answers["kubectl get sites"]
        assert "sealed-files" in answers["kubectl get kw -A"]
        assert any("Running" in text for name, text in answers.items() if "get pods" in name)
        assert "network-zone" in answers["kubectl describe kw -n archive sealed-files"]
        assert "none was changed" in answers["ledger verify"]
        assert any("the same, byte for byte" in text for text in answers.values())

        for command in readme_commands():
            demo.paste(f"PATH={Path(sys.executable).parent}:$PATH\n{command}")
        ask_prometheus(folder, demo, kapok)
        look_from_a_terminal(demo, kapok)

        site = next(one.split()[-1] for one in commands if "poke silence" in one)
        demo.paste(f"{kapok} demo poke silence {site}")
        ready = f"{kapok} kubectl get site {site} -o jsonpath='{{.status.conditions[0].status}}'"
        assert eventually(lambda: demo.paste(ready) == "False", within_seconds=60)
        demo.paste(f"{kapok} demo poke return {site}")
        assert eventually(lambda: demo.paste(ready) == "True", within_seconds=60)

        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(60) == 0
    assert eventually(lambda: processes_of(folder) == {}, within_seconds=20), processes_of(folder)


@pytest.mark.soak
def test_children_that_die_come_back_and_none_outlives_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with running(folder, "--keep") as demo:
        before = processes_of(folder)
        agent = next(pid for pid, words in before.items() if "agents.cli" in words)
        os.kill(agent, signal.SIGKILL)
        assert eventually(
            lambda: (
                sum("agents.cli" in w for w in processes_of(folder).values()) == 3
                and agent not in processes_of(folder)
            ),
            within_seconds=60,
        )
        demo.process.kill()
        demo.process.wait(60)
        assert eventually(lambda: processes_of(folder) == {}, within_seconds=60)
    words = ["demo", "--resume", str(folder), "--exit-when-settled", "-o", "json"]
    done = subprocess.run(
        [*KAPOK, *words],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["violations"] == 0
    with LedgerReader(folder / "hub" / "ledger.db") as reader:
        assert verify(reader).is_ok
        again = {record.id: replay(reader, record).is_same for record in reader.records(0, 1000)}
    assert len(again) >= 8
    assert set(again.values()) == {True}


VICTIMS = {
    "scheduler": "up --data-dir",
    "agent": "agents.cli",
    "members": "serve-api",
    "broker": "mosquitto",
}


@pytest.mark.soak
@pytest.mark.parametrize("victim", VICTIMS)
def test_the_demo_settles_again_whatever_process_is_killed(tmp_path: Path, victim: str) -> None:
    folder = tmp_path / "city"
    words = ["demo", "--data-dir", str(folder), "--exit-when-settled", "-o", "json"]
    with subprocess.Popen(
        [*KAPOK, *words],
        env=environment(tmp_path / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if "applying" in line and line.endswith("workloads\n"):
                break
        found = [pid for pid, said in processes_of(folder).items() if VICTIMS[victim] in said]
        os.kill(found[0], signal.SIGKILL)
        answer = json.loads(process.communicate(timeout=110)[0])
    assert process.returncode == 0
    assert answer["summary"]["violations"] == 0
    row = {"scenario": f"demo-kill-{victim}", "seconds": answer["summary"]["seconds"]}
    sys.stdout.write(json.dumps(row) + "\n")
