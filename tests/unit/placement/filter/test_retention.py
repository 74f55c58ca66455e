"""What runs stays, unless a rule says that it must go."""

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from scheduler.model.canonical import canonical_json
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand, PlacedReplicas, UnreadyReplicas
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.kinds import DataClassScheme, Workload
from scheduler.placement.choose import choose
from scheduler.placement.filter.retention import evicted_by_taint_at
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    with_placement,
    workload,
)


def shares(asked: Raw, *sites: Raw, grants: tuple[Raw, ...] | None = None) -> dict[str, int]:
    decision = choose(demand(asked), fleet_of(*sites, grants=grants), now=NOW)
    return {each.site: each.replicas for each in decision.assignment}


NO_SCHEDULE = {"taints": [{"key": "a"}]}
NO_EXECUTE = {"taints": [{"key": "a", "effect": "NoExecute"}]}


@pytest.mark.parametrize(
    ("spec", "grown_shares"),
    [
        (NO_SCHEDULE, {"m1": 2, "m2": 1}),
        ({"cordon": True}, {"m1": 2, "m2": 1}),
        # As in Kubernetes, this effect refuses nothing.
        ({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}, {"m1": 3}),
    ],
    ids=str,
)
def test_a_taint_or_cordon_ends_nothing_and_a_soft_taint_refuses_no_new_replicas(
    spec: Raw, grown_shares: dict[str, int]
) -> None:
    asked = workload(2, placed={"m1": 2})
    assert shares(asked, site_with_capacity("m1", 0, spec=spec), site_with_capacity("m2", 9)) == {
        "m1": 2
    }
    grown = workload(3, placed={"m1": 2})
    assert (
        shares(grown, site_with_capacity("m1", 9, spec=spec), site_with_capacity("m2", 9))
        == grown_shares
    )


@pytest.mark.parametrize(
    "status",
    [
        {"observedAt": "2020-01-01T00:00:00Z"},
        {"apiKinds": []},
        {"executor": False},
        {"nodeClasses": []},
    ],
    ids=str,
)
def test_lost_facts_do_not_end_running_replicas(status: Raw) -> None:
    changed = site_with_capacity("m1", 4)
    changed["status"] |= status
    assert shares(workload(2, placed={"m1": 2}), changed, site_with_capacity("m2", 9)) == {"m1": 2}


def test_a_cheaper_site_does_not_end_running_replicas() -> None:
    cheap = {"energy": {"pue": 1.0}, "prices": {"energyCnyPerKwh": 0.01, "coreCnyPerHour": 0.0}}
    assert shares(
        workload(2, placed={"m1": 2}),
        site_with_capacity("m1", 0),
        site_with_capacity("m2", 9, spec=cheap),
    ) == {"m1": 2}


def tolerating(*tolerations: Raw) -> Raw:
    return workload(2, placed={"m1": 2}, placement={"siteTolerations": list(tolerations)})


ADDED = "2026-11-23T08:00:00Z"  # a minute before now


@pytest.mark.parametrize(
    ("tolerations", "stays"),
    [
        ([], False),
        ([{"key": "a"}], True),
        ([{"key": "a", "effect": "NoSchedule"}], False),
        ([{"key": "a", "tolerationSeconds": 61}], True),
        ([{"key": "a", "tolerationSeconds": 60}], False),
        ([{"key": "a", "tolerationSeconds": 0}], False),
        ([{"key": "a", "tolerationSeconds": -5}], False),
        (
            [
                {"key": "a", "tolerationSeconds": 90},
                {"operator": "Exists", "tolerationSeconds": 30},
            ],
            False,
        ),
        ([{"key": "a"}, {"operator": "Exists", "tolerationSeconds": 90}], True),
        ([{"key": "a"}, {"operator": "Exists", "tolerationSeconds": 30}], False),
    ],
    ids=str,
)
def test_no_execute_evicts_replicas_that_do_not_tolerate_it_long_enough(
    tolerations: list[Raw], *, stays: bool
) -> None:
    taint = {"key": "a", "effect": "NoExecute", "timeAdded": ADDED}
    tainted = site_with_capacity("m1", 9, spec={"taints": [taint]})
    found = shares(tolerating(*tolerations), tainted, site_with_capacity("m2", 9))
    assert found == ({"m1": 2} if stays else {"m2": 2})


def test_evicted_replicas_end_even_if_nothing_fits_elsewhere() -> None:
    decision = choose(
        demand(workload(2, placed={"m1": 2})),
        fleet_of(site_with_capacity("m1", 9, spec=NO_EXECUTE)),
        now=NOW,
    )
    assert decision.assignment == ()
    assert decision.lost == ("m1",)
    assert decision.ended_by == {"m1": "taint"}
    assert decision.line == "0/1 sites are feasible: 1 taint; ended at m1 (taint)"


LEAVES = PlacedReplicas(site="m1", replicas=2, phase="Withdrawing")
MOVING = with_placement(demand(workload(2)), (LEAVES, PlacedReplicas(site="m2", replicas=2)))


def test_a_leaving_share_is_ended_by_the_same_rules() -> None:
    tainted = fleet_of(site_with_capacity("m1", 9, spec=NO_EXECUTE), site_with_capacity("m2", 9))
    assert choose(MOVING, tainted, now=NOW).ended == ("m1",)
    lapsed = (grant("m1", validUntil="2026-01-01T00:00:00Z"), grant("m2", name="b"))
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9), grants=lapsed)
    for treatment, ended in (("Report", ()), ("Move", ()), ("Stop", ("m1",))):
        decision = choose(msgspec.structs.replace(MOVING, on_violation=treatment), fleet, now=NOW)
        assert (decision.ended, decision.violations) == (ended, {"m1": "grant-expired"})
        assert {one.site: one.replicas for one in decision.assignment} == {"m2": 2}


def test_the_instant_of_an_eviction_by_taint_is_known() -> None:
    asked = demand(tolerating({"key": "a", "tolerationSeconds": 90}))
    taint = {"key": "a", "effect": "NoExecute", "timeAdded": ADDED}
    fleet = fleet_of(site_with_capacity("m1", 9, spec={"taints": [taint]}))
    assert evicted_by_taint_at(asked, fleet, NOW) == NOW + timedelta(seconds=30)
    assert evicted_by_taint_at(asked, fleet, NOW + timedelta(seconds=30)) is None
    assert evicted_by_taint_at(demand(tolerating({"key": "a"})), fleet, NOW) is None


def silent(since: str) -> Raw:
    condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": since}
    return site("m1", nodes(9), conditions=[condition])


@pytest.mark.parametrize(
    ("since", "failover", "moves"),
    [
        ("2026-11-23T07:55:59Z", {}, True),
        ("2026-11-23T07:57:00Z", {}, False),
        ("2026-11-23T08:00:00Z", {"afterSeconds": 60}, True),
        ("2026-11-23T08:00:01Z", {"afterSeconds": 60}, False),
        ("2020-01-01T00:00:00Z", {"mode": "Manual"}, False),
        ("2020-01-01T00:00:00Z", {"mode": "Fenced"}, False),
    ],
    ids=str,
)
def test_a_silent_site_is_replaced_after_its_time(
    since: str, failover: Raw, *, moves: bool
) -> None:
    asked = workload(2, placed={"m1": 2}, failover=failover)
    assert shares(asked, silent(since), site_with_capacity("m2", 9)) == (
        {"m2": 2} if moves else {"m1": 2}
    )


def test_replicas_that_cannot_be_replaced_stay_at_the_silent_site() -> None:
    asked = workload(2, placed={"m1": 2})
    decision = choose(
        demand(asked),
        fleet_of(silent("2020-01-01T00:00:00Z"), site_with_capacity("m2", 1)),
        now=NOW,
    )
    assert decision.phase == "Waiting"
    assert {each.site: each.replicas for each in decision.assignment} == {"m1": 2}


def test_evictions_freeze_when_the_hub_suspects_itself() -> None:
    asked = demand(workload(2, placed={"m1": 2}))
    fleet = fleet_of(silent("2020-01-01T00:00:00Z"), site_with_capacity("m2", 9))
    decision = choose(asked, fleet, now=NOW, terms=Terms(may_evict=False))
    assert {each.site for each in decision.assignment} == {"m1"}


@pytest.mark.parametrize(
    ("treatment", "expected"), [("Report", {"m1": 2}), ("Move", {"m2": 2}), ("Stop", {"m2": 2})]
)
def test_a_lapsed_right_is_reported_and_treated_as_the_authority_says(
    treatment: str, expected: Raw
) -> None:
    scheme = decode_as(
        {
            "metadata": {"name": "default"},
            "spec": {"classes": [{"name": "general-2", "onViolation": treatment}]},
        },
        DataClassScheme,
    )
    asked = demand(workload(2, placed={"m1": 2}), scheme=scheme)
    grants = (grant("m1", validUntil="2026-01-01T00:00:00Z"), grant("m2", name="b"))
    decision = choose(
        asked,
        fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9), grants=grants),
        now=NOW,
    )
    assert {each.site: each.replicas for each in decision.assignment} == expected
    assert decision.violations == {"m1": "grant-expired"}


def test_a_paused_workload_keeps_its_replicas_and_gets_no_new_ones() -> None:
    asked = workload(3, placed={"m1": 2}, paused=True)
    decision = choose(demand(asked), fleet_of(site_with_capacity("m1", 9)), now=NOW)
    assert (decision.phase, decision.reasons) == ("Waiting", {"paused": 1})
    assert decision.replicas == 2


@pytest.mark.parametrize(
    ("schedule", "phase"),
    [
        ({"earliest": "2026-11-23T08:01:01Z"}, "Waiting"),
        ({"earliest": "2026-11-23T08:01:00Z"}, "Placed"),
        ({"deadline": "2026-11-23T09:00:00Z", "durationSeconds": 3600}, "Refused"),
        ({"deadline": "2026-11-23T09:01:00Z", "durationSeconds": 3600}, "Placed"),
    ],
    ids=str,
)
def test_work_runs_only_in_its_time(schedule: Raw, phase: str) -> None:
    decision = choose(
        demand(workload(schedule=schedule)), fleet_of(site_with_capacity("m1", 9)), now=NOW
    )
    assert decision.phase == phase
    assert (phase == "Placed") == (decision.reasons != {"deadline": 1})


def test_companions_run_together_or_apart() -> None:
    mate = decode_as(workload(1, name="db", labels={"app": "db"}, placed={"m1": 1}), Workload)
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9))
    for kind, expected in (("With", {"m1"}), ("Apart", {"m2"})):
        rule = {"kind": kind, "selector": {"matchLabels": {"app": "db"}}}
        asked = demand(workload(2, placement={"affinity": [rule]}), others=[mate])
        assert {each.site for each in choose(asked, fleet, now=NOW).assignment} == expected
    absent = {"kind": "With", "selector": {"matchLabels": {"app": "none"}}}
    alone = demand(workload(2, placement={"affinity": [absent]}), others=[mate])
    assert choose(alone, fleet, now=NOW).reasons == {"spread": 2}


def test_preferred_companions_are_followed_as_far_as_there_is_capacity() -> None:
    mate = decode_as(workload(1, name="db", labels={"app": "db"}, placed={"m1": 1}), Workload)
    fleet = fleet_of(site_with_capacity("m1", 3), site_with_capacity("m2", 9))
    for kind, replicas, expected in (
        ("With", 3, {"m1": 3}),
        ("Apart", 3, {"m2": 3}),
        ("Apart", 12, {"m1": 3, "m2": 9}),
    ):
        rule = {"kind": kind, "selector": {"matchLabels": {"app": "db"}}, "required": False}
        asked = demand(workload(replicas, placement={"affinity": [rule]}), others=[mate])
        decision = choose(asked, fleet, now=NOW)
        assert {each.site: each.replicas for each in decision.assignment} == expected
        dropped = "preferred affinity terms not met: 1"
        assert (dropped in decision.notes) == (replicas == 12)


def unready(replicas: int, *, back_at: str = "", site: str = "m1") -> tuple[UnreadyReplicas, ...]:
    one = UnreadyReplicas(
        site=site, replicas=replicas, reason="crash-loop", seconds=612, back_at=back_at
    )
    return (one,)


def test_replicas_that_are_not_ready_are_replaced_and_the_others_stay() -> None:
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9))
    asked = replace(demand(workload(3, placed={"m1": 3})), unready=unready(2))
    decision = choose(asked, fleet, now=NOW)
    assert {one.site: one.replicas for one in decision.assignment} == {"m1": 1, "m2": 2}
    assert decision.line.endswith(
        "; moved from m1: 2 of 3 replicas not ready for 612 s (crash loop)"
    )


def test_replicas_that_are_not_ready_stay_where_nothing_replaces_them() -> None:
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 1))
    asked = replace(demand(workload(3, placed={"m1": 3})), unready=unready(2))
    decision = choose(asked, fleet, now=NOW)
    assert decision.phase == "Waiting"
    assert {one.site: one.replicas for one in decision.assignment} == {"m1": 3}
    assert "not moved from m1: 2 of 3 replicas not ready for 612 s (crash loop)" in decision.line


def test_a_move_that_is_taken_back_says_so() -> None:
    fleet = fleet_of(site_with_capacity("m1", 9), site_with_capacity("m2", 9))
    back = unready(2, back_at="m1", site="m2")
    decision = choose(replace(demand(workload(3, placed={"m1": 3})), unready=back), fleet, now=NOW)
    assert {one.site: one.replicas for one in decision.assignment} == {"m1": 3}
    assert decision.line.endswith("; moved back to m1: 2 at m2 not ready for 612 s (crash loop)")


def test_a_demand_with_replicas_that_are_not_ready_is_recorded_and_replayed_to_the_byte() -> None:
    plain = demand(workload(3, placed={"m1": 3}))
    assert b"unready" not in canonical_json(plain), "records of before keep their bytes"
    asked = replace(plain, unready=unready(2))
    read = msgspec.json.decode(canonical_json(asked), type=Demand)
    assert read == asked

    def decided(one: Demand) -> bytes:
        sites = (site_with_capacity("m1", 9), site_with_capacity("m2", 9))
        return canonical_json(choose(one, fleet_of(*sites), now=NOW))

    assert decided(read) == decided(asked)
