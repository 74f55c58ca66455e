"""The power of a placement: curve before table, PUE, and own supply that is given once."""

import pytest

from scheduler.energy.coefficients import (
    DEFAULT_CORE_POWER,
    core_power_of,
    listed_microarchitectures,
)
from scheduler.energy.placement_power import (
    Hardware,
    Load,
    PlacementPower,
    Supply,
    power_of_placement,
)


def _power(
    load: Load,
    hardware: Hardware | None = None,
    *,
    pue: float | None = 1.25,
    supply: Supply | None = None,
) -> tuple[PlacementPower, Supply]:
    return power_of_placement(
        load, hardware or Hardware(), pue=pue, pue_origin="measured", supply=supply or Supply()
    )


def test_every_listed_core_draws_more_when_busy_and_names_its_source() -> None:
    for name in listed_microarchitectures():
        core = core_power_of(name)
        assert core.marginal_watts > 0
        assert (core.origin, "SPECpower" in core.source) == ("modelled", True)


@pytest.mark.parametrize("name", ["kunpeng-920", "hygon", "", "飞腾"])
def test_a_core_without_published_figures_is_assumed_and_says_so(name: str) -> None:
    assert core_power_of(name) == DEFAULT_CORE_POWER
    assert core_power_of(name).origin == "assumed"


def test_cores_memory_cards_and_nodes_to_switch_on_add_up_times_pue() -> None:
    hardware = Hardware(core=core_power_of("epyc-2"), idle_node_watts=120.0)

    power, _ = _power(Load(cores=10, gibibytes=50, cards=1, nodes_switched_on=2), hardware)

    expected = 10 * 1.22 + 50 * 0.4 + 300 + 240
    assert power.it_watts == pytest.approx(expected)
    assert power.total_watts == pytest.approx(expected * 1.25)
    assert power.grid_watts == power.total_watts


def test_a_measured_curve_wins_over_the_table() -> None:
    hardware = Hardware(curve=((0, 1000), (100, 1200), (200, 1800)))

    power, _ = _power(Load(cores=50, cores_before=75), hardware, pue=1.0)

    # from 75 cores (1150 W) to 125 cores (1350 W)
    assert power.it_watts == pytest.approx(200.0)
    assert power.origin == "measured"


def test_a_curve_says_nothing_beyond_its_last_point() -> None:
    hardware = Hardware(curve=((0, 1000), (100, 1200)))

    power, _ = _power(Load(cores=50, cores_before=75), hardware)

    assert power.it_watts == pytest.approx(50 * DEFAULT_CORE_POWER.marginal_watts)
    assert power.origin == "assumed"


@pytest.mark.parametrize("pue", [None, 0.9, float("nan")])
def test_a_pue_that_is_missing_or_below_one_leaves_the_total_unknown(pue: float | None) -> None:
    power, _ = _power(Load(cores=1), pue=pue)

    assert power.total_watts is None
    assert power.mean_gco2_per_kwh(400.0, Supply()) is None
    assert power.origin == "unknown"


def test_idle_power_that_is_not_known_is_not_zero() -> None:
    power, _ = _power(Load(cores=1, nodes_switched_on=1))

    assert power.total_watts is None


def test_surplus_and_battery_are_given_once() -> None:
    supply = Supply(pv_surplus_watts=500, battery_watts=300, battery_gco2_per_kwh=170.0)
    load = Load(cores=0, cards=2)  # 750 W with PUE

    first, left = _power(load, supply=supply)
    second, nothing = _power(load, supply=left)

    assert (first.pv_watts, first.battery_watts, first.grid_watts) == (500, 250, 0)
    assert (second.pv_watts, second.battery_watts, second.grid_watts) == (0, 50, 700)
    assert (nothing.pv_surplus_watts, nothing.battery_watts) == (0, 0)


def test_a_battery_carries_what_was_put_in_for_a_kwh_out() -> None:
    supply = Supply(battery_watts=1e6, battery_gco2_per_kwh=170.0, round_trip_ratio=0.85)

    power, _ = _power(Load(cores=0, cards=1), supply=supply)

    assert power.mean_gco2_per_kwh(None, supply) == pytest.approx(200.0)


def test_a_battery_of_unknown_charge_gives_nothing() -> None:
    power, _ = _power(Load(cores=0, cards=1), supply=Supply(battery_watts=1e6))

    assert power.battery_watts == 0
    assert power.mean_gco2_per_kwh(None, Supply()) is None
