"""The share of a tenant: usage by quota, or by the fleet without a quota, and by weight."""

from scheduler.control.ports.hub import TENANTS, Object, WatchEvent
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas
from scheduler.model.kinds.fields import API_VERSION
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import demand, fleet_of, nodes, site, workload

FLEET_CORES = 16.0


def make(*tenants: Object) -> FairShares:
    registry = HubObjects(NullTelemetry(), lambda *_: None, make_faults())
    for one in tenants:
        registry.apply_event(TENANTS, WatchEvent("ADDED", one))
    return FairShares(
        objects=registry,
        quotas=Quotas(),
        fleet=fleet_of(site("m1", nodes(16))),
        clock=FakeClock(),
    )


def tenant(name: str, quota: dict[str, str], weight: float = 1.0) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"namespaces": [f"{name}-ns"], "quota": quota, "weight": weight},
    }


def test_a_tenant_is_measured_by_its_quota_and_weight() -> None:
    shares = make(tenant("a", {"cpu": "8"}), tenant("b", {"cpu": "8"}, weight=2.0))
    for name in ("a", "b"):
        shares.quotas.set_usage((f"{name}-ns", "w"), demand(workload(4)), {"m1": 4})
    assert shares.share("a") == 0.5
    assert shares.share("b") == 0.25


def test_a_tenant_without_quota_is_measured_by_the_fleet_and_what_runs_there() -> None:
    shares = make(tenant("a", {}))
    shares.quotas.set_usage(("a-ns", "w"), demand(workload(4)), {"m1": 4})
    shares.quotas.set_usage(("stray", "w"), demand(workload(2)), {"m1": 2})
    assert shares.owner_of("a-ns") == "a"
    assert shares.share("a") == 4 / (FLEET_CORES + 6)
    assert shares.share(shares.owner_of("stray")) == 2 / (FLEET_CORES + 6)


def test_a_quota_that_cannot_be_read_is_measured_by_the_fleet() -> None:
    shares = make(tenant("a", {"cpu": "9E"}))  # the schema lets it pass
    shares.quotas.set_usage(("a-ns", "w"), demand(workload(4)), {"m1": 4})
    assert shares.share("a") == 4 / (FLEET_CORES + 4)


def test_shares_follow_placements_releases_and_changes() -> None:
    shares = make(tenant("a", {"cpu": "8"}))
    assert shares.share("a") == 0.0
    shares.quotas.set_usage(("a-ns", "w"), demand(workload(4)), {"m1": 4})
    assert shares.share("a") == 0.5
    shares.quotas.release(("a-ns", "w"))
    assert shares.share("a") == 0.0
    assert shares.quotas.take_freed()
    shares.quotas.set_usage(("a-ns", "w"), demand(workload(4)), {"m1": 4})
    shares.objects.apply_event(TENANTS, WatchEvent("MODIFIED", tenant("a", {"cpu": "4"})))
    shares.invalidate()
    assert shares.share("a") == 1.0
