"""Which losses are survived: plans, proofs, what is not known, and whose word is waited for."""

from typing import Any

import msgspec
import pytest

from scheduler.model.demand.facts import InFlight
from scheduler.placement.fleet.fleet import Fleet
from scheduler.whatif.demands import DemandReader
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy
from scheduler.whatif.scenario.changes import LoseSites, ScenarioError
from scheduler.whatif.settling.settled_fleet import open_fleet
from scheduler.whatif.survival.answer import ask_survival
from scheduler.whatif.survival.losses import LossIndex, read_loss
from scheduler.whatif.survival.trial import LossTrials, capped
from tests.support.sites import NOW, grant, nodes, site, tenant_of_ns, workload
from tests.support.whatifs import copy_of


def survive(copy: FleetCopy, *words: str) -> list[dict[str, Any]]:
    """The rows of an answer; the copy must be as before afterwards."""
    before = msgspec.json.encode(copy)
    answer = ask_survival(copy, [read_loss(word) for word in words])
    assert msgspec.json.encode(copy) == before
    msgspec.json.encode(answer)
    rows: list[dict[str, Any]] = answer["losses"]
    return rows


def in_province(name: str, free: int, province: str) -> dict[str, Any]:
    return site(name, nodes(free), spec={"location": {"province": province}, "provider": "telecom"})


def test_a_plan_is_a_yes_and_names_where_all_goes() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        site("m2", nodes(3)),
        workload(2, name="low", placed={"m1": 2}),
        workload(1, name="high", placed={"m1": 1}, priority=9),
    )
    (row,) = survive(copy, "m1")
    assert (row["survives"], row["workloads"], row["lost"]) == (True, 2, [])
    assert row["plan"] == [
        {"workload": "ns/high", "to": [{"site": "m2", "replicas": 1}]},
        {"workload": "ns/low", "to": [{"site": "m2", "replicas": 2}]},
    ]


def test_a_workload_that_no_other_site_admits_is_a_proof_with_the_smallest_change() -> None:
    copy = copy_of(
        site("m1", nodes(3)),
        site("m2", nodes(3)),
        grant("m1"),
        grant("m2", name="less", dataClass="general-1"),
        workload(2, name="web", placed={"m1": 2}),
    )
    (row,) = survive(copy, "m1")
    assert row["survives"] is False
    (lost,) = row["lost"]
    assert (lost["workload"], lost["reason"], lost["proved"]) == ("ns/web", "data-class", True)
    assert lost["line"] == "no other site passes its rules"
    assert row["smallestChange"][0]["target"] == "SiteGrant less"
    assert row["smallestChange"][0]["who"] == "authority"
    assert row["smallestChange"][0]["target"] in row["sentence"]


def test_two_that_fit_alone_and_not_together_are_proved_by_the_sum() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        site("m2", nodes(3)),
        workload(2, name="a", placed={"m1": 2}),
        workload(2, name="b", placed={"m1": 2}),
    )
    (row,) = survive(copy, "m1")
    assert row["survives"] is False
    assert [one["workload"] for one in row["lost"]] == ["ns/b"]
    assert row["lost"][0]["proved"] is False  # alone it would have a place
    assert (
        "2 workloads need 4 cpu, and the 1 sites that may take them have 3 cpu" in row["sentence"]
    )


def test_room_that_is_in_flight_is_no_proof() -> None:
    copy = copy_of(
        site("m1", nodes(0)), site("m2", nodes(2)), workload(2, name="a", placed={"m1": 2})
    )
    (_, m2) = copy.facts
    flying = (InFlight(workload="ns/x", replicas=1, requests={"cpu": 1000, "pods": 1}),)
    copy = copy.with_facts([msgspec.structs.replace(m2, in_flight=flying)])
    (row,) = survive(copy, "m1")
    assert row["survives"] is None
    assert row["sentence"].startswith("for 1 of 1 no place was found: ns/a")


def test_what_was_lacking_before_is_not_asked_of_the_loss() -> None:
    copy = copy_of(
        site("m1", nodes(0)), site("m2", nodes(2)), workload(9, name="a", placed={"m1": 2})
    )
    assert survive(copy, "m1")[0]["survives"] is True


def test_a_whole_copy_elsewhere_survives_and_the_last_one_does_not() -> None:
    everywhere = {"strategy": "Duplicated"}
    copy = copy_of(
        site("m1", nodes(5)),
        site("m2", nodes(5)),
        workload(1, name="two", placed={"m1": 1, "m2": 1}, placement=everywhere),
        workload(1, name="one", placed={"m2": 1}, placement=everywhere),
    )
    first, second = survive(copy)
    assert (first["survives"], second["survives"]) == (True, False)
    assert [one["workload"] for one in second["lost"]] == ["ns/one"]


def test_an_operators_word_counts_as_given_and_is_named() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        site("m2", nodes(2)),
        workload(2, name="db", placed={"m1": 2}, failover={"mode": "Manual"}),
    )
    (row,) = survive(copy, "m1")
    assert row["survives"] is True
    assert row["byOperator"][0]["workload"] == "ns/db"
    assert "kapok failover" in row["byOperator"][0]["why"]


def test_the_sites_of_a_province_are_lost_together() -> None:
    copy = copy_of(
        in_province("m1", 1, "CN-GD"),
        in_province("m2", 1, "CN-GD"),
        in_province("m3", 1, "CN-GX"),
        workload(1, name="a", placed={"m1": 1}),
        workload(1, name="b", placed={"m2": 1}),
    )
    assert [one["survives"] for one in survive(copy)] == [True, True, True]
    (south,) = survive(copy, "province=CN-GD")
    assert (south["of"], south["sites"], south["survives"]) == ("province=CN-GD", 2, False)
    assert [one["of"] for one in survive(copy, "province=*", "m3", "m3")] == [
        "province=CN-GD",
        "province=CN-GX",
        "m3",
    ]
    (all_of_them,) = survive(copy, "provider=telecom")
    assert all_of_them["survives"] is False


def test_quota_is_not_taken_twice_by_what_is_replaced() -> None:
    copy = copy_of(
        site("m1", nodes(0)),
        site("m2", nodes(4)),
        tenant_of_ns(quota={"cpu": "2"}),
        workload(2, name="a", placed={"m1": 2}),
    )
    assert [one["survives"] for one in survive(copy, "m1", "m2", "m1")] == [True, True]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("m11", "there is no site 'm11'; did you mean m1"),
        ("province=CN-GX", "no site has the province 'CN-GX'"),
        ("province=", "province=\\* is each of them"),
        ("colour=red", "'colour' is no key"),
        ("=", "'' is no key"),
    ],
)
def test_what_does_not_exist_is_named_with_the_way_out(word: str, said: str) -> None:
    copy = copy_of(in_province("m1", 1, "CN-GD"), in_province("m2", 1, "CN-GD"))
    with pytest.raises(ScenarioError, match=said):
        survive(copy, word)


def test_a_fleet_of_nothing_has_no_losses() -> None:
    assert survive(FleetCopy(objects=CopyObjects(now=NOW))) == []


def test_a_loss_that_is_taken_back_leaves_the_fleet_as_it_was() -> None:
    copy = copy_of(
        site("m1", nodes(2)),
        site("m2", nodes(3)),
        tenant_of_ns(quota={"cpu": "9"}),
        workload(2, name="a", placed={"m1": 2}),
        workload(2, name="b", placed={"m1": 1, "m2": 1}),
    )
    reader = DemandReader(copy)
    demands = {key: capped(one) for key, one in reader.read_all().items()}
    settled = open_fleet(copy, reader, demands)
    workloads, left = dict(settled.workloads), settled.books
    used = left.forked()
    index, trials = LossIndex(copy, demands), LossTrials(settled)
    for loss in index.expanded([LoseSites(kind="site", value="*")]):
        sites = index.sites_of(loss)
        trials.undo(trials.begin(sites, index.work_at(sites)))
        assert settled.workloads == workloads
        assert settled.books == used
        assert (settled.decisions, settled.tasks, settled.refusals) == ({}, {}, {})
        assert list(settled.fleet.all_facts()) == list(Fleet(copy.facts).all_facts())
