"""A change that fails half-way leaves everything as it was."""

from dataclasses import replace

import pytest

from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.hub import SITES, WORKLOADS, WatchEvent
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.ledger.fleet import FleetTree
from scheduler.model.decode import decode_as
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.site import SiteStatus
from scheduler.placement.fleet.fleet import Fleet
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import Raw, nodes, site, workload


class World:
    """The sites, with a fleet and the ledger's image of it, wired as the scheduler wires them."""

    def __init__(self, *raw: Raw) -> None:
        self.clock, self.fleet, self.image = FakeClock(), Fleet(), FleetTree()
        self.objects = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
        self.sites = Sites(
            objects=self.objects,
            clock=self.clock,
            silent_after_seconds=60.0,
            facts_sink=self._on_facts_changed,
        )
        for one in raw:
            self.objects.apply_event(SITES, WatchEvent("ADDED", one))
            self.sites.admit(one["metadata"]["name"])

    def report(self, name: str, figures: SiteStatus) -> None:
        self.sites.on_report(
            SiteReport(
                site=name,
                observed_seconds=self.clock.monotonic(),
                figures=figures,
                has_executor=True,
            )
        )

    def _on_facts_changed(self, name: str, facts: SiteFacts | None) -> None:
        assert facts is not None
        self.fleet.upsert(facts)
        self.image.put(name, facts)


def figures(*amounts: str) -> SiteStatus:
    """One row per amount of memory."""
    raw = site("m1", nodes(4))
    [shape] = raw["status"]["nodeClasses"]
    [row] = shape["free"]
    shape["free"] = [row | {"memory": each} for each in amounts]
    return decode_as(raw, Site).status


@pytest.mark.parametrize("poison", ["8Ei", "x", "1e99"])
def test_a_report_whose_last_row_cannot_be_read_changes_nothing(poison: str) -> None:
    world = World(site("m1"))
    world.report("m1", figures("64Gi", "32Gi"))
    state, facts = world.sites.states["m1"], world.fleet.facts_of("m1")
    kept = (replace(state), world.fleet.nodes.rows.matrix.tobytes(), world.image.current_state())
    with pytest.raises(ValueError, match="Site m1"):
        world.report("m1", figures("16Gi", "16Gi", poison))
    assert world.sites.states["m1"] == kept[0]
    assert world.fleet.facts_of("m1") is facts
    assert world.fleet.nodes.rows.matrix.tobytes() == kept[1]
    assert world.image.current_state().digest == kept[2].digest
    world.report("m1", figures("16Gi"))
    assert world.fleet.facts_of("m1") is not facts


def test_an_object_that_brings_out_a_fault_of_the_decoder_is_invalid_and_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []
    objects = HubObjects(NullTelemetry(), lambda *_: None, make_faults(counted=counted))
    one = workload(1, name="a")
    objects.apply_event(WORKLOADS, WatchEvent("ADDED", one))

    def fail(*_: object, **__: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr("scheduler.control.state.objects.decode", fail)
    newer = {**one, "metadata": {**one["metadata"], "resourceVersion": "99"}}
    objects.apply_event(WORKLOADS, WatchEvent("MODIFIED", newer))
    assert counted == ["object"]
    assert ("Workload", ("ns", "a")) in objects.invalid
    kept = {name: value for name, value in newer.items() if name != "spec"}
    assert dict(objects.raw_workloads["ns", "a"]) == kept


def test_a_change_whose_handler_failed_is_handled_with_the_same_event_again() -> None:
    heard: list[frozenset[str]] = []
    is_failing = True

    def handle(_kind: str, _key: tuple[str, str], sites: frozenset[str]) -> None:
        if is_failing:
            raise RuntimeError
        heard.append(sites)

    objects = HubObjects(NullTelemetry(), handle, make_faults())
    event = WatchEvent("ADDED", site("m1"))
    with pytest.raises(RuntimeError):
        objects.apply_event(SITES, event)
    is_failing = False
    objects.apply_event(SITES, event)
    assert heard == [frozenset({"m1"})]
    objects.apply_event(SITES, event)
    assert len(heard) == 1
