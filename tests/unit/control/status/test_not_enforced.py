"""NotEnforced is tied to the code: a field changes what is decided on, or is listed."""

from typing import Any

import pytest

from scheduler.control.status.conditions import stuck_condition
from scheduler.control.status.not_enforced import (
    NOT_ENFORCED,
    not_enforced,
    not_enforced_condition,
    not_enforced_warnings,
)
from scheduler.model.decode import decode
from scheduler.model.demand.accept import demand_of
from scheduler.model.kinds.workload import Workload, WorkloadSpec, WorkloadStatus
from tests.support.fake_clock import START

# A value that is not the default, for every field of the spec.
SET: dict[str, Any] = {
    "dataClass": "general-2",
    "protectionLevel": 3,
    "networkZones": ["public-network"],
    "jurisdictions": ["CN-GD"],
    "imagePlatforms": ["linux/arm64"],
    "priority": 7,
    "replicas": 5,
    "manifests": [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "x"},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        }
    ],
    "demand": {"replicas": 2, "requests": {"cpu": "1"}},
    "policyRef": {"name": "two-sites"},
    "placement": {"strategy": "Balanced"},
    "schedule": {"earliest": "2026-11-24T08:00:00Z"},
    "failover": {"mode": "Manual"},
    "recovery": {"rtoSeconds": 120, "rpoSeconds": 0},
    "onWithdraw": "Delete",
    "updateStrategy": "Recreate",
    "onDrift": "Report",
    "preemption": "LowerPriority",
    "rollout": {"groups": [{"share": 0.5}]},
    "paused": True,
    "overrides": [{"imageRegistries": [{"from": "docker.io", "to": "mirror.local"}]}],
}

ACTS_ON_ORDERS = {"onDrift", "onWithdraw", "overrides", "rollout", "updateStrategy"}
"""Not matters of the demand: `test_claims.py`, `test_overrides.py` and `test_asks.py` in
`tests/unit/control/orders`, and `tests/unit/control/rollout`."""

MEASURED_BY_DRILLS = {"recovery"}
"""`tests/unit/control/drills`: a drill says whether it is met."""


def workload(**spec: Any) -> Workload:  # noqa: ANN401 - any JSON
    raw = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "w", "namespace": "ns"},
        "spec": spec,
    }
    decoded = decode(raw)
    assert isinstance(decoded, Workload)
    return decoded


def test_every_field_of_the_spec_has_a_value_in_this_test() -> None:
    assert set(SET) == set(WorkloadSpec.__struct_encode_fields__)


@pytest.mark.parametrize("field", sorted(SET))
def test_a_field_changes_what_is_decided_or_is_listed_as_not_enforced(field: str) -> None:
    base: dict[str, Any] = {} if field == "manifests" else {"demand": {}}
    base |= {"dataClass": "general-1"}
    base.pop(field, None)
    if field == "demand":
        base["manifests"] = SET["manifests"]
    changed = workload(**base, **{field: SET[field]})
    acts = field in ACTS_ON_ORDERS | MEASURED_BY_DRILLS or demand_of(changed) != demand_of(
        workload(**base)
    )
    assert acts or not_enforced(changed), f"spec.{field} does nothing and says nothing"


@pytest.mark.parametrize("path", sorted(NOT_ENFORCED["Workload"]))
def test_a_listed_field_sets_the_condition_with_its_path(path: str) -> None:
    examples: dict[str, dict[str, Any]] = {
        "spec.schedule.interruptible": {"schedule": {"interruptible": True}},
    }
    condition = not_enforced_condition(workload(**examples[path]), START)
    assert condition is not None
    assert path in condition.message


def test_a_workload_that_sets_none_of_them_has_no_such_condition() -> None:
    assert not_enforced_condition(workload(dataClass="general-1"), START) is None


@pytest.mark.parametrize("identity", ["PerSite", "Ranges"])
def test_an_identity_of_pods_without_numbers_says_that_it_does_nothing(identity: str) -> None:
    deployment = SET["manifests"]
    numbered = [{**deployment[0], "kind": "StatefulSet"}]
    for manifests, is_listed in ((deployment, True), (numbered, False)):
        spec = {"manifests": manifests, "placement": {"identity": identity}}
        assert (not_enforced(workload(**spec)) == ("spec.placement.identity",)) == is_listed
        raw = {"apiVersion": "kapok.dev/v1alpha1", "kind": "Workload", "metadata": {"name": "w"}}
        warnings = not_enforced_warnings({**raw, "spec": spec})
        assert [one.split(":")[0] for one in warnings] == (
            ["spec.placement.identity is not enforced"] if is_listed else []
        )


def test_nothing_is_stuck_before_it_was_ordered() -> None:
    assert stuck_condition(WorkloadStatus(), 1.0, START) is None
