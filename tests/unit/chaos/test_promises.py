"""The checker finds each promise broken in a world where it is, and none in a good one."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks._chaos.checker.sight import Lowered, Sight, SiteSeen
from tests.support.chaos_sights import (
    KEY,
    broken,
    grant,
    placed,
    pods,
    row,
    sight,
    site_object,
    with_site,
    workload,
    wrote,
)

ONE = workload()
STATEFUL = workload(placement={"identity": "Whole"})
SPREAD = workload(placement={"spread": [{"by": "city", "minGroups": 2, "required": True}]})
ORDER = "hub/city/w/abc"


def test_a_placement_within_all_rules_breaks_nothing() -> None:
    after = placed(ONE, m1=1, m2=1)
    running = with_site(
        with_site(sight(**wrote(ONE, after)), "m1", orders=pods(1)), "m2", orders=pods(1)
    )
    assert broken(running, replace(running, now=2000.0, writes=(), is_calm=True)) == set()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"grants": {"g": grant("m1", "m2", data_class="general-1")}},
        {"grants": {"g": grant("m2")}},
        {"site_objects": {"m1": site_object("m1", cordon=True), "m2": site_object("m2")}},
        {"site_objects": {"m2": site_object("m2")}},
        {
            "site_objects": {
                "m1": site_object("m1", taints=[{"key": "a", "effect": "NoExecute"}]),
                "m2": site_object("m2"),
            }
        },
    ],
)
def test_1_a_placement_that_breaks_a_rule_is_found(spoiled: dict[str, Any]) -> None:
    assert broken(sight(**wrote(ONE, placed(ONE, m1=2)), **spoiled)) == {1}


def test_1_a_selector_that_does_not_match_is_found() -> None:
    one = workload(placement={"siteSelector": {"matchLabels": {"pool": "a"}}})
    assert broken(sight(**wrote(one, placed(one, m1=2)))) == {1}


def test_1_what_comes_to_break_a_right_is_found_unless_a_condition_names_it() -> None:
    after = placed(ONE, m1=2)
    before = sight(now=1000.0, **wrote(ONE, after))
    lapsed = replace(sight(now=1010.0, workloads={KEY: after}), grants={})
    late = replace(lapsed, now=1300.0)
    assert broken(before, lapsed, late) == {1}
    named = placed(ONE, m1=2)
    named["status"]["conditions"] = [{"type": "Violation", "status": "True"}]
    assert broken(before, *(replace(m, workloads={KEY: named}) for m in (lapsed, late))) == set()


def test_2_replicas_that_do_not_add_up_are_found() -> None:
    assert broken(sight(**wrote(ONE, placed(ONE, m1=1)))) == {2}
    assert broken(sight(**wrote(ONE, placed(ONE, m1=2, m2=1)))) == {2}


def test_2_replicas_that_a_rule_has_ended_are_missed_only_in_a_gang() -> None:
    for gang, found in ((False, set()), (True, {2})):
        one = workload(placement={"gang": gang})
        after = placed(one, m1=1)
        after["status"]["decision"] = {"line": "0/2 sites are feasible; replicas stay on m1 (1)"}
        assert broken(sight(**wrote(one, after))) == found


def test_3_more_than_a_site_has_is_found_with_what_is_leaving_it() -> None:
    small = with_site(sight(), "m1", cores=3)
    assert broken(replace(small, **wrote(ONE, placed(ONE, m1=2)))) == set()
    assert broken(replace(small, **wrote(ONE, placed(ONE, m1=2, left=("m1", 2))))) == {3}
    lying = with_site(small, "m1", lies=True)
    assert broken(replace(lying, **wrote(ONE, placed(ONE, m1=2, left=("m1", 2))))) == set()


def test_3_what_a_deleted_workload_has_left_counts_no_more_at_a_site() -> None:
    """Its status names the site until another one, which is lost, confirms too."""
    deleting = placed(ONE, m1=2, m2=2)
    deleting["metadata"]["deletionTimestamp"] = "now"
    first = with_site(sight(**wrote(ONE, deleting)), "m1", cores=3)
    other = workload()
    other["metadata"]["name"] = "other"
    write = wrote(other, placed(other, m1=2))["writes"]
    keys = {KEY: deleting, ("city", "other"): other}
    later = replace(with_site(sight(), "m1", cores=3), writes=write, workloads=keys)
    assert 3 not in broken(first, later)
    assert 3 in broken(first, with_site(later, "m1", orders=pods(2)))


def test_3_the_room_of_a_workload_that_went_in_the_same_step_is_free() -> None:
    gone, other = placed(ONE, m1=2), workload()
    other["metadata"]["name"] = "other"
    first = with_site(sight(**wrote(ONE, gone)), "m1", cores=3)
    write = wrote(other, placed(other, m1=2))["writes"]
    keys = {("city", "other"): other}
    later = replace(
        with_site(sight(), "m1", cores=3), writes=write, workloads=keys, removed=(gone,)
    )
    assert 3 not in broken(first, later)
    assert 3 in broken(first, with_site(later, "m1", orders=pods(2)))


def test_3_the_room_of_a_job_whose_pods_have_ended_is_free_before_the_hub_says_so() -> None:
    job, other = placed(ONE, m1=2), workload()
    other["metadata"]["name"] = "other"
    first = with_site(sight(**wrote(ONE, job)), "m1", cores=3, orders=pods(2))
    write = wrote(other, placed(other, m1=2))["writes"]
    keys = {KEY: job, ("city", "other"): other}
    later = replace(first, writes=write, workloads=keys)
    ended = {ORDER: replace(pods(2)[ORDER], is_ended=True)}
    assert 3 in broken(first, later)
    assert 3 not in broken(first, with_site(later, "m1", orders=ended))


def test_4_new_replicas_where_the_report_is_too_old_are_found() -> None:
    old = with_site(sight(), "m1", heard_at=100.0)
    assert broken(replace(old, **wrote(ONE, placed(ONE, m1=2)))) == {4}


def test_5_a_replay_with_another_result_is_found() -> None:
    assert broken(sight(replays=(("1-7", False), ("1-8", True)))) == {5}


def test_6_a_write_of_a_former_leader_is_found() -> None:
    after = placed(ONE, m1=2, epoch=1)
    assert broken(sight(**wrote(ONE, after, lease_epoch=2), lease_epoch=2, takings=2)) == {6}


def test_6_an_older_index_is_found_unless_the_disk_was_lost() -> None:
    newer = with_site(sight(), "m1", version=(1, 5))
    older = with_site(sight(), "m1", version=(1, 4))
    assert broken(newer, older) == {6}
    assert broken(newer, with_site(older, "m1", disks=1)) == set()


def test_7_a_workload_without_an_answer_is_found_after_a_while() -> None:
    first = sight(now=1000.0, workloads={KEY: ONE})
    late = replace(first, now=1300.0)
    assert broken(first, late) == {7}
    assert broken(first, replace(late, leading_since=1290.0)) == set()


def test_8_pods_withdrawn_before_their_replacement_runs_are_found() -> None:
    after = placed(ONE, m2=2)
    lowered = (Lowered(at=1000.0, site="m1", order=ORDER, left=0),)
    moment = sight(workloads={KEY: after}, lowered=lowered)
    assert broken(moment) == {8}
    assert broken(with_site(moment, "m2", orders=pods(2))) == set()
    deleting = placed(ONE, m2=2)
    deleting["metadata"]["deletionTimestamp"] = "now"
    assert broken(replace(moment, workloads={KEY: deleting})) == set()


def test_8_pods_that_another_site_has_lost_are_no_fault_of_a_withdrawal() -> None:
    """m3 lost its pod, still stands in the hub, and is not what the withdrawal from m1 replaces."""
    sites = {
        name: SiteSeen(cores=8, heard_at=999.0, version=(1, 1), orders=pods(1))
        for name in ("m1", "m3")
    }
    before, after = placed(ONE, m1=1, m3=1), placed(ONE, m2=1, m3=1)
    names = ("m1", "m2", "m3")
    rights: dict[str, Any] = {
        "grants": {"g": grant(*names)},
        "site_objects": {n: site_object(n) for n in names},
    }
    first = sight(workloads={KEY: before}, sites=sites, **rights)
    lowered = (Lowered(at=2000.0, site="m1", order=ORDER, left=0),)
    lost = {"m3": SiteSeen(cores=8, heard_at=1999.0, version=(1, 1))}
    moment = sight(2000.0, **wrote(before, after), lowered=lowered, **rights)
    moment = replace(moment, sites={**moment.sites, **lost})
    assert broken(first, moment) == {8}  # m2 runs nothing yet
    assert broken(first, with_site(moment, "m2", orders=pods(1))) == set()
    gone = sight(1500.0, **wrote(before, placed(ONE, m1=2)), **rights)
    assert broken(first, gone, with_site(moment, "m2", orders=pods(1))) == {8}  # m3 is new again


def test_9_numbered_pods_at_two_sites_are_found() -> None:
    after = placed(STATEFUL, m1=2)
    both = sight(workloads={KEY: after})
    for name in ("m1", "m2"):
        both = with_site(both, name, orders=pods(2))
    assert broken(both) == {9}


def test_10_an_eviction_while_most_sites_are_silent_is_found() -> None:
    before, after = placed(ONE, m1=2), placed(ONE, m2=2)
    first, storm = sight(now=1000.0, workloads={KEY: before}), sight(2000.0, **wrote(before, after))
    assert broken(first, storm) == set()
    silent = with_site(storm, "m1", heard_at=1800.0)
    assert broken(first, silent) == set()  # one of two is no storm
    third = {"m3": SiteSeen(cores=8, heard_at=1800.0, version=(1, 1))}
    assert broken(first, replace(silent, sites={**silent.sites, **third})) == {10}


def test_11_a_broken_chain_and_a_decision_without_a_record_are_found() -> None:
    first = row(1, "genesis")
    assert broken(sight(rows=(first, row(2, first.hash)))) == set()
    assert broken(sight(rows=(first, row(2, "another")))) == {11}
    assert broken(sight(rows=(first, row(3, first.hash)))) == {11}
    assert broken(sight(rows=(row(1, "genesis", body_after=b"{}"),))) == {11}
    after = placed(ONE, m1=2)
    after["status"]["decision"] = {"id": "1-9", "hash": "sha256:0"}
    assert broken(sight(**wrote(ONE, after))) == {11}


def test_12_what_does_not_come_to_rest_is_found() -> None:
    after = placed(ONE, m1=2)
    rest = replace(sight(workloads={KEY: after}), is_calm=True)
    assert broken(rest) == {12}  # it runs nowhere
    assert broken(with_site(with_site(rest, "m1", orders=pods(2)), "m2", orders=pods(1))) == {12}
    assert broken(with_site(rest, "m1", orders=pods(2))) == set()


def test_12_a_job_that_runs_again_after_its_end_was_known_is_found() -> None:
    done = placed(ONE, m1=2)
    done["status"]["phase"] = "Completed"
    known = sight(1000.0, **wrote(ONE, done), ended=(("m1", ORDER),))
    assert broken(known, sight(1030.0, ended=(("m2", ORDER),))) == set()  # it had begun before
    assert broken(known, sight(1300.0, ended=(("m2", ORDER),))) == {12}


@pytest.mark.parametrize("spoiled", [{"is_alive": False}, {"faults": {"loop": 1}}])
def test_13_an_ended_loop_and_a_fault_are_found(spoiled: dict[str, Any]) -> None:
    assert broken(sight(**spoiled)) == {13}


def test_14_an_epoch_that_no_leader_has_begun_is_found() -> None:
    assert broken(sight(lease_epoch=1001, takings=3)) == {14}


def test_15_a_workload_that_goes_before_its_pods_is_found() -> None:
    gone = placed(ONE, m1=2)
    still: Sight = with_site(sight(removed=(gone,)), "m1", orders=pods(2))
    assert broken(still) == {15}
    assert broken(sight(removed=(gone,))) == set()


def test_16_a_spread_that_is_not_met_is_found_unless_a_condition_names_it() -> None:
    after = placed(SPREAD, m1=2)
    assert broken(sight(**wrote(SPREAD, after))) == {16}
    named = placed(SPREAD, m1=2)
    named["status"]["conditions"] = [{"type": "RulesMet", "status": "False"}]
    assert broken(sight(**wrote(SPREAD, named))) == set()
    assert broken(sight(**wrote(SPREAD, placed(SPREAD, m1=1, m2=1)))) == set()


BUDGET = {"kind": "PodDisruptionBudget", "spec": {"maxUnavailable": 1}}
BUDGETED = workload(manifests=[*ONE["spec"]["manifests"], BUDGET])
DRAINED = {"m1": site_object("m1", drain={}), "m2": site_object("m2")}


def test_1_new_work_at_a_drained_site_is_found() -> None:
    assert broken(sight(**wrote(ONE, placed(ONE, m1=2)), site_objects=DRAINED)) == {1}


@pytest.mark.parametrize(("left", "found"), [(1, set()), (2, {8})])
def test_8_a_drain_that_moves_more_than_the_budget_allows_is_found(
    left: int, found: set[int]
) -> None:
    before = placed(BUDGETED, m1=2)
    after = placed(BUDGETED, left=("m1", left), m2=left, **({"m1": 1} if left == 1 else {}))
    assert broken(sight(**wrote(before, after), site_objects=DRAINED)) == found


def test_7_work_that_stays_at_a_drained_site_without_a_reason_is_found() -> None:
    stays = placed(ONE, m1=2)
    known: dict[str, Any] = {"workloads": {KEY: stays}, "site_objects": DRAINED, "is_whole": True}
    running = with_site(sight(**known), "m1", orders=pods(2))
    later = running.now + 1000.0
    heard = {name: replace(one, heard_at=later) for name, one in running.sites.items()}
    assert broken(running, replace(running, now=later, sites=heard)) == {7}
    told = {"type": "Drained", "status": "False", "message": "replicas stay at m1: a budget"}
    stays["status"]["conditions"].append(told)
    assert broken(running, replace(running, now=later, sites=heard)) == set()
