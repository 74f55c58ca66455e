"""The list of provinces is closed: a code below CN that is not in it is no place."""

import pytest

from scheduler.model.demand.demand import NotAccepted
from scheduler.model.jurisdictions import PROVINCES, admits, is_province, problem_of
from tests.support.sites import demand_or_refusal, workload


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
