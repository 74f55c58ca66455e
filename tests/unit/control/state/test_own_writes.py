"""The watch's events of an object that is being written wait until the hub has answered."""

from contextlib import suppress
from typing import Any

from scheduler.control.ports.hub import WORKLOADS, WatchEvent
from scheduler.control.state.objects import HubObjects
from scheduler.model.kinds.metadata import WorkKey
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import workload

KEY: WorkKey = ("ns", "w1")


class Listener:
    """Counts what is announced."""

    def __init__(self) -> None:
        self.announced: list[WorkKey] = []
        self.objects = HubObjects(NullTelemetry(), self, make_faults())

    def __call__(self, _kind: str, key: WorkKey, _sites: frozenset[str]) -> None:
        self.announced.append(key)

    def watch(self, body: dict[str, Any], change: str = "MODIFIED") -> None:
        self.objects.apply_event(WORKLOADS, WatchEvent(change, body))


def version(number: int, **spec: object) -> dict[str, Any]:
    body = workload(1, name="w1")
    body["metadata"] |= {"uid": "u", "resourceVersion": str(number)}
    body["spec"] |= spec
    return body


def test_an_event_of_our_own_write_that_comes_before_the_answer_announces_nothing() -> None:
    hub = Listener()
    hub.watch(version(1), "ADDED")
    with hub.objects.writing(KEY):
        hub.watch(version(2))
        hub.objects.put_workload(version(2))
    assert hub.announced == [KEY]
    assert hub.objects.raw_workloads[KEY]["metadata"]["resourceVersion"] == "2"


def test_what_another_client_writes_meanwhile_is_announced_after_the_answer() -> None:
    hub = Listener()
    hub.watch(version(1), "ADDED")
    with hub.objects.writing(KEY):
        hub.watch(version(2))
        hub.watch(version(3, priority=7))
        assert hub.announced == [KEY]
        hub.objects.put_workload(version(2))
    assert hub.announced == [KEY, KEY]
    assert hub.objects.workloads[KEY].spec.priority == 7


def test_a_deletion_while_the_write_fails_is_taken_in() -> None:
    hub = Listener()
    hub.watch(version(1), "ADDED")
    with suppress(TimeoutError), hub.objects.writing(KEY):
        hub.watch(version(1), "DELETED")
        raise TimeoutError
    assert hub.announced == [KEY, KEY]
    assert not hub.objects.workloads


def test_events_of_other_objects_do_not_wait() -> None:
    hub = Listener()
    other = workload(1, name="w2")
    other["metadata"] |= {"uid": "v", "resourceVersion": "1"}
    with hub.objects.writing(KEY):
        hub.watch(other, "ADDED")
        assert hub.announced == [("ns", "w2")]


def test_a_status_that_changes_leaves_the_spec_the_same_object_and_its_reading_too() -> None:
    hub = Listener()
    hub.watch(version(1), "ADDED")
    before, reading = hub.objects.workloads[KEY], read(hub)
    hub.watch({**version(2), "status": {"phase": "Placed"}})
    after = hub.objects.workloads[KEY]
    assert after.status.phase == "Placed"
    assert after.spec is before.spec
    assert read(hub) is reading
    hub.watch(version(3, priority=7))
    assert hub.objects.workloads[KEY].spec.priority == 7
    assert read(hub) is not reading


def read(hub: Listener) -> object:
    return hub.objects.readings.read(hub.objects.workloads[KEY], None)


def test_the_answer_to_our_own_write_has_the_known_spec_only_in_its_generation() -> None:
    hub = Listener()
    first, same, edited = version(1), version(2, priority=7), version(3, priority=7)
    for body, generation in ((first, 1), (same, 1), (edited, 2)):
        body["metadata"]["generation"] = generation
    hub.watch(first, "ADDED")
    spec = hub.objects.workloads[KEY].spec
    hub.objects.put_workload(same)  # no hub answers so: the generation says what the spec is
    assert hub.objects.workloads[KEY].spec is spec
    hub.objects.put_workload(edited)
    assert hub.objects.workloads[KEY].spec.priority == 7
    recreated = version(4, priority=9)
    recreated["metadata"] |= {"uid": "another", "generation": 2}
    hub.watch(recreated)
    assert hub.objects.workloads[KEY].spec.priority == 9


def test_an_answer_without_a_generation_is_read_as_a_whole() -> None:
    hub = Listener()
    hub.watch(version(1), "ADDED")
    hub.objects.put_workload(version(2, priority=7))
    assert hub.objects.workloads[KEY].spec.priority == 7
