"""What a what-if has end for work that matters more: as the loops would decide it."""

from scheduler.whatif.scenario.changes import LoseSites
from scheduler.whatif.survival.answer import ask_survival
from tests.support.sites import Raw, nodes, site, tenant_of_ns, workload
from tests.support.whatifs import copy_of, unplaced, what_if


def running(raw: Raw, namespace: str = "ns") -> Raw:
    raw["metadata"]["namespace"] = namespace
    raw["status"] |= {"phase": "Running", "ready": 2, "replicas": 2}
    return raw


def full(*free: Raw) -> tuple[Raw, ...]:
    """Two sites whose nodes have nothing free, but what is given."""
    return (site("m1", *(free or (nodes(2, cpu="0"),))), site("m2", nodes(2, cpu="0")))


def test_work_of_a_lost_site_takes_the_room_of_work_of_lower_priority() -> None:
    copy = copy_of(
        *full(),
        running(workload(2, name="low", placed={"m1": 2})),
        running(
            workload(2, name="high", placed={"m2": 2}, priority=10, preemption="LowerPriority")
        ),
    )
    answer = what_if(copy, "lose m2 thaw")
    assert unplaced(answer) == ["ns/low"]
    assert [(one["from"], one["to"], one["replicas"]) for one in answer["moves"]] == [
        ("m2", "m1", 2)
    ]
    assert answer["givesWay"] == [
        {"workload": "ns/low", "site": "m1", "replicas": 2, "for": "ns/high", "reclaimed": False}
    ]
    assert answer["ends"] == [{"workload": "ns/low", "from": "m1", "replicas": 2}]


def test_equal_priority_and_work_that_preempts_nothing_end_nothing() -> None:
    for spec in ({"priority": 10}, {"priority": 0, "preemption": "LowerPriority"}):
        copy = copy_of(
            *full(),
            running(workload(2, name="low", placed={"m1": 2})),
            running(workload(2, name="high", placed={"m2": 2}, **spec)),
        )
        answer = what_if(copy, "lose m2 thaw")
        assert unplaced(answer) == ["ns/high"]
        assert answer["givesWay"] == []


def test_what_gives_way_is_decided_again_and_may_run_elsewhere() -> None:
    copy = copy_of(
        site("m1", nodes(2, cpu="0")),
        site("m2", nodes(2, cpu="0")),
        site("m3", nodes(2), labels={"kind": "spare"}),
        running(workload(2, name="low", placed={"m1": 2})),
        running(
            workload(
                2,
                name="high",
                placed={"m2": 2},
                priority=10,
                preemption="LowerPriority",
                placement={
                    "siteSelector": {
                        "matchExpressions": [{"key": "kind", "operator": "DoesNotExist"}]
                    }
                },
            )
        ),
    )
    answer = what_if(copy, "lose m2 thaw")
    assert unplaced(answer) == []
    assert {(one["workload"], one["from"], one["to"]) for one in answer["moves"]} == {
        ("ns/high", "m2", "m1"),
        ("ns/low", "m1", "m3"),
    }


def test_a_tenant_takes_back_the_quota_that_others_borrow() -> None:
    lender = tenant_of_ns("ns", name="owner", quota={"cpu": "2"}, cohort="c", borrowing=True)
    borrower = tenant_of_ns("other", name="guest", quota={"cpu": "0"}, cohort="c", borrowing=True)
    copy = copy_of(
        *full(),
        lender,
        borrower,
        running(workload(2, name="guest", placed={"m1": 2}), "other"),
        running(workload(2, name="own", placed={"m2": 2})),
    )
    answer = what_if(copy, "lose m2 thaw")
    assert answer["givesWay"] == [
        {"workload": "other/guest", "site": "m1", "replicas": 2, "for": "ns/own", "reclaimed": True}
    ]
    assert unplaced(answer) == ["other/guest"]


def test_a_loss_is_not_survived_by_work_that_would_end() -> None:
    copy = copy_of(
        *full(),
        running(workload(2, name="low", placed={"m1": 2})),
        running(
            workload(2, name="high", placed={"m2": 2}, priority=10, preemption="LowerPriority")
        ),
    )
    answer = ask_survival(copy, (LoseSites(kind="site", value="m2"),))
    assert [one["survives"] for one in answer["losses"]] == [False]
