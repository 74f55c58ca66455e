"""`Terms`: the figures that a decision reckons with when neither site nor workload brings its own.

They are an input of every decision and are recorded with it. Assumed figures are assumed on the
dear side, so that not knowing never makes a site look better.
"""

from typing import Annotated

from msgspec import Meta

from scheduler.model.kinds.fields import NotNegative, Part, Ratio, Seconds


class ScarcityPrice(Part, frozen=True, kw_only=True):
    """What one more unit of a resource at a site is worth to the work that waits."""

    site: str
    resource: str
    cny_per_unit_hour: NotNegative


class Terms(Part, frozen=True, kw_only=True):
    """Limits, prices and assumed figures of a decision."""

    report_stale_seconds: Seconds = 300
    """A site whose last observation is older gets no new work."""
    figure_old_seconds: Seconds = 7200
    """A measured price or intensity that is older counts as the worst of what is known of it."""
    evict_after_seconds: Seconds = 300
    """A silent site's replicas are replaced after this time (tolerationSeconds of Kubernetes), if
    the workload does not say otherwise."""
    may_evict: bool = True
    """False while many sites are silent at once: then the hub suspects its own link."""

    carbon_cny_per_kg: NotNegative = 0.1
    """About the price of an allowance in the national carbon market, 2024-2025: 70 to 100 CNY/t."""
    latency_cny_per_millisecond_hour: NotNegative = 0.0
    waiting_cny_per_hour: NotNegative = 0.0
    moving_cny_per_gibibyte: NotNegative = 0.0
    moving_spread_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] = 2_592_000
    """Copying data is paid once; work that names no duration is taken to run for 30 days."""
    value_cny_per_replica_hour: NotNegative = 1.0
    """What a replica is worth for an hour in a batch, before its priority counts."""

    forecast_old_seconds: Seconds = 86_400
    """A forecast that was issued longer ago is not believed."""
    start_margin_seconds: Seconds = 300
    """A planned start leaves so much to the latest one, so that being late by a little is no loss.
    """
    least_saving_ratio: Ratio = 0.05
    """Work waits only to save more than this part of what its carbon costs now: a forecast errs."""

    pv_longest_run_seconds: Seconds = 3600
    """Solar surplus of this moment counts for runs of at most so long; 0: not at all."""

    watts_per_core: NotNegative = 3.3
    """Between idle and full load of one hardware thread: Cascade Lake in the Cloud Carbon Footprint
    coefficients (SPECpower), assumed for every CPU."""
    watts_per_gibibyte: NotNegative = 0.4
    """Memory: 0.392 W/GB by the same source."""
    watts_per_gpu: NotNegative = 300.0
    """One accelerator card under load, assumed."""

    fallback_gco2_per_kwh: NotNegative = 1000.0
    """A coal-fired grid."""
    fallback_energy_cny_per_kwh: NotNegative = 2.0
    fallback_core_cny_per_hour: NotNegative = 1.0
    fallback_pue: Annotated[float, Meta(ge=1, le=10)] = 2.5
    fallback_milliseconds: NotNegative = 1000.0

    scarcity: Annotated[tuple[ScarcityPrice, ...], Meta(max_length=1_000_000)] = ()
    scarcity_version: str = ""


DEFAULT_TERMS = Terms()
