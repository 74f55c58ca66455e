"""The power of a placement at one site: what its replicas add, and who supplies it.

The chain is: what cores, memory and cards add, plus the idle power of nodes that must be switched
on, times PUE, less what the roof and the battery give. A measured curve of the site comes before
every table. Surplus and battery are handed over as a `Supply` that shrinks with every draw, so no
watt is given to two placements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from scheduler.energy.coefficients import DEFAULT_CORE_POWER, CorePower
from scheduler.model.kinds.fields import Origin

_WATTS_PER_GIBIBYTE = 0.4
"""0.392 W/GB: Cloud Carbon Footprint, mean of Crucial's and Micron's figures."""
_WATTS_PER_CARD = 300.0
_BEST_FIRST: tuple[Origin, ...] = (
    "measured",
    "estimated",
    "modelled",
    "yearly",
    "assumed",
    "unknown",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What is known of a site's machines.

    Attributes:
        core: power of a core by its make.
        curve: measured points (busy cores of the site, watts before PUE), ascending; empty: none.
        idle_node_watts: power of a node without load that is switched on for the placement; None:
            unknown.
        watts_per_gibibyte: memory.
        watts_per_card: an accelerator under load.
    """

    core: CorePower = DEFAULT_CORE_POWER
    curve: Sequence[tuple[float, float]] = ()
    idle_node_watts: float | None = None
    watts_per_gibibyte: float = _WATTS_PER_GIBIBYTE
    watts_per_card: float = _WATTS_PER_CARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a placement adds.

    Attributes:
        cores: busy cores of all replicas.
        gibibytes: memory of all replicas.
        cards: accelerator cards of all replicas; shares count as parts.
        nodes_switched_on: nodes that run only because of it.
        cores_before: cores that are busy already; where the curve is entered.
    """

    cores: float
    gibibytes: float = 0.0
    cards: float = 0.0
    nodes_switched_on: int = 0
    cores_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What a site has of its own, each watt to be given once.

    Attributes:
        pv_surplus_watts: what the roof makes beyond what the site draws.
        battery_watts: what the battery may give for the time of the run.
        battery_gco2_per_kwh: the intensity at which it was charged; None: unknown.
        round_trip_ratio: energy out over energy in.
    """

    pv_surplus_watts: float = 0.0
    battery_watts: float = 0.0
    battery_gco2_per_kwh: float | None = None
    round_trip_ratio: float = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPower:
    """The power of a placement, in watts at the site's connection.

    Attributes:
        it_watts: before PUE.
        total_watts: with PUE; None: PUE or the idle power is unknown.
        pv_watts: of it from the roof.
        battery_watts: of it from the battery.
        grid_watts: the rest; None: unknown.
        origin: that of the least credible factor.
    """

    it_watts: float | None
    total_watts: float | None
    pv_watts: float
    battery_watts: float
    grid_watts: float | None
    origin: Origin

    def mean_gco2_per_kwh(self, grid_gco2_per_kwh: float | None, supply: Supply) -> float | None:
        """The mean intensity of all that the placement draws; None: a part is unknown.

        Sun is 0 at generation. A kWh out of the battery carries what was put in for it: the
        intensity at charging, divided by the round trip.
        """
        if self.total_watts is None or self.grid_watts is None:
            return None
        grams = 0.0
        for watts, intensity in (
            (self.grid_watts, grid_gco2_per_kwh),
            (self.battery_watts, battery_gco2_per_kwh(supply)),
        ):
            if watts > 0:
                if intensity is None:
                    return None
                grams += watts * intensity
        return grams / self.total_watts if self.total_watts > 0 else 0.0


def battery_gco2_per_kwh(supply: Supply) -> float | None:
    """The intensity of a kWh out of the battery; None: unknown, which is never 0."""
    if supply.battery_gco2_per_kwh is None or not 0 < supply.round_trip_ratio <= 1:
        return None
    return supply.battery_gco2_per_kwh / supply.round_trip_ratio


def power_of_placement(
    load: Load, hardware: Hardware, *, pue: float | None, pue_origin: Origin, supply: Supply
) -> tuple[PlacementPower, Supply]:
    """The power of a placement, and what it leaves of the site's own supply.

    Args:
        load: what it adds.
        hardware: the machines.
        pue: facility over IT power; None, or below 1, is unknown.
        pue_origin: where it comes from.
        supply: what the site has of its own.

    Returns:
        The power, and the supply for the next placement.
    """
    cores_watts, cores_origin = _core_watts(load, hardware)
    idle_watts = _idle_watts(load, hardware)
    usable_pue = pue if pue is not None and pue >= 1 else None
    origin = worst_origin(cores_origin, pue_origin if usable_pue else "unknown")
    if idle_watts is None:
        return _unknown_power(origin="unknown"), supply
    it_watts = (
        cores_watts
        + idle_watts
        + load.gibibytes * hardware.watts_per_gibibyte
        + load.cards * hardware.watts_per_card
    )
    if usable_pue is None:
        return replace(_unknown_power(origin=origin), it_watts=it_watts), supply
    total = it_watts * usable_pue
    pv = min(total, max(0.0, supply.pv_surplus_watts))
    # A battery of unknown charge is not used: its intensity could be any.
    usable_battery = supply.battery_watts if battery_gco2_per_kwh(supply) is not None else 0.0
    battery = min(total - pv, max(0.0, usable_battery))
    power = PlacementPower(
        it_watts=it_watts,
        total_watts=total,
        pv_watts=pv,
        battery_watts=battery,
        grid_watts=total - pv - battery,
        origin=origin,
    )
    left = replace(
        supply,
        pv_surplus_watts=supply.pv_surplus_watts - pv,
        battery_watts=supply.battery_watts - battery,
    )
    return power, left


def marginal_watts_per_core(hardware: Hardware) -> float:
    """What one more busy core draws: the measured curve's mean slope, else the table's figure."""
    points = hardware.curve
    if len(points) > 1 and points[-1][0] > points[0][0]:
        slope = (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
        if slope >= 0:
            return slope
    return hardware.core.marginal_watts


def worst_origin(*origins: Origin) -> Origin:
    """The origin of a product: that of the least credible of its factors."""
    return max(origins, key=_BEST_FIRST.index)


def _core_watts(load: Load, hardware: Hardware) -> tuple[float, Origin]:
    points = hardware.curve
    first, last = load.cores_before, load.cores_before + load.cores
    # Beyond the last measured point nothing was measured.
    if len(points) > 1 and points[0][0] <= first and last <= points[-1][0]:
        return _on_curve(points, last) - _on_curve(points, first), "measured"
    return load.cores * hardware.core.marginal_watts, hardware.core.origin


def _on_curve(points: Sequence[tuple[float, float]], cores: float) -> float:
    for (left, low), (right, high) in pairwise(points):
        if left <= cores <= right:
            return low if right == left else low + (high - low) * (cores - left) / (right - left)
    return points[-1][1]


def _idle_watts(load: Load, hardware: Hardware) -> float | None:
    if load.nodes_switched_on <= 0:
        return 0.0
    if hardware.idle_node_watts is None:
        return None
    return load.nodes_switched_on * hardware.idle_node_watts


def _unknown_power(*, origin: Origin) -> PlacementPower:
    return PlacementPower(
        it_watts=None,
        total_watts=None,
        pv_watts=0.0,
        battery_watts=0.0,
        grid_watts=None,
        origin=origin,
    )
