"""The JSON of workloads that is kept beside what is decoded of it."""

import gc
from typing import Any

from scheduler.control.ports.hub import WORKLOADS, WatchEvent
from scheduler.control.state.objects import HubObjects
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import Raw, workload

KEY = ("ns", "app")


def objects_with(one: Raw) -> HubObjects:
    objects = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    objects.apply_event(WORKLOADS, WatchEvent("ADDED", one))
    return objects


def with_conditions(count: int) -> Raw:
    one = workload(2, placed={"m1": 2})
    one["metadata"] |= {"uid": "u1", "resourceVersion": "7", "managedFields": [{"manager": "x"}]}
    one["status"]["conditions"] = [
        {"type": f"T{number}", "status": "True", "details": {"list": [{"number": number}]}}
        for number in range(count)
    ]
    return one


def test_the_json_of_a_workload_is_kept_but_for_its_spec_and_managed_fields() -> None:
    one = with_conditions(3)
    raw = objects_with(one).raw_workloads[KEY]
    metadata = {key: each for key, each in one["metadata"].items() if key != "managedFields"}
    assert dict(raw) == {
        "apiVersion": one["apiVersion"],
        "kind": one["kind"],
        "metadata": metadata,
        "status": one["status"],
    }
    assert len(raw) == 4
    assert "spec" not in raw
    assert raw.get("spec") is None
    assert raw["status"] is not one["status"]


def test_the_size_of_a_status_adds_no_object_for_the_collector_of_garbage() -> None:
    counts = []
    for conditions in (1, 300):
        objects = objects_with(with_conditions(conditions))
        # Of the decoded form there is one struct for each condition.
        objects.workloads.clear()
        gc.collect()
        counts.append(_count_reachable(objects.raw_workloads[KEY]))
        assert len(objects.raw_workloads[KEY]["status"]["conditions"]) == conditions
    assert counts[0] == counts[1]


def _count_reachable(one: object) -> int:
    seen: dict[int, Any] = {}
    todo = [one]
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen[id(each)] = each
            todo += gc.get_referents(each)
    return len(seen)


def test_what_cannot_be_written_as_json_again_is_kept_as_it_is() -> None:
    one = workload(1)
    one["status"]["huge"] = 2**70
    assert objects_with(one).raw_workloads[KEY]["status"]["huge"] == 2**70
