"""The list of provinces is closed: a code below CN that is not in it is no place."""

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.jurisdictions import PROVINCES, admits, is_province, problem_of
from scheduler.model.kinds.tenant import Tenant
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from tests.support.sites import (
    NOW,
    demand,
    demand_or_refusal,
    fleet_of,
    grant,
    nodes,
    site,
    tenant_of_ns,
    workload,
)


def test_the_mainland_has_31_provinces_and_each_is_admitted_by_cn() -> None:
    assert len(set(PROVINCES)) == 31
    for code in PROVINCES:
        assert is_province(code)
        assert admits("CN", code)
        assert not problem_of(code)


@pytest.mark.parametrize("code", ["CN-XX", "CN-GDX", "CN-44", "CN-G", "CN-GD-1", "CN-HK", "CN-TW"])
def test_any_other_code_below_cn_is_refused_with_what_to_write(code: str) -> None:
    assert problem_of(code)
    assert not admits("CN", code)
    assert not admits(code, code)
    found = demand_or_refusal(workload(jurisdictions=[code]))
    assert isinstance(found, NotAccepted)
    assert (found.reason, found.condition) == ("jurisdiction", "InvalidJurisdiction")
    assert "write " in found.message


@pytest.mark.parametrize("code", ["HK", "MO", "SG", "EU", "CN"])
def test_other_codes_are_as_the_authority_writes_them(code: str) -> None:
    assert not problem_of(code)
    assert admits(code, code)


@pytest.mark.parametrize("code", ["CN-XX", "CN-44"])
def test_a_stored_grant_of_no_place_admits_nothing_and_says_so(code: str) -> None:
    fleet = fleet_of(site("s1", nodes(1)), grants=(grant("s1", jurisdiction=code),))
    asked = demand(workload())
    assert not asked.jurisdictions
    decision = choose(asked, fleet, now=NOW)
    assert (decision.phase, dict(decision.reasons)) == ("Refused", {"jurisdiction": 1})
    [found] = explain(asked, fleet, now=NOW).sites
    [verdict] = [one for one in found.verdicts if one.rule == "jurisdiction"]
    assert code in verdict.sentence
    assert "CN-GD" in verdict.sentence


def test_a_tenant_of_no_place_keeps_bound_data_from_running_and_is_named() -> None:
    raw = workload(dataClass="general-4")
    tenant = decode_as(tenant_of_ns("ns", jurisdiction="CN-XX"), Tenant)
    found = demand_or_refusal(raw, tenants=(tenant,))
    assert isinstance(found, NotAccepted)
    assert found.condition == "InvalidJurisdiction"
    assert "tenant ns" in found.message
