"""The demo's audit finds a required rule that is not met and that no status names."""

import pytest

from scheduler.demo.rules_audit import find_silent_violations
from tests.support.sites import NOW, Raw, grant, nodes, site, tenant_of_ns, workload


def hub(placed: dict[str, int], **status: object) -> list[Raw]:
    asked = workload(2, placement={"spread": [{"by": "site", "minGroups": 2}]}, placed=placed)
    asked["status"].update(status)
    return [
        site("s0", nodes(4)),
        site("s1", nodes(4)),
        grant("s0", "s1"),
        tenant_of_ns("ns"),
        asked,
    ]


@pytest.mark.parametrize(("placed", "count"), [({"s0": 2}, 1), ({"s0": 1, "s1": 1}, 0)])
def test_a_rule_that_what_runs_does_not_meet_is_found(placed: dict[str, int], count: int) -> None:
    assert len(list(find_silent_violations(hub(placed), NOW))) == count


def test_a_rule_that_the_status_names_is_no_finding() -> None:
    named = {"type": "RulesMet", "status": "False", "reason": "Spread"}
    assert not list(find_silent_violations(hub({"s0": 2}, conditions=[named]), NOW))
