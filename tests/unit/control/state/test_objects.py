"""The index of workloads by site equals a search through all of them."""

from random import Random

from scheduler.control.ports.hub import WORKLOADS, WatchEvent
from scheduler.control.state.objects import HubObjects
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import workload


def test_workloads_by_site_are_those_that_a_search_through_all_finds() -> None:
    random = Random(2)  # noqa: S311 - a test, seeded
    registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    for version in range(1, 200):
        sites = random.sample(("m1", "m2", "m3"), random.randint(0, 3))
        one = workload(1, name=f"w{random.randint(0, 5)}", placed=dict.fromkeys(sites, 1))
        one["metadata"] |= {"uid": "u", "resourceVersion": str(version)}
        if random.random() < 0.3:
            registry.put_workload(one)
        else:
            kind = random.choice(("ADDED", "MODIFIED", "DELETED"))
            registry.apply_event(WORKLOADS, WatchEvent(kind, one))
        for name in ("m1", "m2", "m3"):
            walked = {
                key
                for key, each in registry.workloads.items()
                if any(name in group.sites for group in each.status.placement.groups)
            }
            assert set(registry.workloads_at(name)) == walked
