"""Services that fail under a running hub: the broker, and the disk of the ledger."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.counters import counters
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.tools import require_tool, skip_or_fail
from tests.support.up import Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_LEDGER_PROBLEM = "nothing is decided: the ledger cannot be written: "
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: default}}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 1
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          containers:
          - {{name: web, image: "a:1", resources: {{requests: {{cpu: "1", memory: 1Gi}}}}}}
"""


def site(up: Up) -> ScriptedSite:
    return ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def place(up: Up, name: str, *, within_seconds: float = 60.0) -> None:
    up.apply(WORKLOAD.format(name=name))
    eventually(lambda: phase(up, name) == "Running", within_seconds=within_seconds)


def are_running(up: Up, count: int) -> bool:
    return all(phase(up, f"held-{number}") == "Running" for number in range(count))


def readiness(up: Up) -> str:
    """The sentence of /readyz; "ok" when ready."""
    address = up.ready["page"] + "readyz"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own
            return str(answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode().strip())


def broker_pid(up: Up) -> int:
    """The embedded broker's process; 0 when none runs."""
    for child in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "mosquitto":
                return int(child)
    return 0


def test_a_broker_that_is_killed_again_and_again_is_started_again(tmp_path: Path) -> None:
    require_tool("mosquitto")
    with running_up(tmp_path) as up:
        one, pid = site(up), up.pid
        up.apply(one.manifest)
        with running_sites(one):
            place(up, "before")
            end = time.monotonic() + 3.0
            killed = 0
            while time.monotonic() < end or killed < 2:  # also while it is being started again
                if broker := broker_pid(up):
                    os.kill(broker, signal.SIGKILL)
                    killed += 1
                time.sleep(0.01)  # noqa: TID251 - a real process is killed
            place(up, "after")
        assert up.pid == pid
        assert "Traceback" not in up.log


def test_while_the_ledger_is_locked_nothing_is_decided_and_then_all_is(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        one = site(up)
        up.apply(one.manifest)
        with running_sites(one):
            place(up, "before")
            eventually(lambda: readiness(up) == "ok")
            with closing(sqlite3.connect(up.data_dir / "ledger.db", isolation_level=None)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                _nothing_is_decided(up, "database is locked")
            _all_is_decided(up)
    assert "Traceback" not in up.log


@pytest.mark.soak
def test_a_full_disk_under_the_ledger_ends_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (tmp_path / "data").mkdir(mode=0o700)
        (tmp_path / "data" / "ledger.db").symlink_to(disk / "ledger.db")
        with running_up(tmp_path) as up:
            one = site(up)
            up.apply(one.manifest)
            with running_sites(one):
                place(up, "before")
                filler = disk / "filler"
                fill(filler)
                _nothing_is_decided(up, "full", "disk I/O error")
                filler.unlink()
                _all_is_decided(up)
                up.kill()
                up.start()
                one.broker = up.ready["broker"]
                place(up, "again")
        assert "Traceback" not in up.log


def _nothing_is_decided(up: Up, *reasons: str) -> None:
    for number in range(3):
        up.apply(WORKLOAD.format(name=f"held-{number}"))
    sentence = eventually(lambda: _ledger_problem(up))
    assert any(reason in sentence for reason in reasons)
    assert "\n" not in sentence
    assert [phase(up, f"held-{number}") for number in range(3)] == ["", "", ""]
    eventually(lambda: counters(up, "kapok_faults_total").get('where="ledger"', 0) >= 1)


def _ledger_problem(up: Up) -> str:
    sentence = readiness(up)
    return sentence if sentence.startswith(_LEDGER_PROBLEM) else ""


def _all_is_decided(up: Up) -> None:
    eventually(lambda: readiness(up) == "ok", within_seconds=60)
    eventually(lambda: are_running(up, 3), within_seconds=60)
    verdict = kapok(up, "ledger", "verify")
    assert verdict["ok"]
    with closing(sqlite3.connect(up.data_dir / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT subject FROM records WHERE subject LIKE '%held-%'").fetchall()
    assert sorted(rows) == [(f"default/held-{number}",) for number in range(3)]  # each once


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    disk = folder / "disk"
    disk.mkdir()
    words = [require_tool("mount"), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        skip_or_fail("may not mount a small disk here")
    try:
        yield disk
    finally:
        subprocess.run([require_tool("umount"), str(disk)], check=True)


def fill(path: Path) -> None:
    """Fills the disk of a file to its last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
