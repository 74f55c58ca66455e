"""Energy is counted by hour, appended once an hour, and goes on after a kill."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.energy_rig import KeptPages, Rig
from tests.support.fake_clock import FakeClock
from tests.support.sites import demand, workload


async def _started() -> Rig:
    rig = Rig()
    await rig.collector.sync()
    rig.report(0.0)
    return rig


async def test_an_hour_is_one_page_with_its_figures() -> None:
    rig = await _started()

    await rig.run_for(66, watts=1000.0)

    assert len(rig.kept.pages) == 2  # the first after 5 minutes, the next an hour later
    row = rig.rows[0]
    assert sum(one.it_joules for one in rig.rows) == pytest.approx(65 * 60_000, abs=61_000)
    assert (row.pue, row.pue_origin, row.energy_cny_per_kwh) == (1.3, "assumed", 0.6)
    assert row.location is not None
    assert row.residual is not None
    assert (row.location.origin, row.location.gco2_per_kwh) == ("yearly", 441.9)
    assert row.residual.gco2_per_kwh == 609.6
    assert row.users == {"": row.it_joules}


async def test_tenants_share_what_their_replicas_draw_and_the_rest_is_the_sites() -> None:
    rig = await _started()
    placed = demand(workload(10, requests={"cpu": "4"}))
    rig.usage.set(("health", "appointment"), placed, {"gz-core": 10})

    await rig.run_for(61, watts=1000.0)

    users = rig.rows[0].users
    # 40 cores x 3.33 W x half load = 66.6 W of 1000 W
    assert users["health-bureau"] / rig.rows[0].it_joules == pytest.approx(0.0666, abs=0.001)
    assert sum(users.values()) == rig.rows[0].it_joules


async def test_an_hourly_figure_of_the_agent_comes_before_the_yearly_factor() -> None:
    rig = await _started()
    await rig.clock.advance(60)
    rig.report(60_000.0, intensity=312.0)

    await rig.run_for(61, watts=1000.0, since=60_000.0)

    assert rig.rows[0].location is not None
    assert rig.rows[0].location.gco2_per_kwh == 312.0
    assert rig.rows[0].location.boundary == "unstated"


async def test_a_kilogram_figure_of_an_agent_is_not_taken_for_the_greenest() -> None:
    rig = await _started()
    await rig.clock.advance(60)
    rig.report(60_000.0, intensity=0.312)

    await rig.run_for(61, watts=1000.0, since=60_000.0)

    assert rig.rows[0].location is not None
    assert rig.rows[0].location.gco2_per_kwh == 441.9


async def test_a_full_disk_loses_nothing() -> None:
    rig = await _started()
    rig.kept.is_full = True
    joules = await rig.run_for(130, watts=1000.0)
    rig.kept.is_full = False

    await rig.run_for(61, watts=1000.0, since=joules)

    assert sum(one.it_joules for one in rig.rows) >= 180 * 60_000
    await rig.collector.append_all()
    assert sum(one.it_joules for one in rig.rows) == pytest.approx(191 * 60_000, abs=1)


async def test_a_ledger_that_is_away_is_said_once_and_counting_begins_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.kept.is_away = True
    for _ in range(3):
        await rig.collector.sync()
        rig.report(0.0)
    assert len(caplog.records) == 1
    assert "not recorded yet: no answer" in caplog.text

    rig.kept.is_away = False
    await rig.collector.sync()
    rig.report(0.0)
    await rig.run_for(2, watts=1000.0)

    assert sum(row.it_joules for row in rig.open_rows) == 120_000


async def test_a_report_before_the_last_page_is_read_counts_nothing() -> None:
    rig = Rig()

    rig.report(1e9)

    assert rig.open_rows == []


async def test_a_counter_that_changed_is_unmeasured_time_and_not_zero() -> None:
    rig = await _started()
    await rig.run_for(5, watts=1000.0)
    await rig.clock.advance(600)
    rig.report(10.0, counter="b")

    rows = [*rig.rows, *rig.open_rows]

    assert sum(one.unmeasured_seconds for one in rows) == pytest.approx(600)
    assert sum(one.it_joules for one in rows) == 300_000


async def test_a_site_without_totals_has_no_rows() -> None:
    rig = await _started()
    for _ in range(5):
        await rig.clock.advance(60)
        rig.report(None)

    (row,) = rig.open_rows
    assert row.it_joules == 0
    assert row.unmeasured_seconds == pytest.approx(300)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=150), min_size=1, max_size=4))
async def test_processes_that_are_killed_lose_no_joule(runs: list[int]) -> None:
    kept, clock = KeptPages(), FakeClock()
    rig = Rig(kept, clock)
    await rig.collector.sync()
    rig.report(0.0)
    joules = await rig.run_for(61, watts=500.0)
    for minutes in runs:
        rig = Rig(kept, clock)  # the process before was killed
        await rig.collector.sync()
        joules = await rig.run_for(minutes, watts=500.0, since=joules)
    await rig.collector.append_all()

    rows = [row for page in kept.pages for row in page.hours]
    assert sum(row.it_joules for row in rows) == pytest.approx(joules, abs=len(kept.pages) + 1)
    assert sum(row.seconds for row in rows) == pytest.approx(clock.monotonic(), abs=1)


async def test_watts_that_are_kilowatts_are_doubted_by_name() -> None:
    rig = await _started()
    placed = demand(workload(10, requests={"cpu": "64"}))
    rig.usage.set(("health", "training"), placed, {"gz-core": 10})

    await rig.run_for(4, watts=1.5)  # 1.5 kW, written in kW

    (row,) = rig.open_rows
    assert "its meter says 1.5 W where what is placed draws" in row.doubt
    assert "is the power in kW?" in row.doubt
    assert sum(row.users.values()) == row.it_joules
    right = await _started()
    right.usage.set(("health", "training"), placed, {"gz-core": 10})
    await right.run_for(4, watts=1500.0)
    assert [one.doubt for one in right.open_rows] == [""]


async def test_looking_at_what_is_open_changes_nothing() -> None:
    rig = await _started()
    for minute in range(1, 4):
        await rig.run_for(1, watts=333.3, since=333.3 * 60 * (minute - 1))
        assert rig.open_rows == rig.open_rows
    await rig.collector.append_all()

    assert sum(one.it_joules for one in rig.rows) == int(333.3 * 180)
