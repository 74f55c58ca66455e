"""What the loops make of the health of sites."""

from scheduler.control.sites.site_readiness import ready_condition
from scheduler.model.site_health import HealthLimits
from tests.support.control_loops import ControlLoops
from tests.support.sites import Raw, nodes, site

SITE = "m1"


def _site() -> Raw:
    return site(SITE, nodes(8), observedAt="2026-11-24T08:00:00Z")


def _events(loops: ControlLoops) -> list[str]:
    found = []
    while body := loops.events.pending.pop():  # what would be written, warnings first
        found.append(body["reason"])
    return found


def _loops() -> ControlLoops:
    loops = ControlLoops()
    loops.sites.limits = HealthLimits(first_hold_seconds=20.0)
    return loops


def _look(loops: ControlLoops, seconds: float) -> str:
    """Lets time pass at once, and looks; without a stall of the process."""
    loops.clock._seconds += seconds  # noqa: SLF001 - a jump, which wakes no loop
    loops.clock_events._check_health()  # noqa: SLF001 - one round of the loop
    return reason(loops)


def reason(loops: ControlLoops) -> str:
    state = loops.sites.states[SITE]
    shown = ready_condition(state, clock=loops.clock)
    assert (shown.status == "True") is state.is_ready
    return shown.reason


async def test_each_change_is_an_event_and_only_silence_makes_a_site_unready() -> None:
    loops = _loops()
    async with loops.started(_site()):
        facts = loops.fleet.facts_of(SITE)
        assert _look(loops, 26) == "Late"
        assert loops.fleet.facts_of(SITE) is facts, "lateness is no fact of decisions"
        assert loops.sites.states[SITE].is_ready
        assert _look(loops, 20) == "Silent"
        assert loops.fleet.facts_of(SITE).is_silent
        assert _look(loops, 300) == "Lost"
        loops.report(_site())
        assert reason(loops) == "Reporting"
        assert _events(loops) == ["Silent", "Lost", "Late", "Returned"]


async def test_a_will_makes_a_site_silent_only_when_reports_are_missing() -> None:
    loops = _loops()
    async with loops.started(_site()):
        loops.controller.on_site_offline(SITE)
        assert _look(loops, 10) == "Reporting"
        assert _look(loops, 6) == "Late"
        assert _look(loops, 10) == "Silent"


async def test_a_site_that_flaps_is_held_and_its_condition_says_so() -> None:
    loops = _loops()
    async with loops.started(_site()):
        for _ in range(3):
            _look(loops, 10)
            loops.report(_site())
        for _ in range(2):
            _look(loops, 50)
            loops.report(_site())
        shown = ready_condition(loops.sites.states[SITE], clock=loops.clock)
        assert (shown.status, shown.reason) == ("False", "Silent")
        assert "it reports again, and counts as there from" in shown.message
        for _ in range(2):
            _look(loops, 10)
            loops.report(_site())
        assert reason(loops) == "Reporting"


async def test_a_stall_of_this_process_makes_no_site_late() -> None:
    loops = _loops()
    async with loops.started(_site()):
        asleep_since_seconds = loops.clock.monotonic()
        loops.clock._seconds += 3601  # noqa: SLF001 - the machine was paused
        loops.clock_events._excuse_stall(asleep_since_seconds)  # noqa: SLF001 - as `run` does
        assert _look(loops, 0) == "Reporting"
        assert _events(loops) == []
        assert _look(loops, 26) == "Late", "from then on silence counts as ever"
