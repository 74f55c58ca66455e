"""A namespace without a Tenant, and one of several: refused wherever there is tenancy."""

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.kinds import Tenant
from tests.support.sites import demand_or_refusal, tenant_of_ns, workload


def tenant(*namespaces: str, name: str, **spec: object) -> Tenant:
    return decode_as(tenant_of_ns(*namespaces, name=name, **spec), Tenant)


def refusal(*tenants: Tenant) -> NotAccepted:
    found = demand_or_refusal(workload(priority=10**9), tenants=tenants)
    assert isinstance(found, NotAccepted), found
    return found


@pytest.mark.parametrize(
    "tenants", [(), (tenant("other", name="other"),), (tenant("ns2", "n", name="near"),)]
)
def test_a_namespace_that_no_tenant_lists_is_refused_with_the_object_to_write(
    tenants: tuple[Tenant, ...],
) -> None:
    found = refusal(*tenants)
    assert (found.reason, found.condition) == ("no-tenant", "NoTenant")
    assert "{name: ns}, spec: {namespaces: [ns]}}" in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_namespace_of_two_tenants_is_refused_whatever_their_names_and_limits(
    names: tuple[str, str],
) -> None:
    strict, lax = tenant(name=names[0], maxPriority=1), tenant(name=names[1])
    found = refusal(strict, lax)
    assert (found.reason, found.condition) == ("no-tenant", "SeveralTenants")
    assert "2 Tenants list namespace ns: a, b;" in found.message


def test_without_tenancy_and_with_the_one_tenant_a_workload_is_accepted() -> None:
    alone = demand_or_refusal(workload(), tenants=None)
    owned = demand_or_refusal(workload(), tenants=[tenant(name="ns"), tenant("x", name="x")])
    assert isinstance(alone, Demand)
    assert isinstance(owned, Demand)
    assert (alone.tenant, owned.tenant) == ("", "ns")


def test_a_missing_tenant_is_named_before_anything_else_that_is_wrong() -> None:
    broken = workload(policyRef={"name": "missing"}, manifests=[{"kind": "Nothing"}])
    found = demand_or_refusal(broken, tenants=())
    assert isinstance(found, NotAccepted)
    assert found.reason == "no-tenant"
