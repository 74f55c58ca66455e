"""Identity: only a status, the ledger or the operator says whose orders a site runs."""

import pytest

from scheduler.control.orders.identity import (
    IdentityResolver,
    OrderIdentity,
    format_order_id,
    new_incarnation,
    parse_order_id,
)
from scheduler.control.ports.agents import OrderState, OrderStatusReport
from scheduler.control.ports.ledger import RecordedIdentity
from scheduler.control.sites.site_state import SiteState
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.workload import (
    DecisionReference,
    PlacementGroup,
    PlacementStatus,
    Workload,
    WorkloadStatus,
)
from tests.support.fake_clock import FakeClock

FORGED = {"kapok.dev/incarnation": "f0f0"}
NEW = new_incarnation("uid-1")
PLACED = PlacementStatus(groups=(PlacementGroup(sites=("m1",), replicas=1),))
UNKNOWN = RecordedIdentity(is_complete=False)


def workload(status: WorkloadStatus | None = None, **annotations: str) -> Workload:
    meta = Metadata(name="db", namespace="ns", uid="uid-1", annotations=annotations or FORGED)
    return Workload(metadata=meta, status=status or WorkloadStatus())


def reporting(*ids: str, phase: str = "Ready") -> SiteState:
    orders = {one: OrderState(id=one, generation=1, phase=phase) for one in ids}
    return SiteState(
        order_status=OrderStatusReport(
            site="m", site_uid=None, version=None, digest="", orders=orders
        )
    )


def identify(
    one: Workload, recorded: RecordedIdentity | None = None, **sites: SiteState
) -> str | NotAccepted:
    resolver = IdentityResolver(
        hub_id="hub",
        recorded=lambda _: recorded or RecordedIdentity(),
        sites=sites,
        clock=FakeClock(),
        hear_seconds=10.0,
    )
    found = resolver.identify(one)
    return found if isinstance(found, NotAccepted) else found.status.incarnation


def test_a_new_object_gets_a_new_incarnation_whatever_its_annotation_says() -> None:
    assert identify(workload()) == NEW
    assert identify(workload(), m1=reporting("hub/ns/db/f0f0")) == NEW


def test_the_status_is_asked_before_anything_else() -> None:
    known = WorkloadStatus(incarnation="abc", placement=PLACED)
    assert identify(workload(known), RecordedIdentity(incarnation="def")) == "abc"


def test_the_annotation_counts_once_for_an_object_of_an_older_version() -> None:
    decided = WorkloadStatus(decision=DecisionReference(id="1-1"))
    for status in (WorkloadStatus(placement=PLACED), decided):
        assert identify(workload(status)) == "f0f0"
        for absurd in ("", "a/b", "x" * 41, "A", "a\n", "\u202e"):
            assert identify(workload(status, **{"kapok.dev/incarnation": absurd})) == NEW


def test_an_object_without_a_status_is_the_one_that_the_ledger_knows() -> None:
    assert identify(workload(), RecordedIdentity(incarnation="abc")) == "abc"


def test_without_a_ledger_a_name_that_sites_report_waits_for_the_operator() -> None:
    found = identify(workload(), UNKNOWN, m1=reporting("hub/ns/db/abc"), m2=reporting())
    assert isinstance(found, NotAccepted)
    assert (found.condition, found.message.startswith("m1: ")) == ("NotAdopted", True)
    assert "`kapok hub adopt --lost ledger`" in found.message
    condition = Condition(type="Accepted", status="False", reason="NotAdopted")
    held = WorkloadStatus(decision=DecisionReference(id="1-1"), conditions=(condition,))
    assert isinstance(
        identify(workload(held), UNKNOWN, m1=reporting("hub/ns/db/abc")), NotAccepted
    ), "the status of a workload that waits does not make its annotation count"


def test_after_that_the_incarnation_of_most_sites_counts() -> None:
    sites = {
        "m1": reporting("hub/ns/db/aaa"),
        "m2": reporting("hub/ns/db/bbb"),
        "m3": reporting("hub/ns/db/bbb", "hub/ns/other/ccc", "hub/ns/other/aaa"),
    }
    adopted = RecordedIdentity(is_complete=False, is_adopted=True)
    assert identify(workload(), adopted, **sites) == "bbb"
    assert identify(workload(), adopted) == NEW


def test_an_order_of_another_name_or_hub_or_one_that_is_ending_holds_nothing() -> None:
    others = ("hub2/ns/db/a", "hub/ns/db2/a", "hub/ns2/db/a", "x/hub/ns/db/a", "hub/ns/db/", "db")
    assert identify(workload(), UNKNOWN, m1=reporting(*others)) == NEW
    assert identify(workload(), UNKNOWN, m1=reporting("hub/ns/db/a", phase="Withdrawing")) == NEW


def test_a_site_that_was_just_taken_in_may_still_report_the_order() -> None:
    assert isinstance(
        identify(workload(), UNKNOWN, m1=SiteState(admitted_seconds=0.0)), NotAccepted
    )
    assert identify(workload(), UNKNOWN, m1=SiteState(admitted_seconds=-10.0)) == NEW
    assert identify(workload(), m1=SiteState(admitted_seconds=0.0)) == NEW


def test_an_order_id_has_four_parts_and_each_is_bounded() -> None:
    identity = OrderIdentity("hub", ("n" * 63, "w" * 253), "a" * 40)
    text = format_order_id(identity.hub_id, identity.key, identity.incarnation)
    assert parse_order_id(text) == identity


@pytest.mark.parametrize(
    "text",
    [
        *("", "hub/ns/db", "hub/ns/db/", "hub/ns/db/a/b", "hub//db/a", "/ns/db/a", "hub/ns/db/A"),
        *("hub/ns/db/" + "a" * 41, f"hub/{'n' * 64}/db/a", f"hub/ns/{'w' * 254}/a"),
        *(f"{'h' * 129}/ns/db/a", "h b/ns/db/a", "hub/ns/db/a\n"),
    ],
)
def test_any_other_text_is_no_order_id(text: str) -> None:
    assert parse_order_id(text) is None
