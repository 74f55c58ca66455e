"""A real `kapok up`: capacity is reserved for large work that has waited; small work waits."""

import json
from pathlib import Path

import pytest

from tests.e2e.test_batch import WORKLOAD, phase
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import FAST_SETTINGS, eventually, kapok, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SETTINGS = FAST_SETTINGS + "queue: {reserve_after_seconds: 1.0}\n"


def work(name: str, replicas: int, priority: int = 0) -> str:
    text = WORKLOAD.format(name=name, priority=priority)
    return text.replace("replicas: 2", f"replicas: {replicas}")


def test_small_work_leaves_reserved_capacity_to_waiting_work_and_each_decision_can_be_replayed(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path, settings=SETTINGS) as up:
        site = ScriptedSite(
            "m1", up.ready["broker"], up.ready["hubKey"], nodes=1, cpu="8", cores_per_replica=2
        )
        smalls = [f"small{number}" for number in range(4)]
        up.apply(site.manifest + "".join(work(name, 1) for name in smalls))
        with running_sites(site):
            eventually(lambda: {phase(up, name) for name in smalls} <= {"Placed", "Running"})
            up.apply(work("large", 3))
            eventually(lambda: "capacity is reserved at m1" in up.log)
            up.kubectl("delete", "workloads.kapok.dev", smalls[0], "--timeout=60s")
            up.apply(work("late", 1))
            eventually(lambda: phase(up, "late") == "Waiting")
            # Until the site reports what the small one has left, there is nothing to reserve.
            words = ("explain", "default/late")
            said = "capacity there is reserved for default/large"
            eventually(lambda: said in json.dumps(kapok(up, *words, code=None)))
            up.apply(work("urgent", 1, priority=1))
            eventually(lambda: phase(up, "urgent") in ("Placed", "Running"))
            for name in (*smalls[1:], "urgent"):
                up.kubectl("delete", "workloads.kapok.dev", name, "--timeout=60s")
            eventually(lambda: phase(up, "large") in ("Placed", "Running"))
            eventually(lambda: phase(up, "late") in ("Placed", "Running"))
            for name in ("large", "late"):
                decision = up.get("workloads.kapok.dev", name)["status"]["decision"]["id"]
                assert kapok(up, "replay", decision)["same"] is True
