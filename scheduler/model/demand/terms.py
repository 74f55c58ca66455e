"""`Terms`: limits, prices and fallback figures that apply when site and workload give none.

They are an input of every decision and are recorded with it. Fallback figures are high costs, so
that an unknown figure never makes a site look better.
"""

from typing import Annotated

from msgspec import Meta

from scheduler.model.kinds.fields import NotNegative, Part, Ratio, Seconds


class ScarcityPrice(Part, frozen=True, kw_only=True):
    """What one more unit of a resource at a site is worth to the waiting workloads."""

    site: str
    resource: str
    cny_per_unit_hour: NotNegative


class Terms(Part, frozen=True, kw_only=True):
    """Limits, prices and fallback figures of a decision."""

    report_stale_seconds: Seconds = 300
    """A site whose last observation is older gets no new replicas."""
    figure_old_seconds: Seconds = 7200
    """A measured price or intensity that is older counts as the worst value known for it."""
    evict_after_seconds: Seconds = 300
    """A silent site's replicas are replaced after this time, unless the workload sets another
    (as tolerationSeconds of Kubernetes)."""
    may_evict: bool = True
    """False while many sites are silent at once: the hub's own network may have failed."""

    carbon_cny_per_kg: NotNegative = 0.1
    """About the price in China's national carbon market in 2024 and 2025: 70 to 100 CNY/t."""
    latency_cny_per_millisecond_hour: NotNegative = 0.0
    waiting_cny_per_hour: NotNegative = 0.0
    moving_cny_per_gibibyte: NotNegative = 0.0
    moving_spread_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] = 2_592_000
    """The one-off cost of copying data is spread over the run; over 30 days if none is given."""
    value_cny_per_replica_hour: NotNegative = 1.0
    """What a replica is worth per hour in a batch, before priority is applied."""

    forecast_old_seconds: Seconds = 86_400
    """A forecast that was issued longer ago is not used."""
    start_margin_seconds: Seconds = 300
    """A planned start is this much before the latest one, so that a small delay does no harm."""
    least_saving_ratio: Ratio = 0.05
    """Work waits only to save more than this ratio of its carbon cost: forecasts have errors."""

    overrun_ratio: Ratio = 0.0
    """Work may run longer than it states by this ratio: its deadline is still met then, and the
    room of a planned start is kept for so long. 0 in records that do not name it."""

    pv_longest_run_seconds: Seconds = 3600
    """The solar surplus of now counts for runs up to this long; 0: it never counts."""

    watts_per_core: NotNegative = 3.3
    """Idle to full load of one hardware thread: Cascade Lake in the coefficients of Cloud Carbon
    Footprint (SPECpower), assumed for every CPU."""
    watts_per_gibibyte: NotNegative = 0.4
    """Memory: 0.392 W/GB by the same source."""
    watts_per_gpu: NotNegative = 300.0
    """One accelerator card under load, assumed."""

    fallback_gco2_per_kwh: NotNegative = 1000.0
    """The intensity of a coal-fired grid."""
    fallback_energy_cny_per_kwh: NotNegative = 2.0
    fallback_core_cny_per_hour: NotNegative = 1.0
    fallback_pue: Annotated[float, Meta(ge=1, le=10)] = 2.5
    fallback_milliseconds: NotNegative = 1000.0

    scarcity: Annotated[tuple[ScarcityPrice, ...], Meta(max_length=1_000_000)] = ()
    scarcity_version: str = ""


DEFAULT_TERMS = Terms()
