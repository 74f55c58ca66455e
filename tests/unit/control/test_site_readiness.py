"""What condition `Ready` of a site says for people, and what decisions see of it."""

from scheduler.control.ports.agents import SiteReport
from scheduler.control.sites.last_figures import with_last_figures
from scheduler.control.sites.site_readiness import ready_condition
from scheduler.control.sites.site_state import SiteState
from scheduler.model.kinds.site import SiteStatus
from tests.support.fake_clock import FakeClock


def unreachable(problem: str) -> SiteState:
    report = SiteReport(
        site="m1",
        observed_seconds=0.0,
        figures=SiteStatus(),
        has_executor=True,
        is_cluster_reachable=False,
        cluster_problem=problem,
    )
    return SiteState(report=report, is_cluster_reachable=False)


def test_people_read_why_a_cluster_does_not_answer_and_decisions_do_not() -> None:
    why = "Secret kapok-members/m1: not found on the hub"
    shown = ready_condition(unreachable(why), clock=FakeClock())
    assert (shown.reason, shown.message.endswith(f"does not answer it: {why}")) == (
        "ClusterUnreachable",
        True,
    )
    as_decided = ready_condition(unreachable(why), clock=None)
    assert as_decided == ready_condition(unreachable(""), clock=None)
    assert why not in as_decided.message


def test_what_was_known_of_the_cluster_stays_and_the_newest_reason_is_kept() -> None:
    first, second = unreachable("expired").report, unreachable("refused").report
    assert first is not None
    assert second is not None
    merged = with_last_figures(second, known=first, site=None, clock=FakeClock())
    assert merged.cluster_problem == "refused"
