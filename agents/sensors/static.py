"""Facts from the settings: what is known about the site without measuring it."""

from dataclasses import dataclass
from typing import cast

from agents.config.settings import StaticSettings
from agents.protocol.report import FigureOrigin, ReportedIntensity, ReportedPower
from agents.sensors.sensor import Observation


@dataclass(frozen=True, slots=True)
class StaticSensor:
    """Returns the facts of the settings.

    Attributes:
        facts: the settings; `config/load.py` has checked their origins.
        name: slug of the sensor.
    """

    facts: StaticSettings
    name: str = "static"

    async def observe(self) -> Observation:
        """Returns the facts."""
        facts = self.facts
        watts, grams = facts.power_watts, facts.intensity_gco2_per_kwh
        return Observation(
            power=None
            if watts is None
            else ReportedPower(watts=watts, origin=_as_origin(facts.power_origin)),
            intensity=None
            if grams is None
            else ReportedIntensity(
                gco2_per_kwh=grams,
                origin=_as_origin(facts.intensity_origin),
                observed_at=facts.intensity_observed_at or None,
            ),
            pue=facts.pue,
            pue_origin=None if facts.pue is None else _as_origin(facts.pue_origin),
        )


def _as_origin(text: str) -> FigureOrigin:
    return cast("FigureOrigin", text)  # `config/load.py` has checked it
