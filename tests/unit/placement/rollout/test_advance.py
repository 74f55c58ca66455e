"""Steps of a rollout: which group has the new content, what stops it, and what takes it back."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.model.decision import RolloutStep
from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.rollout import Rollout, RolloutGroup
from scheduler.model.rollout.question import RolloutQuestion, RolloutSite
from scheduler.placement.rollout.advance import advance, format_step
from scheduler.placement.rollout.groups import find_overlap, lay_out
from tests.support.fake_clock import START

SITES = ("a", "b", "c", "d")
LABELS = {name: {"ring": "canary" if name == "a" else "main"} for name in SITES}


def ring(name: str, share: float | None = None) -> RolloutGroup:
    return RolloutGroup(
        name=name, site_selector=LabelSelector(match_labels={"ring": name}), share=share
    )


RULES = Rollout(groups=(ring("canary"),))


def asked(
    progress: str = "RRRR",
    former: str = "",
    rules: Rollout = RULES,
    **more: Any,  # noqa: ANN401 - fields of a question
) -> RolloutQuestion:
    """A question about four sites; a letter each says ready, placing, failed or silent."""
    words = {"R": "ready", "P": "placing", "F": "failed", "S": "silent"}
    sites = tuple(
        RolloutSite(
            site=name,
            replicas=2,
            former=name in former,
            progress=words[letter],  # type: ignore[arg-type]
            surge=1,
        )
        for name, letter in zip(SITES, progress, strict=True)
    )
    return RolloutQuestion(rules=rules, sites=sites, since=START, **more)


def step(question: RolloutQuestion, seconds: float = 0.0, full: str = "") -> RolloutStep:
    return advance(
        question,
        LABELS,
        now=START + timedelta(seconds=seconds),
        lacks_room=lambda site, _pods: site in full,
    )


def test_a_change_reaches_the_first_group_alone() -> None:
    found = step(asked(former="abcd", starts=True))
    assert (found.phase, found.released, found.groups) == ("Progressing", 1, 2)
    assert (found.group, found.former) == ("canary", ("b", "c", "d"))
    assert format_step(found) == (
        "; rollout at canary (1 of 2): new content for a; waits for ready replicas at a"
    )


def test_the_next_group_waits_until_the_one_before_is_ready() -> None:
    placing = step(asked("PRRR", former="bcd", released=1))
    assert (placing.released, placing.former) == (1, ("b", "c", "d"))
    ready = step(asked("RRRR", former="bcd", released=1))
    assert (ready.phase, ready.released, ready.group) == ("Progressing", 2, "the rest")
    assert ready.former == ()


def test_it_is_complete_once_the_last_group_is_ready() -> None:
    assert step(asked("RRPR", released=2)).phase == "Progressing"
    done = step(asked("RRRR", released=2))
    assert (done.phase, done.former) == ("Complete", ())


def test_a_group_soaks_before_the_next_one() -> None:
    rules = msgspec.structs.replace(RULES, soak_seconds=60)
    question = asked(former="bcd", rules=rules, released=1, ready_since=START)
    assert step(question, seconds=59.0).released == 1
    assert step(question, seconds=60.0).released == 2


def test_the_soak_begins_when_the_group_is_ready() -> None:
    rules = msgspec.structs.replace(RULES, soak_seconds=60)
    assert step(asked(former="bcd", rules=rules, released=1), seconds=300.0).released == 1


@pytest.mark.parametrize(
    ("on_failure", "phase", "former"),
    [("Pause", "Paused", ("b", "c", "d")), ("Rollback", "RolledBack", SITES)],
)
def test_a_group_that_fails_stops_the_rollout(
    on_failure: str, phase: str, former: tuple[str, ...]
) -> None:
    rules = msgspec.structs.replace(RULES, on_failure=on_failure)
    found = step(asked("FRRR", former="bcd", rules=rules, released=1))
    assert (found.phase, found.former) == (phase, former)
    assert "canary failed: failed at a" in found.because


def test_a_group_that_is_not_ready_by_the_deadline_has_failed() -> None:
    question = asked("PRRR", former="bcd", released=1)
    assert step(question, seconds=599.0).phase == "Progressing"
    late = step(question, seconds=600.0)
    assert late.phase == "Paused"
    assert "canary was not ready after 600 s: not ready at a" in late.because


def test_silence_pauses_and_never_rolls_back() -> None:
    rules = msgspec.structs.replace(RULES, on_failure="Rollback")
    late = step(asked("SRRR", former="bcd", rules=rules, released=1), seconds=601.0)
    assert (late.phase, late.former) == ("Paused", ("b", "c", "d"))
    assert "silence at a" in late.because


def test_the_ready_share_may_leave_some_sites_out() -> None:
    rules = Rollout(groups=(ring("main"), ring("canary")), success_ready_ratio=0.6)
    question = asked("RRRP", former="a", rules=rules, released=1)
    assert step(question).released == 2
    failing = asked("RRFF", former="a", rules=rules, released=1)
    assert step(failing).phase == "Paused"
    assert step(asked("RRRF", former="a", rules=rules, released=1)).released == 2


def test_a_group_waits_for_the_room_of_its_surge() -> None:
    found = step(asked(former="bcd", released=1), full="c")
    assert (found.phase, found.released, found.former) == ("Progressing", 1, ("b", "c", "d"))
    assert found.waits_for == "the rest waits for room to change its pods at c"


def test_without_surge_no_room_is_asked_for() -> None:
    question = asked(former="bcd", released=1)
    sites = tuple(msgspec.structs.replace(one, surge=0) for one in question.sites)
    assert step(msgspec.structs.replace(question, sites=sites), full="bcd").released == 2


def test_words_hold_go_on_and_take_back() -> None:
    paused = step(asked(former="bcd", released=1, word="pause"))
    assert (paused.phase, paused.released) == ("Paused", 1)
    stays = step(asked(former="bcd", released=1, phase="Paused"))
    assert (stays.phase, stays.former) == ("Paused", ("b", "c", "d"))
    on = step(asked(former="bcd", released=1, phase="Paused", word="resume"))
    assert (on.phase, on.released) == ("Progressing", 2)
    undone = step(asked(former="bcd", released=1, word="undo"))
    assert (undone.phase, undone.former) == ("RolledBack", SITES)


def test_what_was_rolled_back_starts_again_by_resume_from_the_first_group() -> None:
    again = step(asked(former="abcd", phase="RolledBack", word="resume"))
    assert (again.phase, again.released, again.former) == ("Progressing", 1, ("b", "c", "d"))


def test_resume_gives_a_late_group_its_time_again_and_a_failed_one_none() -> None:
    late = asked("PRRR", former="bcd", released=1, phase="Paused", word="resume")
    assert step(late, seconds=900.0).phase == "Progressing"
    failed = asked("FRRR", former="bcd", released=1, phase="Paused", word="resume")
    assert step(failed, seconds=900.0).phase == "Paused"


def test_a_newer_change_starts_again_and_reaches_what_the_replaced_one_had_reached() -> None:
    found = step(asked("RFPR", former="cd", released=2, starts=True))
    assert (found.phase, found.released, found.group) == ("Progressing", 1, "canary")
    assert found.former == ("c", "d")


def test_a_change_back_to_the_former_content_ends_the_rollout() -> None:
    found = step(asked("FRRR", former="bcd", released=1, phase="Paused", is_back=True))
    assert (found.phase, found.former) == ("Complete", ())


def test_a_former_content_that_is_not_known_stays_where_it_is_and_is_not_given_back() -> None:
    question = asked(former="bc", released=1, word="undo", former_is_complete=False)
    sites = tuple(one for one in question.sites if one.site != "d")  # a new place
    found = step(msgspec.structs.replace(question, sites=sites))
    assert (found.phase, found.former) == ("Paused", ("b", "c"))
    assert "cannot be given back" in found.because
    rules = msgspec.structs.replace(RULES, on_failure="Rollback")
    failed = asked("FRRR", former="bcd", rules=rules, released=1, former_is_complete=False)
    assert step(failed).phase == "Paused"


def test_a_workload_that_runs_nowhere_has_nothing_to_roll_out() -> None:
    found = advance(asked(starts=True), {}, now=START, lacks_room=lambda _site, _pods: True)
    assert found.phase == "Complete"


def test_a_new_site_has_the_content_of_its_group() -> None:
    question = asked(former="cd", released=1)
    sites = tuple(one for one in question.sites if one.site in "cd")
    found = step(msgspec.structs.replace(question, sites=sites, phase="Paused"))
    assert found.former == ("b", "c", "d")  # a is of the first group, b is not


def test_shares_are_of_the_sites_that_no_selector_takes() -> None:
    groups = (RolloutGroup(share=0.3), ring("canary"), RolloutGroup(name="half", share=0.5))
    found = lay_out(groups, LABELS, ())
    assert found.names == ("group 1", "canary", "half", "the rest")[: len(found.names)]
    assert [found.sites_of(index) for index in range(3)] == [["b"], ["a"], ["c", "d"]]


def test_a_share_never_takes_the_new_content_back() -> None:
    groups = (RolloutGroup(share=0.25),)
    assert lay_out(groups, LABELS, ()).sites_of(0) == ["a"]
    assert lay_out(groups, LABELS, {"c"}).sites_of(0) == ["c"]


def test_a_share_of_selected_sites_leaves_the_others_to_the_last_group() -> None:
    found = lay_out((ring("main", share=0.5), RolloutGroup(share=1.0)), LABELS, ())
    assert [found.sites_of(index) for index in range(3)] == [["b", "c"], ["a"], ["d"]]
    assert found.names[2] == "the rest"


def test_overlapping_groups_are_found_by_name() -> None:
    every = RolloutGroup(site_selector=LabelSelector(match_labels={}))
    assert find_overlap((ring("canary"), ring("main")), LABELS) == ""
    assert find_overlap((ring("canary"), every), LABELS) == (
        "canary and group 2 both select site a"
    )
