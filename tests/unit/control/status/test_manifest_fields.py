"""What agents leave to other controllers is named in a condition."""

from datetime import UTC, datetime

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.manifest_fields import left_fields_condition
from scheduler.control.status.migration import SiteView

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def view(message: str) -> SiteView:
    state = OrderState(id="h/ns/app/1", generation=1, phase="Ready", message=message)
    return SiteView(state=state, is_silent=False)


def test_fields_are_named_with_their_controller_and_their_site() -> None:
    left = "apps/v1 Deployment ns/web: spec.replicas is left to kube-controller-manager"
    condition = left_fields_condition(
        {"m2": view(f"still starting; {left}"), "m1": view(left)}, NOW
    )
    assert condition is not None
    assert (condition.type, condition.status) == ("FieldsLeft", "True")
    assert condition.message == f"not as ordered: m1: {left}, m2: {left}"


def test_without_such_a_field_there_is_no_condition() -> None:
    views = {
        "m1": view(""),
        "m2": view("2 of 3 pods wait"),
        "m3": SiteView(state=None, is_silent=True),
    }
    assert left_fields_condition(views, NOW) is None
