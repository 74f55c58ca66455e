"""How good forecasts from a zone's own past are: errors of two days, and what they gain.

Each forecast sees only hours before it. Zones that say the same at every hour are left out of the
means beside them, as they are no test.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._energy.zones import INPUT, known_zones, zone_hours
from scheduler.energy.forecasts.backtest import ForecastErrors, backtest
from scheduler.energy.forecasts.blend import Blend
from scheduler.energy.forecasts.hourly import HOURS_PER_DAY, Forecaster
from scheduler.energy.forecasts.learned_blend import LearnedBlend

_FIRST_HOUR, _EVERY_HOURS, _AFTER_HOURS = 1000, 73, 2 * HOURS_PER_DAY + 4
_WINDOW_HOURS = 4
_NOT_JUDGED = "AU-SA"
_FORECASTERS: tuple[Forecaster, ...] = (Blend(), LearnedBlend())


def rows(data: Path | None, _seed: int) -> list[dict[str, object]]:
    """One row for each zone, then the means, for each forecaster.

    Raises:
        FileNotFoundError: the data set is missing.
        ValueError: hours are missing or wrong, or too few.
    """
    found = [zone_hours(data, zone) for zone in known_zones(data)]
    short = [each.zone for each in found if len(each.hours) < _FIRST_HOUR + _AFTER_HOURS]
    if short:
        raise ValueError(f"{', '.join(short)}: a backtest needs six weeks and two days of hours")
    answer: list[dict[str, object]] = []
    for forecaster in _FORECASTERS:
        errors = {
            each.zone: backtest(
                forecaster,
                each.hours,
                range(_FIRST_HOUR, len(each.hours) - _AFTER_HOURS, _EVERY_HOURS),
                window_hours=_WINDOW_HOURS,
            )
            for each in found
        }
        flags = {each.zone: "; ".join(each.flags) for each in found}
        answer += [
            {**_row(forecaster, zone, [one]), "flags": flags[zone]} for zone, one in errors.items()
        ]
        judged = [one for zone, one in errors.items() if zone != _NOT_JUDGED]
        answer.append(_row(forecaster, f"mean without {_NOT_JUDGED}", judged))
        varied = [one for one in judged if one.perfect_gain > 0]
        answer.append(_row(forecaster, "and without constant zones", varied))
    return [{**row, "inputs": INPUT} for row in answer]


def _row(forecaster: Forecaster, zone: str, errors: Sequence[ForecastErrors]) -> dict[str, object]:
    percentage = np.mean([one.mean_percentage_errors for one in errors], axis=0)
    relative = np.mean([one.relative_errors for one in errors], axis=0)
    perfect = sum(one.perfect_gain for one in errors)
    return {
        "forecaster": forecaster.name,
        "zone": zone,
        "mape_day_1": round(float(percentage[0]), 4),
        "mape_day_2": round(float(percentage[1]), 4),
        "relative_day_1": round(float(relative[0]), 4),
        "relative_day_2": round(float(relative[1]), 4),
        "of_perfect_gain": round(sum(one.gain for one in errors) / perfect, 4) if perfect else None,
        "inside_range": round(float(np.mean([one.inside_range_share for one in errors])), 4),
    }
