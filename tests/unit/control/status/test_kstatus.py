"""Workloads and sites follow kstatus, and Argo CD's script says the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.control.sites.site_readiness import progress_condition
from scheduler.control.status.conditions import find_condition
from scheduler.control.status.kstatus import with_kstatus
from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import WorkloadStatus
from tests.support.kstatus import kstatus_of
from tests.support.sites import NOW

HEALTH = Path(__file__).parents[4] / "manifests/argocd/health.lua"
REFUSED = Condition(type="Accepted", status="False", reason="Conflict", message="it is another's")
SILENT = Condition(type="Available", status="Unknown", reason="SiteSilent")
HELD = Condition(type="Failover", status="False", reason="Manual")
DRIFTED = Condition(
    type="Drifted", status="True", reason="ChangedAtSite", message="m1: Deployment web (spec)"
)
EMPTY = Condition(type="Available", status="True", reason="Placed")

Case = tuple[dict[str, Any], bool, str, str, str]
CASES: dict[str, Case] = {
    # name: status, has a failed site; kstatus, reason of Ready, health in Argo CD
    "new": ({}, False, "InProgress", "Pending", "Progressing"),
    "waits": ({"phase": "Waiting"}, False, "InProgress", "Waiting", "Progressing"),
    "no site passes": ({"phase": "Refused"}, False, "Failed", "Refused", "Degraded"),
    "not accepted": (
        {"phase": "Refused", "conditions": (REFUSED,)},
        False,
        "Failed",
        "Conflict",
        "Degraded",
    ),
    "runs by the spec before": (
        {"phase": "Running", "conditions": (REFUSED,)},
        False,
        "Failed",
        "Conflict",
        "Degraded",
    ),
    "ordered": ({"phase": "Placed", "replicas": 2}, False, "InProgress", "Placed", "Progressing"),
    "scaled to 0": (
        {"phase": "Placed", "conditions": (EMPTY,)},
        False,
        "Current",
        "Placed",
        "Healthy",
    ),
    "runs": ({"phase": "Running", "replicas": 2}, False, "Current", "Running", "Healthy"),
    "completed": ({"phase": "Completed"}, False, "Current", "Completed", "Healthy"),
    "not all ready": ({"phase": "Degraded"}, False, "InProgress", "Degraded", "Degraded"),
    "failed": ({"phase": "Degraded"}, True, "Failed", "Failed", "Degraded"),
    "site is silent": (
        {"phase": "Degraded", "conditions": (SILENT,)},
        False,
        "InProgress",
        "Degraded",
        "Degraded",
    ),
    "an operator decides": (
        {"phase": "Degraded", "conditions": (SILENT, HELD)},
        False,
        "Failed",
        "Manual",
        "Degraded",
    ),
}


def body_of(status: WorkloadStatus, generation: int = 3, **spec: object) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": spec, "status": to_plain_json(status)}


def status_of(case: Case) -> WorkloadStatus:
    fields, is_failed, _, _, _ = case
    status = WorkloadStatus(observed_generation=3, reason="why", **fields)
    return with_kstatus(status, is_failed=is_failed, now=NOW)


@pytest.mark.parametrize("name", CASES)
def test_each_phase_has_the_status_that_kstatus_computes(name: str) -> None:
    _, _, expected, reason, _ = CASES[name]
    status = status_of(CASES[name])
    assert kstatus_of(body_of(status)) == expected
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert ready.reason == reason
    assert ready.message == ("" if expected == "Current" else "why")
    assert {one.observed_generation for one in status.conditions} == {3}
    assert not {"Reconciling", "Stalled"} <= {one.type for one in status.conditions}


@pytest.mark.parametrize("before", CASES)
@pytest.mark.parametrize("after", CASES)
def test_no_condition_of_a_former_phase_is_left(before: str, after: str) -> None:
    fields, is_failed, expected, _, _ = CASES[after]
    kept = tuple(
        one
        for one in status_of(CASES[before]).conditions
        if one.type in ("Ready", "Reconciling", "Stalled")
    )
    status = WorkloadStatus(observed_generation=3, **fields)
    status = msgspec.structs.replace(status, conditions=(*status.conditions, *kept))
    again = with_kstatus(status, is_failed=is_failed, now=NOW)
    assert kstatus_of(body_of(again)) == expected
    assert with_kstatus(again, is_failed=is_failed, now=NOW) == again


def test_a_spec_that_was_not_seen_yet_and_a_deletion_are_in_progress() -> None:
    assert kstatus_of(body_of(status_of(CASES["runs"]), generation=4)) == "InProgress"
    deleting = status_of(({"phase": "Deleting", "conditions": (REFUSED,)}, False, "", "", ""))
    assert find_condition(deleting.conditions, "Stalled") is None


@pytest.mark.parametrize(
    ("status", "reason", "beside"),
    [
        ("True", "Reporting", None),
        ("True", "Late", None),
        ("False", "Silent", "Reconciling"),
        ("Unknown", "Silent", "Reconciling"),
        ("False", "ClusterUnreachable", "Reconciling"),
        ("False", "Lost", "Stalled"),
    ],
)
def test_a_site_reconciles_until_it_is_lost(status: Any, reason: str, beside: str | None) -> None:  # noqa: ANN401 - a Literal
    ready = Condition(type="Ready", status=status, reason=reason)
    found = progress_condition(ready)
    assert (found.type if found else None) == beside
    assert found is None or (found.status, found.reason) == ("True", reason)


def lua_health(body: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD shows: status and message."""
    lua = pytest.importorskip("lupa.lua54", reason="lupa is in requirements-dev.lock")
    runtime = lua.LuaRuntime()
    runtime.globals().obj = runtime.table_from(body, recursive=True)
    found = runtime.execute(HEALTH.read_text())
    return found.status, found.message


@pytest.mark.parametrize("name", CASES)
def test_argo_cd_shows_the_health_of_each_phase(name: str) -> None:
    status, message = lua_health(body_of(status_of(CASES[name])))
    assert status == CASES[name][4]
    assert message == ("" if status == "Healthy" else "why")


def test_a_drift_that_is_left_is_ready_and_named() -> None:
    running = WorkloadStatus(observed_generation=3, phase="Running", conditions=(DRIFTED,))
    status = with_kstatus(running, is_failed=False, now=NOW)
    said = "changed at its sites and left so: m1: Deployment web (spec)"
    assert kstatus_of(body_of(status)) == "Current"
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("True", said)
    assert lua_health(body_of(status)) == ("Healthy", said)
    failed = WorkloadStatus(
        observed_generation=3, phase="Degraded", reason="why", conditions=(DRIFTED,)
    )
    status = with_kstatus(failed, is_failed=True, now=NOW)
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("False", "why")


def test_argo_cd_shows_what_is_new_paused_or_being_deleted() -> None:
    status = status_of(CASES["waits"])
    assert lua_health({"metadata": {"generation": 1}, "spec": {}})[0] == "Progressing"
    assert lua_health(body_of(status_of(CASES["runs"]), generation=4))[0] == "Progressing"
    assert lua_health(body_of(status, paused=True)) == ("Suspended", "why")
    body = body_of(status_of(CASES["runs"]))
    body["metadata"]["deletionTimestamp"] = "2026-11-24T08:00:00Z"
    assert lua_health(body)[0] == "Progressing"


def test_argo_cd_shows_the_health_of_a_site() -> None:
    conditions = [{"type": "Ready", "status": "True", "reason": "Reporting"}]
    site = {"metadata": {"generation": 2}, "status": {"observedGeneration": 2}}
    site["status"]["conditions"] = conditions  # type: ignore[assignment]
    assert lua_health(site)[0] == "Healthy"
    conditions[0] |= {"status": "False", "reason": "Lost"}
    conditions.append({"type": "Stalled", "status": "True", "reason": "Lost", "message": "gone"})
    assert lua_health(site) == ("Degraded", "gone")
