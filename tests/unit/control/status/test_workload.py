"""The status of a workload after decisions and reports of sites."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.conditions import evicted_condition
from scheduler.control.status.migration import SiteView
from scheduler.control.status.workload import (
    merge_patch,
    shares_of,
    with_decision,
    with_health,
    with_refusal,
)
from scheduler.model.decision import Decision, SiteAssignment
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.workload import DecisionReference, WorkloadStatus
from tests.support.fake_clock import START

REFERENCE = DecisionReference(id="1-1", hash="sha256:0", line="placed")


def decided(status: WorkloadStatus, /, *, new: bool = False, **shares: int) -> WorkloadStatus:
    decision = Decision(
        workload="ns/w",
        phase="Placed",
        assignment=tuple(SiteAssignment(site=site, replicas=n) for site, n in shares.items()),
        line="placed",
        decided_at=START,
    )
    return with_decision(
        status,
        decision,
        REFERENCE,
        is_new_content=new,
        known_sites=["m1", "m2", "m3"],
        now=START,
    )


def view(
    generation: int, phase: str = "Ready", *, ready: int = 0, silent: bool = False
) -> SiteView:
    state = OrderState(
        id="x", generation=generation, applied_generation=generation, phase=phase, ready=ready
    )
    return SiteView(state=state, is_silent=silent)


def phases(status: WorkloadStatus) -> dict[str, str | None]:
    return {site: group.phase for group in status.placement.groups for site in group.sites}


def test_sites_with_equal_shares_are_one_group() -> None:
    status = decided(WorkloadStatus(), m1=6, m2=6)
    [group] = status.placement.groups
    assert (group.sites, group.replicas, group.phase) == (("m1", "m2"), 6, "Placing")
    assert status.sites == "m1 (6), m2 (6)"
    assert status.replicas == 12


def test_a_workload_runs_when_every_site_is_ready() -> None:
    status = decided(WorkloadStatus(), m1=2, m2=1)
    half = with_health(status, {"m1": view(1, ready=2), "m2": view(1, "Applied")}, START)
    assert (half.phase, half.ready) == ("Placed", 2)
    whole = with_health(half, {"m1": view(1, ready=2), "m2": view(1, ready=1)}, START)
    assert (whole.phase, whole.ready) == ("Running", 3)
    assert phases(whole) == {"m1": "Running", "m2": "Running"}


def test_an_unchanged_share_keeps_its_generation_and_a_changed_one_gets_a_new_one() -> None:
    status = decided(decided(WorkloadStatus(), m1=2, m2=1), m1=2, m2=4)
    shares = shares_of(status)
    assert (shares["m1"].generation, shares["m2"].generation) == (1, 2)
    assert status.placement.generation == 2


def test_new_content_makes_every_share_a_new_generation() -> None:
    status = decided(decided(WorkloadStatus(), m1=2), new=True, m1=2)
    assert shares_of(status)["m1"].generation == 2


def test_a_moving_share_is_withdrawn_only_after_its_replacement_runs() -> None:
    status = with_health(decided(WorkloadStatus(), m1=2), {"m1": view(1, ready=2)}, START)
    moved = decided(status, m2=2)
    assert phases(moved) == {"m1": "Withdrawing", "m2": "Placing"}
    waiting = with_health(moved, {"m1": view(1, ready=2), "m2": view(2, "Applied")}, START)
    assert phases(waiting)["m1"] == "Withdrawing"
    done = with_health(waiting, {"m1": view(1, ready=2), "m2": view(2, ready=2)}, START)
    assert phases(done) == {"m2": "Running"}


def test_a_share_that_the_authority_stops_is_withdrawn_at_once() -> None:
    status = with_health(decided(WorkloadStatus(), m1=2), {"m1": view(1, ready=2)}, START)
    stopped = Decision(
        workload="ns/w", phase="Refused", lost=("m1",), ended=("m1",), line="no", decided_at=START
    )
    after = with_decision(
        status, stopped, REFERENCE, is_new_content=False, known_sites=["m1"], now=START
    )
    assert after.placement.groups == ()
    assert after.phase == "Refused"


def unplaced(status: WorkloadStatus, line: str, **shares: int) -> WorkloadStatus:
    """The status after a decision that did not place all replicas."""
    waiting = Decision(
        workload="ns/w",
        phase="Waiting",
        assignment=tuple(SiteAssignment(site=site, replicas=n) for site, n in shares.items()),
        line=line,
        decided_at=START,
    )
    return with_decision(
        status, waiting, REFERENCE, is_new_content=False, known_sites=["m1"], now=START
    )


def test_a_workload_that_runs_in_part_waits_and_says_why() -> None:
    views = {"m1": view(1, ready=2)}
    status = unplaced(with_health(decided(WorkloadStatus(), m1=2), views, START), "1 full", m1=2)
    short = with_health(status, views, START, wanted=5)
    assert (short.phase, short.ready, short.reason) == ("Waiting", 2, "1 full")
    assert phases(short) == {"m1": "Running"}


def test_a_workload_that_cannot_move_keeps_running_and_says_why() -> None:
    views = {"m1": view(1, ready=2)}
    status = unplaced(with_health(decided(WorkloadStatus(), m1=2), views, START), "1 full", m1=2)
    whole = with_health(status, views, START, wanted=2)
    assert (whole.phase, whole.reason) == ("Running", "1 full")
    placed = next(one for one in whole.conditions if one.type == "Placed")
    assert (placed.status, placed.message) == ("False", "1 full")


def test_a_workload_that_runs_nowhere_is_neither_ready_nor_available() -> None:
    status = with_health(decided(WorkloadStatus(), m1=2), {"m1": view(1, ready=2)}, START)
    ended = Decision(
        workload="ns/w",
        phase="Refused",
        ended=("m1",),
        ended_by={"m1": "taint"},
        line="no",
        decided_at=START,
    )
    after = with_decision(
        status, ended, REFERENCE, is_new_content=False, known_sites=["m1"], now=START
    )
    evicted = with_health(after, {"m1": view(2)}, START, wanted=2)
    conditions = {one.type: one for one in evicted.conditions}
    assert (evicted.phase, evicted.ready, evicted.replicas) == ("Refused", 0, 0)
    [group] = evicted.placement.groups
    assert (group.sites, group.replicas) == (("m1",), 0), "its claims and services stay"
    assert conditions["Available"].status == "False"
    assert conditions["Evicted"].message == "ended at m1 (taint)"


def test_what_runs_at_a_deleted_site_is_not_said_to_have_ended() -> None:
    ended = Decision(
        workload="ns/w",
        phase="Refused",
        ended=("m1", "m2"),
        ended_by={"m1": "site not found", "m2": "taint"},
        line="no",
        decided_at=START,
    )
    message = evicted_condition(ended).message
    assert message.startswith("ended at m2 (taint); given up at m1 (site not found): what runs")
    assert "Site is created again" in message


def test_a_report_by_an_older_index_makes_nothing_run() -> None:
    status = decided(WorkloadStatus(), m1=2)
    claim = view(1, ready=2)
    old = SiteView(claim.state, is_silent=False, is_current=False)
    assert with_health(status, {"m1": old}, START).phase == "Placed"
    ran = with_health(status, {"m1": claim}, START)
    assert ran.phase == "Running"
    assert with_health(ran, {"m1": old}, START).phase == "Running", "a restart degrades nothing"


def test_work_at_a_silent_site_is_degraded_and_nothing_is_known_of_it() -> None:
    status = with_health(decided(WorkloadStatus(), m1=2), {"m1": view(1, ready=2)}, START)
    assert status.readiness == "2/2"
    quiet = with_health(status, {"m1": view(1, ready=2, silent=True)}, START + timedelta(hours=1))
    assert (quiet.phase, quiet.readiness) == ("Degraded", "?/2")
    assert quiet.reason == "SiteSilent: unknown at m1: the site does not report"
    assert phases(quiet) == {"m1": "Running"}
    assert quiet.exceptions[0].silent
    available = next(c for c in quiet.conditions if c.type == "Available")
    assert (available.status, available.reason) == ("Unknown", "SiteSilent")
    again = with_health(quiet, {"m1": view(1, ready=2)}, START)
    assert (again.phase, again.readiness, again.reason) == ("Running", "2/2", "")


def test_one_silent_site_of_two_makes_the_sum_unknown() -> None:
    status = decided(WorkloadStatus(), m1=4, m2=2)
    views = {"m1": view(1, ready=4), "m2": view(1, ready=2, silent=True)}
    assert with_health(status, views, START, wanted=6).readiness == "?/6"


def test_work_that_never_ran_is_placed_again_when_its_site_returns() -> None:
    status = decided(WorkloadStatus(), m1=2)
    quiet = with_health(status, {"m1": SiteView(None, is_silent=True)}, START)
    assert quiet.phase == "Degraded"
    assert with_health(quiet, {"m1": view(1, "Applied")}, START).phase == "Placed"


def test_desired_replicas_are_those_of_the_spec_also_where_they_are_not_placed() -> None:
    status = unplaced(WorkloadStatus(), "1 full", m1=2)
    assert with_health(status, {"m1": view(1, ready=2)}, START, wanted=5).readiness == "2/5"
    assert with_health(WorkloadStatus(phase="Waiting"), {}, START, wanted=6).readiness == "0/6"
    assert with_health(WorkloadStatus(phase="Refused"), {}, START).readiness == ""


def test_a_job_that_ended_is_ready_in_full_and_stays_so_when_its_site_falls_silent() -> None:
    ended = OrderState(id="x", generation=1, phase="Finished", finished="Succeeded", ready=0)
    done = with_health(decided(WorkloadStatus(), m1=4), {"m1": SiteView(ended, False)}, START)  # noqa: FBT003
    assert (done.phase, done.ready, done.readiness) == ("Completed", 0, "4/4")
    quiet = with_health(done, {"m1": SiteView(ended, True)}, START)  # noqa: FBT003
    assert (quiet.phase, quiet.readiness) == ("Completed", "4/4")


def test_a_job_that_ended_stays_so_when_its_site_knows_nothing_of_it() -> None:
    ended = OrderState(id="x", generation=1, phase="Finished", finished="Succeeded", ready=0)
    done = with_health(
        decided(WorkloadStatus(), m1=4), {"m1": SiteView(ended, is_silent=False)}, START
    )
    lost = with_health(done, {"m1": SiteView(None, is_silent=False)}, START)
    assert lost.phase == "Completed"
    again = decided(lost, new=True, m1=4)
    assert with_health(again, {"m1": SiteView(None, is_silent=False)}, START).phase == "Placed"


def test_a_job_that_ended_at_one_of_two_sites_counts_there_in_full() -> None:
    ended = OrderState(id="x", generation=1, phase="Finished", finished="Succeeded", ready=0)
    status = decided(WorkloadStatus(), m1=3, m2=3)
    views = {"m1": SiteView(ended, is_silent=False), "m2": view(1, ready=2)}
    assert with_health(status, views, START).readiness == "5/6"


def test_jobs_that_ended_complete_and_a_failed_one_degrades() -> None:
    status = decided(WorkloadStatus(), m1=1)
    ended = OrderState(id="x", generation=1, phase="Finished", finished="Succeeded")
    assert with_health(status, {"m1": SiteView(ended, False)}, START).phase == "Completed"  # noqa: FBT003
    failed = OrderState(id="x", generation=1, phase="Failed", finished="Failed")
    assert with_health(status, {"m1": SiteView(failed, False)}, START).phase == "Degraded"  # noqa: FBT003


def test_an_order_that_is_applied_in_an_older_generation_is_still_placing() -> None:
    status = decided(decided(WorkloadStatus(), m1=2), new=True, m1=2)
    assert with_health(status, {"m1": view(1, ready=2)}, START).phase == "Placed"


def test_a_refusal_keeps_running_replicas() -> None:
    status = with_health(decided(WorkloadStatus(), m1=2), {"m1": view(1, ready=2)}, START)
    refusal = NotAccepted(reason="invalid", condition="PolicyNotFound", message="no such policy")
    after = with_refusal(status, refusal, REFERENCE, START)
    assert after.phase == "Running"
    assert after.placement == status.placement
    accepted = next(c for c in after.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "PolicyNotFound")
    still = with_health(after, {"m1": view(1, ready=2)}, START)
    assert (still.phase, still.reason) == (
        "Running",
        "not accepted, the former spec still runs: no such policy",
    )


json_values = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: (
        st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=3), json_values, max_size=5)


def applied(target: object, patch: object) -> object:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = applied(result.get(key), value)
    return result


@given(objects, objects)
def test_the_patch_turns_the_old_status_into_the_new_one(old: object, new: object) -> None:
    assert applied(old, merge_patch(old, new)) == new


@pytest.mark.parametrize("same", [{}, {"a": [1, {"b": 2}]}], ids=["empty", "nested"])
def test_equal_statuses_give_an_empty_patch(same: object) -> None:
    assert merge_patch(same, same) == {}


@pytest.mark.parametrize(
    ("told", "word"),
    [({"recreated": 7}, "Recreated"), ({"not_run": 1, "finished": "Succeeded"}, "NotRun")],
)
def test_what_a_site_makes_again_or_does_not_run_is_neither_running_nor_completed(
    told: dict[str, Any], word: str
) -> None:
    status = decided(WorkloadStatus(), m1=2)
    seen = view(1, ready=2)
    assert seen.state is not None
    state = replace(seen.state, message="ConfigMap a/b, 7 times", **told)
    after = with_health(status, {"m1": replace(seen, state=state)}, START)
    available = next(one for one in after.conditions if one.type == "Available")
    assert (after.phase, available.status, available.reason) == ("Degraded", "False", word)
    assert "7 times" in after.reason


def test_what_one_site_claims_beyond_its_order_makes_up_for_no_other_site() -> None:
    status = decided(WorkloadStatus(), m1=1, m2=2)
    views = {"m1": view(1, ready=2**31 - 1), "m2": view(1, "Applied", ready=1)}
    after = with_health(status, views, START)
    assert after.ready == 2
    assert after.phase != "Running"
