"""Facts from the settings: what nobody measures here but somebody knows, with their origin."""

from dataclasses import dataclass
from typing import cast

from agents.config.settings import StaticSettings
from agents.protocol.report import Figure, Intensity, Power
from agents.sensors.sensor import Look


@dataclass(frozen=True, slots=True)
class StaticSensor:
    """Says always the same.

    Attributes:
        facts: from the settings, where the origins were checked.
    """

    facts: StaticSettings
    name: str = "static"

    async def look(self) -> Look:
        """Looks once."""
        facts = self.facts
        watts, grams = facts.power_watts, facts.intensity_gco2_per_kwh
        return Look(
            power=None if watts is None else Power(watts=watts, origin=_figure(facts.power_origin)),
            intensity=None
            if grams is None
            else Intensity(
                gco2_per_kwh=grams,
                origin=_figure(facts.intensity_origin),
                observed_at=facts.intensity_observed_at or None,
            ),
            pue=facts.pue,
            pue_origin=None if facts.pue is None else _figure(facts.pue_origin),
        )


def _figure(word: str) -> Figure:
    return cast("Figure", word)  # settings_file checked it
