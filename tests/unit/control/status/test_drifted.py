"""Condition `Drifted`: site, object and field, from what a site says; bounded and printable."""

from agents.protocol.status import DriftedObject, OrderStatus
from scheduler.control.ports.agents import OrderState
from scheduler.control.status.conditions import drifted_condition
from scheduler.control.status.migration import SiteView
from scheduler.mqtt.site_reports import order_state_of


def view(*drifted: DriftedObject) -> SiteView:
    told = OrderStatus(id="hub/a/b/1", generation=1, phase="Ready", drifted=drifted or None)
    return SiteView(state=order_state_of(told), is_silent=False)


def test_site_object_and_field_are_named() -> None:
    web = DriftedObject(kind="Deployment", namespace="a", name="web", fields=("spec.replicas",))
    role = DriftedObject(kind="ClusterRole", name="reader")
    found = drifted_condition({"m2": view(web), "m1": view(role), "m3": view()})
    assert found is not None
    assert (found.status, found.reason) == ("True", "ChangedAtSite")
    assert found.message == "m1: ClusterRole reader; m2: Deployment a/web (spec.replicas)"


def test_without_drift_there_is_no_condition() -> None:
    unheard = SiteView(state=None, is_silent=True)
    assert drifted_condition({"m1": view(), "m2": unheard}) is None
    state = OrderState(id="o", generation=1, phase="Ready")
    assert drifted_condition({"m1": SiteView(state=state, is_silent=False)}) is None


def test_what_a_hostile_site_says_is_bounded_and_printable() -> None:
    fields = tuple("\x1b[2J密" * 40 for _ in range(8))
    many = [DriftedObject(kind="K", name="n" * 253, fields=fields) for _ in range(16)]
    found = drifted_condition({f"m{at}": view(*many) for at in range(20)})
    assert found is not None
    assert len(found.message) <= 1024
    assert "\x1b" not in found.message
