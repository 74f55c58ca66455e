"""What a scenario answers: what is left over and why, what moves, the bill, what would help."""

import msgspec
import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.facts import InFlight
from scheduler.model.kinds.kinds import (
    API_VERSION,
    ClusterPlacementPolicy,
    PlacementPolicy,
    SiteGrant,
)
from scheduler.whatif.answer import ask
from scheduler.whatif.scenario.changes import AddSites, ChangeGrants, ChangePolicies, ScenarioError
from tests.support.sites import (
    Raw,
    facts_of,
    grant,
    nodes,
    site,
    tenant_of_ns,
    workload,
)
from tests.support.whatifs import changes_of, copy_of, unplaced, what_if


def place(name: str, free: int, province: str = "CN-GD", **spec: object) -> Raw:
    known = {
        "location": {"province": province, "city": f"{province}-city"},
        "provider": "telecom",
        "energy": {"gridZone": province, "pue": 1.2},
        "prices": {"energyCnyPerKwh": 0.5, "coreCnyPerHour": 0.05},
        **spec,
    }
    return site(
        name,
        nodes(free),
        spec=known,
        intensity={"gco2PerKwh": 400, "origin": "measured", "observedAt": "2026-11-23T08:00:00Z"},
    )


CITY = (
    place("m1", 4),
    place("m2", 4),
    place("m3", 4, "CN-GX"),
    place("m4", 4, "CN-GX"),
    place("m5", 0, "CN-GX"),
)


def test_a_drained_site_is_left_and_nothing_else_moves() -> None:
    copy = copy_of(
        *CITY, workload(3, name="web", placed={"m1": 3}), workload(2, name="db", placed={"m2": 2})
    )
    answer = what_if(copy, "drain m1")
    assert not answer["unplaced"]
    assert {one["workload"] for one in answer["moves"]} == {"ns/web"}
    assert sum(one["replicas"] for one in answer["moves"]) == 3
    assert all(one["from"] == "m1" and one["to"] != "m1" for one in answer["moves"])
    assert answer["before"]["replicas"] == answer["after"]["replicas"] == 5


def test_what_finds_no_place_is_named_with_reason_priority_and_what_would_help() -> None:
    copy = copy_of(
        place("m1", 4),
        place("m2", 2),
        workload(4, name="low", placed={"m1": 4}),
        workload(2, name="high", placed={"m1": 2}, priority=100),
    )
    answer = what_if(copy, "lose m1")
    assert unplaced(answer) == ["ns/low"]
    (row,) = answer["unplaced"]
    assert row["reasons"]["full"] == 1
    assert (row["missing"], row["replicas"], row["priority"]) == (4, 4, 0)
    assert answer["unplacedBy"]["priority"] == {"0": 1}
    assert [one["workload"] for one in answer["moves"]] == ["ns/high"]
    first = answer["smallestChange"][0]
    assert first["kind"] == "site.add"
    assert first["verified"]
    # The suggestion holds: with that many more sites nothing is left over.
    count, like = first["to"], first["target"].removeprefix("a site like ")
    assert not what_if(copy, f"lose m1 add {like}*{count}")["unplaced"]
    if int(count) > 1:
        assert what_if(copy, f"lose m1 add {like}*{int(count) - 1}")["unplaced"]


def test_the_scenario_of_nothing_changes_nothing() -> None:
    copy = copy_of(
        *CITY, workload(3, name="web", placed={"m1": 3}), workload(40, name="waits"), workload(1)
    )
    answer = what_if(copy, "load 1")
    assert answer["before"] == answer["after"]
    assert not answer["moves"]
    assert not answer["starts"]
    assert not answer["unplaced"]
    assert [one["workload"] for one in answer["waiting"]] == ["ns/waits"]


def test_a_province_a_city_and_a_provider_are_lost_as_a_whole() -> None:
    copy = copy_of(*CITY, workload(2, name="web", placed={"m1": 1, "m2": 1}))
    for words in ("lose province=CN-GD", "lose city=CN-GD-city"):
        answer = what_if(copy, words)
        assert answer["after"]["sitesReporting"] == 3
        assert {one["from"] for one in answer["moves"]} == {"m1", "m2"}
    assert what_if(copy, "lose provider=telecom")["freeze"]["frozen"]


def test_a_large_loss_freezes_evictions_until_they_are_thawed() -> None:
    copy = copy_of(*CITY, workload(3, name="web", placed={"m1": 3}))
    frozen = what_if(copy, "lose m1 lose m2 lose m5")
    assert frozen["freeze"]["frozen"]
    assert "3 of 5" in frozen["freeze"]["why"]
    assert not frozen["moves"]
    assert unplaced(frozen) == ["ns/web"]
    assert [one["to"] for one in frozen["smallestChange"]] == ["kapok thaw"]
    thawed = what_if(copy, "lose m1 lose m2 lose m5 thaw")
    assert not thawed["freeze"]["frozen"]
    assert not thawed["unplaced"]


def test_without_the_broker_nothing_moves_and_all_runs_on() -> None:
    copy = copy_of(*CITY, workload(3, name="web", placed={"m1": 3}), workload(2, name="new"))
    answer = what_if(copy, "lose broker")
    assert answer["freeze"]["frozen"]
    assert "no session with the broker" in answer["freeze"]["why"]
    assert not answer["moves"]
    assert "ns/web" not in unplaced(answer)
    assert answer["after"]["sitesReporting"] == 0
    # What would start now cannot start then.
    assert unplaced(answer) == ["ns/new"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [({"mode": "Manual"}, "kapok failover"), ({"mode": "Fenced"}, "kapok failover")],
)
def test_what_waits_for_an_operator_is_lost_until_then(spec: Raw, said: str) -> None:
    copy = copy_of(*CITY, workload(2, name="db", placed={"m1": 2}, failover=spec))
    answer = what_if(copy, "lose m1")
    (row,) = answer["unplaced"]
    assert said in row["line"]
    assert row["byOperator"]
    assert answer["smallestChange"][0]["who"] == "operator"
    assert answer["ends"] == [{"workload": "ns/db", "from": "m1", "replicas": 2}]
    assert not what_if(copy, "drain m1")["unplaced"]


def test_a_copy_of_a_full_site_has_room_again() -> None:
    copy = copy_of(
        place("m1", 2), workload(2, name="web", placed={"m1": 2}), workload(4, name="new")
    )
    assert [one["workload"] for one in what_if(copy, "load 1")["waiting"]] == ["ns/new"]
    full = copy_of(
        site("m1", nodes(2, cpu="0", memory="1Gi")),
        workload(2, name="web", placed={"m1": 2}),
        workload(2, name="new"),
    )
    answer = what_if(full, "add m1*1")
    assert answer["starts"] == [{"workload": "ns/new", "to": "m1-2", "replicas": 2}]
    assert any("counts as empty" in note for note in answer["notes"])


def test_sites_of_a_file_need_a_name_of_their_own_and_a_grant() -> None:
    copy = copy_of(place("m1", 0), workload(2, name="new"))
    fresh = AddSites(facts=(facts_of(place("m9", 4), grant("m9")),))
    assert not what_if(copy, "", fresh)["waiting"]
    bare = AddSites(facts=(facts_of(place("m9", 4)),))
    answer = what_if(copy, "", bare)
    assert answer["waiting"]
    assert "no SiteGrant names m9, so it may hold nothing" in answer["notes"]
    with pytest.raises(ScenarioError, match="m1 exists"):
        what_if(copy, "", AddSites(facts=(facts_of(place("m1", 4)),)))


def test_a_grant_that_ends_moves_what_the_authority_moves() -> None:
    copy = copy_of(*CITY, grant("m1", "m2", "m3", "m4"), workload(2, name="web", placed={"m1": 2}))
    narrower = ChangeGrants(grants=(decode_as(grant("m2", "m3", "m4"), SiteGrant),))
    answer = what_if(copy, "", narrower)
    assert answer["before"]["workloads"] == 1
    # Without onViolation Move or Stop it is reported, and stays.
    assert not answer["moves"]
    wider = ChangeGrants(grants=(decode_as(grant("m5", name="more"), SiteGrant),))
    assert not what_if(copy, "", wider)["moves"]
    with pytest.raises(ScenarioError, match="no site 'm9'"):
        what_if(copy, "", ChangeGrants(grants=(decode_as(grant("m9"), SiteGrant),)))


def test_a_policy_moves_only_what_it_is_about() -> None:
    policy = {
        "apiVersion": API_VERSION,
        "kind": "PlacementPolicy",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"placement": {"mode": "Fresh"}},
    }
    elsewhere = {**policy, "spec": {"placement": {"mode": "Fresh", "siteSelector": SOUTH}}}
    copy = copy_of(
        *CITY,
        policy,
        workload(2, name="web", placed={"m1": 2}, policyRef={"name": "p"}),
        workload(1, name="db", placed={"m2": 1}),
    )
    answer = what_if(copy, "", ChangePolicies(policies=(decode_as(elsewhere, PlacementPolicy),)))
    assert {one["workload"] for one in answer["moves"]} == {"ns/web"}
    assert {one["to"] for one in answer["moves"]} <= {"m3", "m4"}


SOUTH = {"matchLabels": {"kapok.dev/province": "CN-GX"}}


def test_a_cluster_policy_may_leave_work_where_no_site_is_right() -> None:
    nowhere = {
        "apiVersion": API_VERSION,
        "kind": "ClusterPlacementPolicy",
        "metadata": {"name": "c"},
        "spec": {"placement": {"siteSelector": {"matchLabels": {"kapok.dev/province": "CN-XX"}}}},
    }
    copy = copy_of(*CITY, workload(2, name="new"))
    policies = ChangePolicies(cluster_policies=(decode_as(nowhere, ClusterPlacementPolicy),))
    answer = what_if(copy, "", policies)
    assert unplaced(answer) == ["ns/new"]
    assert answer["unplaced"][0]["reasons"]["selector"] > 0


def test_prices_and_intensity_change_the_bill_and_move_nothing() -> None:
    copy = copy_of(*CITY, workload(2, name="web", placed={"m1": 1, "m3": 1}))
    dear = what_if(copy, "price carbonCnyPerKg=10")
    assert dear["after"]["cost"]["cnyPerHour"] > dear["before"]["cost"]["cnyPerHour"]
    assert dear["after"]["cost"]["gco2PerHour"] == dear["before"]["cost"]["gco2PerHour"]
    dirty = what_if(copy, "intensity CN-GD=800")
    assert dirty["after"]["cost"]["gco2PerHour"] == pytest.approx(
        1.5 * dirty["before"]["cost"]["gco2PerHour"]
    )
    electric = what_if(copy, "price energyCnyPerKwh=5")
    one_site = what_if(copy, "price m1.energyCnyPerKwh=5")
    costs = [one["cost"]["cnyPerHour"] for one in (electric, one_site)]
    assert costs[0] > costs[1] > one_site["before"]["cost"]["cnyPerHour"]
    assert not any(one["moves"] for one in (dear, dirty, electric))
    with pytest.raises(ScenarioError, match="grid zone 'CN-XX'"):
        what_if(copy, "intensity CN-XX=1")


def test_unknown_figures_count_as_assumed_ones_and_are_counted() -> None:
    copy = copy_of(site("m1", nodes(4)), workload(2, name="web", placed={"m1": 2}))
    cost = what_if(copy, "load 1")["cost"]
    assert cost["workloadsWithAssumedFigures"] == 1
    assert cost["gco2PerHour"] > 0


def test_more_load_starts_more_and_less_load_ends_some() -> None:
    copy = copy_of(*CITY, workload(3, name="web", placed={"m1": 3}))
    more = what_if(copy, "load 1.5")
    assert more["after"]["replicas"] == 5
    assert not more["ends"]
    less = what_if(copy, "load 0.5")
    assert less["after"]["replicas"] == 2
    assert sum(one["replicas"] for one in less["ends"]) == 1
    much = what_if(copy, "load 100")
    assert unplaced(much) == ["ns/web"]
    assert much["after"]["replicas"] == 3


def test_what_is_in_flight_or_reserved_is_no_room() -> None:
    facts = facts_of(
        place("m2", 4),
        grant("m2"),
        in_flight=(
            InFlight(workload="ns/a", replicas=2, requests={"cpu": 1000, "pods": 1}),
            InFlight(workload="reserved for ns/b", replicas=1, requests={"cpu": 1000, "pods": 1}),
        ),
    )
    copy = copy_of(place("m1", 4), workload(3, name="web", placed={"m1": 3}))
    copy = copy.with_facts([facts])
    answer = what_if(copy, "lose m1")
    assert unplaced(answer) == ["ns/web"]
    assert answer["headroom"]["cpu"] == 1.0


def test_room_that_is_reserved_for_a_workload_is_its_own() -> None:
    """Live copies have such reservations: for workloads that have waited long."""
    reserved = InFlight(
        workload="reserved for ns/new",
        replicas=3,
        requests={"cpu": 1000, "memory": 2**30, "pods": 1},
    )
    facts = facts_of(place("m2", 3), grant("m2"), in_flight=(reserved,))
    copy = copy_of(
        place("m1", 4),
        workload(3, name="new"),
        workload(2, name="web", placed={"m1": 2}, priority=5),
    ).with_facts([facts])
    # What is lost comes first by its priority, and finds the room at m2 reserved.
    answer = what_if(copy, "lose m1")
    assert unplaced(answer) == ["ns/web"]
    assert answer["after"]["replicas"] == 3
    assert what_if(copy, "load 1")["after"]["replicas"] == 5


def test_a_freeze_that_is_in_force_holds_in_a_what_if() -> None:
    copy = copy_of(*CITY, workload(1, name="web", placed={"m1": 1}), freeze="an operator said so")
    frozen = what_if(copy, "lose m1")
    assert "an operator said so" in frozen["freeze"]["why"]
    assert unplaced(frozen) == ["ns/web"]
    assert not what_if(copy, "lose m1 thaw")["unplaced"]
    assert not what_if(copy, "drain m1")["unplaced"]


def test_the_hottest_site_is_the_one_with_most_demand_for_its_supply() -> None:
    copy = copy_of(
        place("m1", 1),
        place("m2", 9),
        workload(3, name="web", placed={"m1": 3}),
        workload(1, name="db", placed={"m2": 1}),
    )
    answer = what_if(copy, "load 1")
    assert answer["hottestSite"] == {"name": "m1", "ratio": 0.75}
    assert answer["headroom"]["cpu"] == 10.0


def test_a_quota_holds_in_a_what_if_too() -> None:
    copy = copy_of(
        *CITY,
        tenant_of_ns(quota={"cpu": "4"}),
        workload(3, name="web", placed={"m1": 3}),
        workload(1, name="db", placed={"m2": 1}),
    )
    answer = what_if(copy, "load 1.3")
    # Both want one more; the quota has room for none.
    assert unplaced(answer) == ["ns/db", "ns/web"]
    assert answer["unplacedBy"]["reason"] == {"quota": 2}
    assert not what_if(copy, "drain m1")["unplaced"]


def test_names_that_do_not_exist_are_named_with_near_ones() -> None:
    copy = copy_of(place("gz-core", 4), place("gz-edge", 4))
    for words, said in (
        ("drain gz-egde", "did you mean gz-edge"),
        ("lose gz-cor", "did you mean gz-core"),
        ("add nn*2", "there is gz-core, gz-edge"),
        ("price xx.coreCnyPerHour=1", "no site 'xx'"),
        ("lose province=CN-GDD", "did you mean CN-GD"),
        ("lose province=CN-GD drain gz-core", "drained and lost"),
    ):
        with pytest.raises(ScenarioError, match=said):
            what_if(copy, words)


def test_a_whole_copy_at_each_site_is_not_replaced_and_not_missed() -> None:
    everywhere = workload(
        1, name="dns", placed={"m1": 1, "m2": 1}, placement={"strategy": "Duplicated"}
    )
    copy = copy_of(place("m1", 4), place("m2", 4), place("m3", 4, cordon=True), everywhere)
    assert not what_if(copy, "lose m1")["unplaced"]
    (row,) = what_if(copy, "drain m1")["unplaced"]
    assert "whole copy" in row["line"]
    assert row["staysAt"] == ["m1"]


def test_deleted_and_completed_work_is_no_part_of_it() -> None:
    done = workload(2, name="job", placed={"m1": 2})
    done["status"]["phase"] = "Completed"
    gone = workload(2, name="gone", placed={"m1": 2})
    gone["metadata"]["deletionTimestamp"] = "2026-11-23T08:00:00Z"
    answer = what_if(copy_of(*CITY, done, gone), "lose m1")
    assert answer["before"]["workloads"] == 0
    assert not answer["moves"]


def test_what_is_not_accepted_is_no_place_for_nothing() -> None:
    broken = workload(1, name="bad", placed={"m1": 1}, policyRef={"name": "missing"})
    answer = what_if(copy_of(*CITY, broken), "lose m1")
    (row,) = answer["waiting"]
    assert "no PlacementPolicy missing" in row["line"]
    assert answer["ends"] == [{"workload": "ns/bad", "from": "m1", "replicas": 1}]


def test_an_answer_is_plain_json() -> None:
    answer = what_if(copy_of(*CITY, workload(200, name="应用")), "lose m1")
    assert "应用" in msgspec.json.encode(answer).decode()


def test_a_large_backlog_is_looked_at_together_and_overcommits_nothing() -> None:
    waiting = [workload(2, name=f"w{number}") for number in range(160)]
    copy = copy_of(site("m1", nodes(101)), site("m2", nodes(5)), *waiting)
    asked: list[str] = []
    answer = ask(copy, changes_of("lose m2"), lambda what, *_: asked.append(what))
    # One core is left, and each of 110 workloads needs two.
    assert answer["after"]["placed"] == 50
    assert answer["headroom"]["cpu"] == 1.0
    assert "solved" in asked
    assert answer["unplacedBy"]["reason"] == {"full": 3}
    few = copy_of(site("m1", nodes(101)), site("m2", nodes(5)), *waiting[:60])
    asked.clear()
    ask(few, changes_of("lose m2"), lambda what, *_: asked.append(what))
    assert "solved" not in asked
