"""Safety of rollouts: whatever sites report, later groups keep the former content."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model.decision import RolloutStep
from scheduler.model.kinds.fields import LabelSelector
from scheduler.model.kinds.rollout import Rollout, RolloutGroup
from scheduler.model.rollout.question import RolloutQuestion, RolloutSite
from scheduler.placement.rollout.advance import advance, is_ready
from scheduler.placement.rollout.groups import lay_out
from tests.support.counts import examples
from tests.support.fake_clock import START

NAMES = tuple("abcdef")
LABELS = {name: {"ring": "early" if name in "ab" else "late"} for name in NAMES}
GROUPS = st.sampled_from(
    [
        (RolloutGroup(share=0.2), RolloutGroup(share=0.4)),
        (RolloutGroup(site_selector=LabelSelector(match_labels={"ring": "early"})),),
        (
            RolloutGroup(site_selector=LabelSelector(match_labels={"ring": "late"}), share=0.5),
            RolloutGroup(share=1.0),
        ),
    ]
)
RULES = st.builds(
    Rollout,
    groups=GROUPS,
    success_ready_ratio=st.sampled_from([0.5, 0.9, 1.0]),
    soak_seconds=st.sampled_from([0, 60]),
    on_failure=st.sampled_from(["Pause", "Rollback"]),
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Rollout, list[dict[str, str]], list[str]]:
    """Rules, what sites report in each step, and the word that is said in it."""
    states = st.sampled_from(["placing", "ready", "ready", "ready", "failed", "silent"])
    steps = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, states)), max_size=8))
    words = [draw(st.sampled_from(["", "", "", "pause", "resume", "undo"])) for _ in steps]
    return draw(RULES), steps, words


@settings(max_examples=examples(300))
@given(stories())
def test_a_group_gets_the_new_content_only_after_the_one_before_was_ready(
    story: tuple[Rollout, list[dict[str, str]], list[str]],
) -> None:
    rules, reports, words = story
    question = RolloutQuestion(
        rules=rules, starts=True, sites=_sites(dict.fromkeys(NAMES, "ready"), set(NAMES))
    )
    step, since = _step(question, 0), 0
    for minute, (report, word) in enumerate(zip(reports, words, strict=True), start=1):
        if step.phase == "Complete":
            assert step.former == ()
            return
        question = RolloutQuestion(
            rules=rules,
            phase=step.phase,
            released=step.released,
            since=START + timedelta(minutes=since),
            ready_since=START + timedelta(minutes=minute - 1),
            sites=_sites(report, set(step.former)),
            word=word,  # type: ignore[arg-type]
        )
        before, step = step, _step(question, minute)
        since = minute if word or step.released > before.released else since
        new_before, new = set(NAMES) - set(before.former), set(NAMES) - set(step.former)
        if step.phase == "RolledBack":
            assert not new
            continue
        assert new >= new_before, "only a rollback takes the new content back"
        if new > new_before:
            assert is_ready(question) or before.phase == "RolledBack" or not before.released
            assert step.phase in {"Progressing", "Complete"}
        layout = lay_out(rules.groups, LABELS, new_before)
        assert {layout.group_of[one] for one in new - new_before} <= set(range(step.released))


def _sites(report: dict[str, str], former: set[str]) -> tuple[RolloutSite, ...]:
    return tuple(
        RolloutSite(site=name, replicas=1, former=name in former, progress=state)  # type: ignore[arg-type]
        for name, state in sorted(report.items())
    )


def _step(question: RolloutQuestion, minute: int) -> RolloutStep:
    now = START + timedelta(minutes=minute)
    return advance(question, LABELS, now=now, lacks_room=lambda _site, _pods: False)
