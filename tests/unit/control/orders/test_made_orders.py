"""Orders are made once, and made again when anything changes that they are made of."""

from dataclasses import replace

import msgspec
import pytest

from scheduler.control.orders.build import orders_of
from scheduler.control.orders.made_orders import MadeOrders
from scheduler.control.status.migration import SiteShare
from scheduler.model.decode import decode
from scheduler.model.kinds.workload import SiteOrdinals, Workload
from tests.support.one_site import tenant
from tests.support.sites import workload

KEY = ("ns", "app")
MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
}
TENANT = tenant()
SHARE = SiteShare(replicas=2, generation=3)


@pytest.fixture
def app() -> Workload:
    raw = workload(2)
    raw["spec"].pop("demand", None)
    raw["spec"] |= {"replicas": 2, "manifests": [MANIFEST]}
    found = decode(raw)
    assert isinstance(found, Workload)
    return found


def test_equal_shares_give_the_very_same_orders(app: Workload) -> None:
    made = MadeOrders()
    first = made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)
    has_run = {"m1": replace(SHARE, has_run=True)}
    assert made.orders_of(KEY, app, "id", has_run, TENANT)["m1"] is first["m1"]
    assert first == orders_of(app, "id", {"m1": SHARE}, TENANT, {})
    first.clear()  # what the caller does with its dict changes nothing here
    assert made.orders_of(KEY, app, "id", has_run, TENANT)


@pytest.mark.parametrize(
    "share",
    [
        replace(SHARE, replicas=1),
        replace(SHARE, generation=4),
        replace(SHARE, leaving=1),
        replace(SHARE, completions=5),
        replace(SHARE, ordinals=SiteOrdinals(first=1)),
        SiteShare(replicas=0, generation=3, is_parked=True),
    ],
)
def test_another_share_gives_the_orders_of_that_share(app: Workload, share: SiteShare) -> None:
    made = MadeOrders()
    made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)
    fresh = made.orders_of(KEY, app, "id", {"m1": share}, TENANT)
    assert fresh == orders_of(app, "id", {"m1": share}, TENANT, {})


def test_a_step_of_a_move_makes_only_the_orders_of_the_sites_that_it_changes(app: Workload) -> None:
    made = MadeOrders()
    before = made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)
    leaving = SiteShare(replicas=0, leaving=2, generation=3, replaced_by=("m2",))
    moving = {"m1": leaving, "m2": replace(SHARE, generation=4)}
    first = made.orders_of(KEY, app, "id", moving, TENANT, current_orders=before)
    assert first == orders_of(app, "id", moving, TENANT, before)
    again = made.orders_of(KEY, app, "id", moving, TENANT, current_orders=before)
    assert all(again[site] is first[site] for site in moving)
    stays = made.orders_of(KEY, app, "id", {"m2": moving["m2"]}, TENANT)
    assert stays["m2"] is first["m2"]


def test_what_a_site_has_counts_once_its_replicas_leave(app: Workload) -> None:
    made, shares = MadeOrders(), {"m1": SiteShare(replicas=0, leaving=2, generation=3)}
    for name in ("old", "older"):
        manifest = MANIFEST | {"metadata": {"name": name}}
        former = msgspec.structs.replace(app.spec, manifests=(manifest,))
        other = msgspec.structs.replace(app, spec=former)
        current = orders_of(other, "id", {"m1": SHARE}, TENANT, {})
        found = made.orders_of(KEY, app, "id", shares, TENANT, current_orders=current)
        assert [one["metadata"] for one in found["m1"].manifests] == [{"name": name}]
    returned = made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)
    assert returned == orders_of(app, "id", {"m1": SHARE}, TENANT, {})


def test_another_spec_tenant_id_site_or_identity_gives_new_orders(app: Workload) -> None:
    made, shares = MadeOrders(), {"m1": SHARE}
    edited = msgspec.structs.replace(app, spec=msgspec.structs.replace(app.spec, replicas=7))
    placement = msgspec.structs.replace(app.status.placement, identity="PerSite")
    status = msgspec.structs.replace(app.status, placement=placement)
    numbered = msgspec.structs.replace(app, status=status)
    other = tenant(extraNamespaces=["more"])
    for one, order_id, at, owner in (
        (app, "id", shares, TENANT),
        (edited, "id", shares, TENANT),
        (app, "other", shares, TENANT),
        (app, "id", {"m2": SHARE}, TENANT),
        (app, "id", shares, other),
        (app, "id", shares, None),
        (numbered, "id", shares, TENANT),
        (app, "id", shares, TENANT),
    ):
        expected = orders_of(one, order_id, at, owner, {})
        assert made.orders_of(KEY, one, order_id, at, owner) == expected


def test_what_is_gone_is_forgotten(app: Workload) -> None:
    made = MadeOrders()
    first = made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)
    made.forget(KEY)
    made.forget(KEY)
    assert made.orders_of(KEY, app, "id", {"m1": SHARE}, TENANT)["m1"] is not first["m1"]
