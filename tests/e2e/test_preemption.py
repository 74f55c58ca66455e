"""Preemption with `kapok up`, its hub, broker and ledger, a kill in between, and kubectl."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_drain import workload as deployment
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import BIN, Up, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(300)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def status(up: Up, name: str) -> dict[str, Any]:
    found: dict[str, Any] = up.get("kw", name).get("status", {})
    return found


def replicas(up: Up, name: str) -> int:
    groups = status(up, name).get("placement", {}).get("groups", [])
    return sum(one.get("replicas", 0) * len(one["sites"]) for one in groups)


def tenant(up: Up) -> dict[str, Any]:
    found: dict[str, Any] = up.get("tenants", "tests").get("status", {})
    return found


def asked(name: str, priority: int, more: str = "") -> str:
    words = f"  priority: {priority}\n{more}  replicas: 3"
    return deployment(name).replace("  replicas: 3", words, 1)


def explained(up: Up, name: str) -> dict[str, Any]:
    words = [str(BIN / "kapok"), "explain", f"default/{name}", "-o", "json"]
    words += ["--data-dir", str(up.data_dir)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_lower_work_gives_way_and_the_records_replay_over_a_kill(up: Up) -> None:
    one = ScriptedSite(
        "m1", up.ready["broker"], up.ready["hubKey"], nodes=1, cpu="4", cores_per_replica=1
    )
    up.apply(one.manifest)
    with running_sites(one):
        eventually(lambda: one.index)
        up.apply(asked("low", 10))
        eventually(lambda: status(up, "low").get("phase") == "Running")
        up.apply(asked("modest", 100))
        eventually(lambda: status(up, "modest").get("phase") == "Waiting")
        changes = {each["kind"]: each for each in explained(up, "modest")["smallestChange"]}
        assert changes["workload.preemption"]["sentence"] == (
            "fits if default/low (priority 10) gives way at m1 (2 of 3)"
        )
        up.kubectl("delete", "kw", "modest")

        up.apply(asked("urgent", 100, "  preemption: LowerPriority\n"))
        eventually(lambda: status(up, "urgent").get("preempting") or replicas(up, "urgent"))
        up.kill()
        up.start()
        eventually(lambda: status(up, "urgent").get("phase") == "Running", within_seconds=120)
        assert (replicas(up, "urgent"), replicas(up, "low")) == (3, 1)
        assert "preempting" not in status(up, "urgent")
        low = status(up, "low")
        assert low["phase"] == "Waiting"
        (condition,) = [each for each in low["conditions"] if each["type"] == "Preempted"]
        assert "preempted by default/urgent (priority 100)" in condition["message"]
        records = kapok(up, "ledger", "list", "--workload", "default/urgent")["records"]
        records += kapok(up, "ledger", "list", "--workload", "default/low")["records"]
        lines = [each["line"] for each in records]
        assert any("for it end 2 of 3 of default/low at m1 (priority 10)" in each for each in lines)
        for each in records:
            assert kapok(up, "replay", each["id"])["same"] is True, each
        eventually(lambda: tenant(up).get("used", {}).get("cpu") == "4", within_seconds=60)
        assert tenant(up)["waiting"] == 1
        events = up.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")
        assert {"Preempting", "Preempted"} <= set(events.split())
