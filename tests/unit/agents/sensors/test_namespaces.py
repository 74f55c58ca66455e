"""ResourceQuota and LimitRange objects become what a report says of namespaces."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agents.member.access import Access
from agents.member.api import MemberApi, MemberApiError, Unreachable
from agents.protocol.report import REPORT, Report, ReportedNamespace
from agents.sensors.namespaces import NamespaceSensor, namespaces_of
from agents.sensors.sensor import Observation

Tree = dict[str, Any]


USED = {"used": {"pods": "0", "cpu": "0"}}


def quota(namespace: str, hard: Tree, used: Tree | None = None, **spec: object) -> Tree:
    return {
        "metadata": {"namespace": namespace},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": dict.fromkeys(hard, 0) | (used or {})},
    }


def limit_range(namespace: str, *items: Tree) -> Tree:
    return {"metadata": {"namespace": namespace}, "spec": {"limits": list(items)}}


class Member(MemberApi):
    """A member that serves two lists, or an error instead; requests are counted."""

    def __init__(self, *objects: Tree, error: MemberApiError | None = None) -> None:
        super().__init__(Access(host="127.0.0.1", port=9))
        self.objects = objects
        self.error = error
        self.asked = 0

    def list_mapped(
        self,
        path: str,
        query: Mapping[str, str] | None,
        transform: Callable[[Tree], Any],
        *,
        accept: str = "",
    ) -> list[Any]:
        del query, accept
        self.asked += 1
        if self.error is not None:
            raise self.error
        wanted = "hard" if path.endswith("resourcequotas") else "limits"
        return [transform(each) for each in self.objects if wanted in each["spec"]]


async def observed_namespaces(*objects: Tree) -> tuple[ReportedNamespace, ...] | None:
    return (await NamespaceSensor(Member(*objects)).observe()).namespaces


async def test_what_is_left_is_hard_minus_used_and_never_below_nothing() -> None:
    found = await observed_namespaces(
        quota(
            "a",
            {
                "requests.cpu": "4",
                "limits.memory": "8Gi",
                "pods": "10",
                "requests.nvidia.com/gpu": 2,
            },
            {"requests.cpu": "1500m", "limits.memory": "9Gi", "pods": "3"},
        )
    )
    left: dict[str, str | int] = {
        "requests.cpu": "2500m",
        "limits.memory": "0",
        "pods": 7,
        "requests.nvidia.com/gpu": 2,
    }
    assert found == (ReportedNamespace(name="a", quota_left=left),)


async def test_of_several_quotas_the_least_is_left_and_scoped_ones_are_only_named() -> None:
    found = await observed_namespaces(
        quota("a", {"pods": "10"}),
        quota("a", {"pods": "4"}, {"pods": "1"}),
        quota("a", {"pods": "0"}, scopes=["BestEffort"]),
    )
    assert found == (
        ReportedNamespace(name="a", quota_left={"pods": 3}, not_counted=("scoped-quota",)),
    )


async def test_limit_ranges_are_told_by_container_and_pod_the_tightest_of_several() -> None:
    found = await observed_namespaces(
        limit_range(
            "b",
            {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m"}},
            {"type": "Pod", "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
        ),
        limit_range(
            "b",
            {
                "type": "Container",
                "max": {"cpu": "1"},
                "min": {"cpu": "200m"},
                "default": {"cpu": "1"},
                "defaultRequest": {"cpu": "500m"},
            },
        ),
    )
    assert found == (
        ReportedNamespace(
            name="b",
            container_min={"cpu": "200m"},
            container_max={"cpu": "1"},
            container_default={"cpu": "1"},
            container_default_request={"cpu": "500m"},
            pod_max={"memory": str(2**30)},
            not_counted=("limit-request-ratio",),
        ),
    )


def test_what_cannot_be_read_is_named_and_spoils_nothing() -> None:
    odd: list[Tree] = [
        {"namespace": "a", "spec": {"hard": {"pods": "many", "cpu": "1"}}, "status": USED},
        {"namespace": "a", "spec": {"hard": "x"}, "status": []},
    ]
    ranges: list[Tree] = [{"namespace": "a", "spec": {"limits": [None, {"type": []}]}}]
    odd[1]["status"] = {}
    assert namespaces_of(odd, ranges) == (
        ReportedNamespace(name="a", quota_left={"cpu": "1"}, not_counted=("unreadable-limit",)),
    )


async def test_a_member_that_refuses_is_named_and_asked_again_only_now_and_then() -> None:
    member = Member(error=MemberApiError(403, "Forbidden", "no"))
    sensor = NamespaceSensor(member)
    looks = [await sensor.observe() for _ in range(61)]
    assert {each.faults for each in looks} == {("namespace-limits-forbidden",)}
    assert all(each.namespaces is None for each in looks)
    assert member.asked == 1
    member.error = None
    assert await sensor.observe() == Observation(namespaces=())


async def test_a_member_without_these_kinds_or_without_an_answer_has_no_fault_of_its_own() -> None:
    for error in (MemberApiError(404, "NotFound", "no"), Unreachable("down")):
        assert await NamespaceSensor(Member(error=error)).observe() == Observation()


def test_the_longest_report_of_namespaces_can_be_sent_and_read() -> None:
    names = [f"n{number}" for number in range(600)]
    found = namespaces_of(
        [{"namespace": name, "spec": {"hard": {"pods": 1}}, "status": {}} for name in names], ()
    )
    report = Report(
        site="s", boot_id="b", boot_number=1, sequence=1, observed_seconds_ago=0, namespaces=found
    )
    assert REPORT.decode(REPORT.encode(report)) == report
    assert len(found) == 500


@pytest.mark.parametrize("status", [{}, {"used": {}}, {"used": {"pods": None}}, {"used": []}])
def test_of_a_quota_whose_use_is_unknown_nothing_is_left(status: Tree) -> None:
    objects = [{"namespace": "a", "spec": {"hard": {"pods": "10"}}, "status": status}]
    assert namespaces_of(objects, []) == (
        ReportedNamespace(name="a", quota_left={"pods": 0}, not_counted=("quota-use-unknown",)),
    )


def test_only_the_resource_whose_use_is_unknown_is_closed() -> None:
    hard = {"pods": "10", "requests.cpu": "4"}
    objects = [{"namespace": "a", "spec": {"hard": hard}, "status": {"used": {"pods": "3"}}}]
    assert namespaces_of(objects, [])[0].quota_left == {"pods": 7, "requests.cpu": "0"}
