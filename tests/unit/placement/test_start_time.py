"""Work that can wait gets a site and a start."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scheduler.model.decision import Decision
from scheduler.model.kinds.site import IntensityForecast
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, Raw, demand, facts_of, fleet_of, grant, nodes, site, workload

MEASURED = {"origin": "measured", "observedAt": "2026-11-23T08:00:00Z"}


def in_hours(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def forecast(*grams: float, **changes: object) -> Raw:
    """One figure an hour from now on."""
    steps = [{"at": in_hours(hour), "gco2PerKwh": each} for hour, each in enumerate(grams)]
    issued = {"origin": "modelled", "observedAt": "2026-11-23T07:00:00Z", "steps": steps}
    return issued | changes


def place(name: str, now_grams: float, expected: Raw | None = None, room: int = 9) -> Raw:
    spec: Raw = {
        "energy": {"pue": 1.2},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.01},
    }
    if expected:
        spec["energy"]["forecast"] = expected
    return site(name, nodes(room), spec=spec, intensity={"gco2PerKwh": now_grams, **MEASURED})


def batch(deadline_hours: float = 8, replicas: int = 2, **prices: float) -> Raw:
    schedule = {"deadline": in_hours(deadline_hours), "durationSeconds": 7200}
    placement = {"preset": "green-batch", "prices": prices}
    return workload(replicas, placement=placement, schedule=schedule)


def decided(asked: Raw, *sites: Raw, now: datetime = NOW) -> Decision:
    return choose(demand(asked), fleet_of(*sites), now=now)


NIGHT = forecast(600, 600, 600, 100, 100, 100, 500, 500)


def test_work_waits_for_a_cleaner_hour_and_says_where_when_and_what_that_saves() -> None:
    found = decided(batch(), place("m1", 600, NIGHT), place("m2", 550))
    assert (found.phase, found.reasons, found.assignment) == ("Waiting", {"deadline": 2}, ())
    assert found.start_at == NOW + timedelta(hours=3)
    assert [(each.site, each.replicas) for each in found.planned] == [("m1", 2)]
    # 2 replicas * (3.3 + 0.4) W * 2 h * PUE 1.2 * 450 g/kWh less
    assert found.line == (
        "start planned at 2026-11-23T11:01:00Z on m1 (2): saves 0.008 CNY and 0.008 kgCO2e"
        " compared with now on m2 (2); latest start 2026-11-23T14:01:00Z"
    )


def test_work_is_placed_at_its_planned_start() -> None:
    then = NOW + timedelta(hours=3)
    m1 = place("m1", 100, NIGHT)
    m1["status"]["observedAt"] = m1["status"]["intensity"]["observedAt"] = in_hours(3)
    assert decided(batch(), m1, now=then).phase == "Placed"


def placed_now(asked: Raw, *sites: Raw) -> bool:
    return decided(asked, *sites).phase == "Placed"


@pytest.mark.parametrize(
    "expected",
    [
        None,
        forecast(600, 600, 600, 590, 590, 590),
        forecast(600, 100),
        forecast(600, 600, 600, 100, 100, origin="yearly"),
        forecast(600, 600, 600, 100, 100, observedAt="2026-11-21T07:00:00Z"),
        forecast(600, 600, 600, 100, 100, observedAt="2027-11-23T07:00:00Z"),
        forecast(100, 100, 600, 100, 100),
    ],
    ids=["none", "too-little", "too-short", "yearly", "old", "future", "clean-now-too"],
)
def test_work_starts_now_where_waiting_saves_nothing_that_is_known(expected: Raw | None) -> None:
    assert placed_now(batch(), place("m1", 600, expected))


def test_a_yearly_factor_allows_no_claim_whatever_a_forecast_says() -> None:
    yearly = place("m1", 600, NIGHT)
    yearly["status"]["intensity"] = {"gco2PerKwh": 600, "origin": "yearly"}
    assert placed_now(batch(), yearly)


def test_waiting_has_a_price() -> None:
    site = place("m1", 600, NIGHT)
    assert not placed_now(batch(waitingCnyPerHour=0.001), site)
    assert placed_now(batch(waitingCnyPerHour=1.0), site)


def test_without_a_price_of_carbon_nothing_waits() -> None:
    assert placed_now(batch(carbonCnyPerKg=0.0), place("m1", 600, NIGHT))


def test_work_does_not_wait_beyond_its_latest_start() -> None:
    m1 = place("m1", 600, forecast(600, 600, 600, 100, 100))
    assert decided(batch(deadline_hours=5.1), m1).start_at == NOW + timedelta(hours=3)
    margin = timedelta(seconds=300)
    assert decided(batch(deadline_hours=5), m1).start_at == NOW + timedelta(hours=3) - margin
    assert placed_now(batch(deadline_hours=2 + 300 / 3600), m1)


@pytest.mark.parametrize(
    "schedule",
    [{"deadline": in_hours(8)}, {"durationSeconds": 7200}, {}],
    ids=["no-duration", "no-deadline", "neither"],
)
def test_work_that_does_not_say_how_long_and_until_when_does_not_wait(schedule: Raw) -> None:
    asked = batch()
    asked["spec"]["schedule"] = schedule
    assert placed_now(asked, place("m1", 600, NIGHT))


def test_running_replicas_are_not_stopped_to_wait() -> None:
    asked = batch(replicas=3)
    asked["status"] = {"placement": {"groups": [{"sites": ["m1"], "replicas": 2}]}}
    assert placed_now(asked, place("m1", 600, NIGHT))


def test_no_start_is_planned_at_a_site_that_is_full_now() -> None:
    assert placed_now(batch(), place("m1", 600, NIGHT, room=0), place("m2", 600))


def test_a_cleaner_site_now_beats_a_later_start_elsewhere() -> None:
    found = decided(batch(), place("m1", 600, NIGHT), place("m2", 90))
    assert [each.site for each in found.assignment] == ["m2"]


def test_replicas_are_divided_at_the_planned_start_as_at_any_other() -> None:
    asked = batch(replicas=4)
    asked["spec"]["placement"]["spread"] = [{"by": "site", "minGroups": 2, "maxPerGroup": 2}]
    found = decided(asked, place("m1", 600, NIGHT), place("m2", 600, NIGHT), place("m3", 600))
    assert [(each.site, each.replicas) for each in found.planned] == [("m1", 2), ("m2", 2)]


def cheap_nights(name: str, *, origin: str = "yearly") -> Raw:
    """NOW is 16:01 in China; its night begins at 22:00."""
    found = place(name, 600)
    night = {"fromHour": 22, "toHour": 8, "energyCnyPerKwh": 0.2}
    found["spec"]["prices"]["tariff"] = [night]
    found["status"]["intensity"]["origin"] = origin
    return found


def test_work_waits_for_a_cheaper_hour_where_a_yearly_factor_knows_no_cleaner_one() -> None:
    found = decided(batch(deadline_hours=12), cheap_nights("m1"))
    assert found.start_at == datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
    # 2 replicas * (3.3 + 0.4) W * 2 h * PUE 1.2 * 0.4 CNY/kWh less; no cleaner, by a yearly factor
    assert "saves 0.0071 CNY and 0 kgCO2e compared with now on m1 (2)" in found.line


def test_the_present_intensity_counts_for_every_hour_where_there_is_no_forecast() -> None:
    found = decided(batch(deadline_hours=12), cheap_nights("m1", origin="measured"))
    assert found.start_at == datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize("present", [100, 500, 900])
@pytest.mark.parametrize("flat", [300, 450])
def test_a_flat_forecast_is_no_reason_to_wait_whatever_the_present_figure(
    present: float, flat: float
) -> None:
    m1, m2 = place("m1", present, forecast(*[flat] * 12)), place("m2", 400)
    found = decided(batch(), m1, m2)
    assert (found.phase, found.assignment[0].site) == ("Placed", "m1" if flat < 400 else "m2")


@pytest.mark.parametrize("present", [50, 600, 5000])
def test_the_decision_at_the_planned_start_stands_on_the_series_of_the_plan(present: float) -> None:
    planned = decided(batch(), place("m1", 600, NIGHT), place("m2", 550))
    assert planned.start_at is not None
    m1, m2 = place("m1", present, NIGHT), place("m2", 550)
    for each in (m1, m2):
        each["status"]["observedAt"] = each["status"]["intensity"]["observedAt"] = in_hours(3)
    found = decided(batch(), m1, m2, now=planned.start_at)
    assert (found.phase, found.assignment) == ("Placed", planned.planned)


def test_hours_that_a_forecast_leaves_out_count_by_the_present_figure_for_a_start_now() -> None:
    half = forecast(100)  # of the two hours of the run
    found = decided(batch(), place("m1", 600, half), place("m2", 340), place("m3", 360))
    assert found.assignment[0].site == "m2"
    found = decided(batch(), place("m1", 600, half), place("m3", 360))
    assert found.assignment[0].site == "m1"


@pytest.mark.parametrize(
    ("expected", "known", "chosen"),
    [
        (forecast(900, 900), forecast(900, 900), "m2"),  # one series: the forecast
        (forecast(100, 100), forecast(900, 900), "m1"),  # a new one replaces it
        (None, None, "m1"),  # never had one: the present figure
        (None, forecast(900, 900), "m2"),  # lost
        (None, forecast(100, 100), "m1"),  # lost, and the present figure is the worse
        (forecast(900, 900, origin="unknown"), forecast(900, 900), "m2"),
        (forecast(900, 900, observedAt="2026-11-21T07:00:00Z"), None, "m2"),  # old
        (
            {**forecast(900, 100), "steps": forecast(900, 100)["steps"][1:]},
            forecast(900, 100),
            "m2",
        ),
        ({**forecast(900, 100), "steps": forecast(900, 100)["steps"][1:]}, None, "m1"),
    ],
)
def test_what_a_forecast_last_said_counts_where_it_says_nothing_any_more(
    expected: Raw | None, known: Raw | None, chosen: str
) -> None:
    m1, m2 = place("m1", 300, expected), place("m2", 450)
    before = msgspec.convert(known, IntensityForecast) if known else None
    grants = grant("m1", "m2")
    fleet = Fleet([facts_of(m1, grants, last_forecast=before), facts_of(m2, grants)])
    found = choose(demand(batch()), fleet, now=NOW)
    assert (found.phase, found.assignment[0].site) == ("Placed", chosen)


def test_facts_that_were_recorded_without_a_kept_forecast_are_decided_as_then() -> None:
    old = forecast(900, 900, observedAt="2026-11-21T07:00:00Z")
    facts = [facts_of(one, grant("m1", "m2")) for one in (place("m1", 300, old), place("m2", 450))]
    recorded = [msgspec.structs.replace(one, kept_forecast=None) for one in facts]
    found = choose(demand(batch()), Fleet(recorded), now=NOW)
    assert found.assignment[0].site == "m1"


def test_a_site_that_lost_its_forecast_gets_no_later_start_by_a_tariff_alone() -> None:
    m1 = facts_of(
        cheap_nights("m1", origin="measured"),
        grant("m1"),
        last_forecast=msgspec.convert(forecast(600, 600), IntensityForecast),
    )
    asked = demand(batch(deadline_hours=12))
    assert choose(asked, Fleet([m1]), now=NOW).phase == "Placed"
    never = msgspec.structs.replace(m1, kept_forecast=None)
    assert choose(asked, Fleet([never]), now=NOW).start_at is not None


def test_a_tariff_and_a_forecast_are_weighed_together() -> None:
    both = cheap_nights("m1", origin="measured")
    both["spec"]["energy"]["forecast"] = forecast(*[600] * 5, 300, 900, 900, 900, 900)
    found = decided(batch(deadline_hours=12), both)
    # at 13:01Z an hour at 300 and 1 CNY/kg beats the night that begins at 14:00Z
    assert found.start_at is not None
    assert found.start_at <= datetime(2026, 11, 23, 13, 1, tzinfo=UTC)


def test_the_explanation_shows_the_costs_of_the_planned_start() -> None:
    explanation = explain(
        demand(batch(waitingCnyPerHour=0.001)), fleet_of(place("m1", 600, NIGHT)), now=NOW
    )
    costs = {each.term: each for each in explanation.sites[0].costs}
    assert costs["waiting"].cny_per_replica_hour == pytest.approx(0.001 * 3 / 2)
    assert costs["carbon"].cny_per_replica_hour == pytest.approx(0.0037 * 1.2 * 0.1, rel=0.01)
    assert (costs["carbon"].origin, costs["carbon"].age_seconds) == ("assumed", 3660.0)


def test_a_start_now_has_no_waiting_cost() -> None:
    explanation = explain(
        demand(batch(waitingCnyPerHour=0.001)), fleet_of(place("m1", 600)), now=NOW
    )
    assert "waiting" not in {each.term for each in explanation.sites[0].costs}


TOO_LATE = (
    "too late for the deadline: with a duration of 7200 s the latest start was 2026-11-23T07:01:00Z"
)


@pytest.mark.parametrize(
    ("schedule", "phase", "sentence"),
    [
        (
            {"earliest": in_hours(1)},
            "Waiting",
            "the workload may not start before 2026-11-23T09:01:00Z",
        ),
        (
            {"deadline": in_hours(1), "durationSeconds": 7200},
            "Refused",
            TOO_LATE,
        ),
    ],
    ids=["early", "late"],
)
def test_the_line_about_a_wrong_time_names_a_right_one(
    schedule: Raw, phase: str, sentence: str
) -> None:
    found = decided(workload(1, schedule=schedule), place("m1", 600))
    assert (found.phase, found.reasons) == (phase, {"deadline": 1})
    assert found.line == f"0/1 sites are feasible: 1 deadline; {sentence}"


def test_a_replica_that_is_too_late_to_start_waits_while_the_others_run() -> None:
    late = workload(
        3, placed={"m1": 2}, schedule={"deadline": in_hours(1), "durationSeconds": 7200}
    )
    found = decided(late, place("m1", 600))
    assert (found.phase, found.replicas, found.reasons) == ("Waiting", 2, {"deadline": 1})
    assert found.line.endswith(TOO_LATE)


def test_a_plan_that_is_no_longer_better_starts_at_once_and_says_what_it_cost() -> None:
    asked = batch(waitingCnyPerHour=0.001)
    planned = decided(asked, place("m1", 600, NIGHT), place("m2", 550))
    assert planned.plan is not None
    assert planned.plan.start_at == planned.start_at
    later = NOW + timedelta(hours=1)
    m1, m2 = place("m1", 600, forecast(*[600] * 9)), place("m2", 550)
    for each in (m1, m2):
        each["status"]["observedAt"] = each["status"]["intensity"]["observedAt"] = in_hours(1)
    asked["status"]["plan"] = msgspec.to_builtins(planned.plan)
    found = decided(asked, m1, m2, now=later)
    assert (found.phase, found.plan) == ("Placed", None)
    # 2 replicas * 1 h * 0.001 CNY/h; the run itself costs the same as then
    (note,) = found.notes
    assert note == (
        "the start planned at 2026-11-23T11:01:00Z is no longer better; started at once after 1 h"
        " of waiting, which cost 0.002 CNY"
    )


def test_a_plan_that_moves_remembers_since_when_the_work_waits() -> None:
    asked = batch()
    planned = decided(asked, place("m1", 600, NIGHT))
    asked["status"]["plan"] = msgspec.to_builtins(planned.plan)
    later = NOW + timedelta(hours=1)
    m1 = place("m1", 600, forecast(600, 600, 600, 600, 100, 100, 500))
    m1["status"]["observedAt"] = m1["status"]["intensity"]["observedAt"] = in_hours(1)
    again = decided(asked, m1, now=later)
    assert planned.plan is not None
    assert again.plan is not None
    assert again.plan.since == planned.plan.since
    assert again.plan.start_at == NOW + timedelta(hours=4)
