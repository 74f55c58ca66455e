"""What a site's forecast last said: counted where its present forecast says nothing any more.

A forecast that is deleted, that loses steps or its origin, or that grows old must not make its site
look better than before. So the last forecast that could be used is kept beside the facts, and
recorded with them.
"""

from typing import Final

from msgspec.structs import replace

from scheduler.model.kinds.fields import Part
from scheduler.model.kinds.site import HOURLY_ORIGINS, IntensityForecast

_MAX_STEPS: Final = 200
"""As many steps as an `IntensityForecast` may hold."""


class KeptForecast(Part, frozen=True, kw_only=True):
    """The last forecast of a site that could be used.

    Facts without one were recorded before forecasts were kept, or are of a site that never had a
    forecast: then the present intensity alone counts where no forecast does.
    """

    forecast: IntensityForecast | None = None
    """The forecast; None: that of the spec, whole."""


def last_forecast(
    present: IntensityForecast | None, before: IntensityForecast | None
) -> IntensityForecast | None:
    """The present forecast, with the steps that an earlier one had and this one leaves out.

    Args:
        present: the forecast of the spec.
        before: what was kept until now.

    Returns:
        `present` itself if it leaves nothing out, `before` if `present` cannot be used; None if
        there never was one that can. Steps that ended before `present` was issued are past. Steps
        of another length are another forecast, and are not mixed.
    """
    if present is None or present.origin not in HOURLY_ORIGINS or not present.steps:
        return before
    if before is None or before == present or before.step_seconds != present.step_seconds:
        return present
    length = present.step_seconds
    begun = present.observed_at.timestamp() - length
    taken = [each.at.timestamp() for each in present.steps]
    # A step of `before` overlaps one of `present` that begins less than a step's length from it.
    left_out = [
        step
        for step in before.steps
        if step.at.timestamp() > begun
        and all(abs(step.at.timestamp() - other) >= length for other in taken)
    ]
    if not left_out:
        return present
    steps = sorted((*present.steps, *left_out), key=lambda each: each.at)
    return replace(present, steps=tuple(steps[:_MAX_STEPS]))


def kept_forecast(
    present: IntensityForecast | None, before: IntensityForecast | None
) -> KeptForecast | None:
    """What the facts of a site hold of its forecasts; None: it never had one that can be used.

    Args:
        present: the forecast of the spec.
        before: what was kept until now.
    """
    last = last_forecast(present, before)
    if last is None:
        return None
    return KeptForecast() if last is present else KeptForecast(forecast=last)
