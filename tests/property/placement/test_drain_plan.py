"""Plans of drains, over any candidates: budgets hold, and nothing is forgotten or moved twice."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.model.manifests.budgets import StrictestBudget
from scheduler.placement.failover.drain import DrainCandidate, plan_drain, why_not_at_all

BUDGETS = st.none() | st.builds(
    StrictestBudget, name=st.just("pdb"), allowed=st.integers(0, 6), rule=st.just("rule")
)


@st.composite
def candidates(draw: st.DrawFn) -> list[DrainCandidate]:
    """Workloads with replicas at one or several sites that are to be emptied."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        budget, counts = draw(BUDGETS), draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
        facts = {
            "is_forced": draw(st.booleans()),
            "needs_force": draw(st.sampled_from(["", "it is a job"])),
            "is_whole": draw(st.booleans()),
            "leaving": draw(st.integers(0, 4)),
            "priority": draw(st.integers(-1, 1)),
        }
        for place, replicas in enumerate(counts):
            found.append(
                DrainCandidate(
                    key=("ns", f"w{number}"),
                    site=f"m{place}",
                    cause="drain",
                    replicas=replicas,
                    total=sum(counts),
                    budget=budget,
                    away=draw(st.integers(0, 3)),
                    **facts,  # type: ignore[arg-type]  # drawn above
                )
            )
    return draw(st.permutations(found))


@given(candidates())
def test_no_step_lets_more_replicas_be_away_than_the_budget_allows(
    found: list[DrainCandidate],
) -> None:
    plan = plan_drain(found)
    moved: dict[tuple[str, str], int] = {}
    for step in plan.steps:
        one = step.candidate
        assert 0 <= step.keep < one.replicas
        assert not (one.is_whole and one.budget and step.keep)
        moved[one.key] = moved.get(one.key, 0) + one.replicas - step.keep
        if one.budget is not None:
            assert moved[one.key] + max(one.leaving, one.away) <= one.budget.allowed


@given(candidates())
def test_whatever_does_not_leave_says_why_or_waits_for_what_is_under_way(
    found: list[DrainCandidate],
) -> None:
    plan = plan_drain(found)
    started = {(step.candidate.key, step.candidate.site) for step in plan.steps}
    keys = {key for key, _ in started}
    assert len(started) == len(plan.steps)
    assert started.isdisjoint(plan.stays)
    for one in found:
        is_known = (one.key, one.site) in started | plan.stays.keys()
        assert is_known or one.leaving or one.key in keys
        if why_not_at_all(one):
            assert plan.stays[one.key, one.site]


@given(candidates())
def test_the_order_of_candidates_does_not_matter(found: list[DrainCandidate]) -> None:
    plan = plan_drain(found)
    again = plan_drain(reversed(found))
    assert (plan.steps, plan.stays) == (again.steps, again.stays)
    priorities = [step.candidate.priority for step in plan.steps]
    assert priorities == sorted(priorities, reverse=True)
