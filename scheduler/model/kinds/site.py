"""`Site`: a place that can run work, described by operations and reported by its agent."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from scheduler.model.kinds.energy import (
    MAX_CURVE_POINTS,
    MAX_MEASUREMENTS,
    CurvePoint,
    EnergyMeasurement,
)
from scheduler.model.kinds.fields import (
    API_VERSION,
    Conditions,
    CpuVendor,
    Instant,
    LabelKey,
    Labels,
    NotNegative,
    Origin,
    Part,
    Quantity,
    Ratio,
    Resources,
    SecretReference,
    ShortText,
    Taint,
)
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.overrides import SiteRegistries

RESERVED_NAMES = frozenset({"kapok-scheduler"})
"""No Site may have these names. At the broker a site's name is its user name, and this one is the
scheduler's own, which reads and writes the topics of all sites."""

Tier = Literal["edge", "regional", "central"]


class Location(Part, frozen=True, kw_only=True):
    """Where a site is. Spread constraints group sites by these names."""

    province: ShortText = ""
    city: ShortText = ""
    metro: ShortText = ""
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    failure_domains: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()


class ForecastStep(Part, frozen=True, kw_only=True):
    """The expected carbon intensity from an instant on, for one step."""

    at: Instant
    gco2_per_kwh: NotNegative


HOURLY_ORIGINS: frozenset[Origin] = frozenset({"measured", "estimated", "modelled"})
"""Origins of figures that differ by the hour."""


class IntensityForecast(Part, frozen=True, kw_only=True):
    """The expected carbon intensity of the grid, written by a feed.

    Equal forecasts of several sites are processed once.
    """

    observed_at: Annotated[Instant, Meta(description="When it was issued.")]
    origin: Annotated[
        Origin,
        Meta(
            description="measured, estimated or modelled; forecasts of other origins are not used."
        ),
    ] = "unknown"
    step_seconds: Annotated[
        int,
        Meta(ge=60, le=86_400, description="Length of a step; the intensity is unknown after it."),
    ] = 3600
    steps: Annotated[
        tuple[ForecastStep, ...],
        Meta(max_length=200, description="In order of time, at least stepSeconds apart."),
    ] = ()


class SiteEnergy(Part, frozen=True, kw_only=True):
    """A site's power supply. A field that is left out is unknown, and unknown ranks last."""

    grid_zone: ShortText = ""
    pue: (
        Annotated[
            float, Meta(ge=1, le=10, description="Total power over IT power (ISO/IEC 30134-2).")
        ]
        | None
    ) = None
    pue_origin: Origin = "unknown"
    green_share: Ratio | None = None
    green_evidence: ShortText = ""
    pv_peak_watts: NotNegative | None = None
    forecast: IntensityForecast | None = None
    wue_litres_per_kwh: NotNegative | None = None
    measurements: Annotated[
        tuple[EnergyMeasurement, ...],
        Meta(
            max_length=MAX_MEASUREMENTS,
            description="What others measured at the site; it comes before what is declared.",
        ),
    ] = ()
    embodied_kilograms: NotNegative | None = None
    lifetime_years: Annotated[float, Meta(gt=0, le=100)] | None = None
    microarchitecture: ShortText = ""
    power_curve: Annotated[
        tuple[CurvePoint, ...],
        Meta(
            max_length=MAX_CURVE_POINTS,
            description="Measured power by busy cores, in ascending order.",
        ),
    ] = ()


class TariffHours(Part, frozen=True, kw_only=True):
    """Hours of each day in which electricity is cheaper, in China Standard Time (UTC+8)."""

    from_hour: Annotated[int, Meta(ge=0, le=23)]
    to_hour: Annotated[
        int, Meta(ge=1, le=24, description="End of the hours. Below fromHour: on the next day.")
    ]
    energy_cny_per_kwh: Annotated[float, Meta(ge=-1e6, le=1e6)]


class SitePrices(Part, frozen=True, kw_only=True):
    """Prices of a site. A field that is left out is unknown, and unknown ranks last."""

    energy_cny_per_kwh: Annotated[float, Meta(ge=-1e6, le=1e6)] | None = None
    tariff: Annotated[tuple[TariffHours, ...], Meta(max_length=24)] = ()
    core_cny_per_hour: Annotated[float, Meta(ge=-1e6, le=1e6)] | None = None
    peak_cny_per_kilowatt_month: NotNegative | None = None


class Headroom(Part, frozen=True, kw_only=True):
    """The share of a site's free capacity that is kept free."""

    ratio: Ratio = 0.0


class Delivery(Part, frozen=True, kw_only=True):
    """How orders reach a site: an agent at the site (Pull), or one beside the hub (Push)."""

    mode: Literal["Pull", "Push"] = "Pull"
    kubeconfig_secret_ref: SecretReference | None = None
    cluster_profile_ref: SecretReference | None = None
    agent_keys: Annotated[
        tuple[Annotated[str, Meta(max_length=256)], ...],
        Meta(
            max_length=4,
            description="Public keys of the agents: ed25519:BASE64 of the raw 32 bytes.",
        ),
    ] = ()


MAX_MAINTENANCE_WINDOWS = 64


class MaintenanceWindow(Part, frozen=True, kw_only=True):
    """A time in which nothing is to run at a site. Windows may overlap."""

    from_: Annotated[Instant, Meta(description="When it begins.")]
    until: Annotated[Instant, Meta(description="When it ends; later than from.")]
    reason: Annotated[str, Meta(max_length=500, description="For people.")] = ""


class Drain(Part, frozen=True, kw_only=True):
    """An operator's word that a site is to be emptied; `kapok site drain` writes it."""

    by: Annotated[
        Instant | None,
        Meta(description="From then on what is still there is named as overdue."),
    ] = None
    since: Annotated[Instant | None, Meta(description="When it was asked.")] = None
    requested_by: Annotated[str, Meta(max_length=256, description="The operator who asked.")] = ""
    force: Annotated[
        bool,
        Meta(
            description="Also moves pods with numbers, which end before they start elsewhere, "
            "work whose data stays behind, and jobs, which begin again."
        ),
    ] = False


class SiteSpec(Part, frozen=True, kw_only=True):
    """What operators set for a site."""

    tier: Tier = "edge"
    provider: ShortText = ""
    location: Location = Location()
    energy: SiteEnergy = SiteEnergy()
    prices: SitePrices = SitePrices()
    taints: Annotated[tuple[Taint, ...], Meta(max_length=32)] = ()
    headroom: Headroom = Headroom()
    cordon: Annotated[bool, Meta(description="No new replicas; running ones stay.")] = False
    delivery: Delivery = Delivery()
    maintenance: Annotated[
        tuple[MaintenanceWindow, ...],
        Meta(
            max_length=MAX_MAINTENANCE_WINDOWS,
            description="Times in which nothing is to run. What can be moved is moved ahead.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    drain: Annotated[
        Drain | None,
        Meta(description="Present: no new replicas, and running ones move away."),
    ] = None
    image_registries: SiteRegistries = ()

    @property
    def is_cordoned(self) -> bool:
        """Whether the site takes no new replicas; a site that is drained takes none either."""
        return self.cordon or self.drain is not None


FreeRow = Annotated[
    dict[Annotated[str, Meta(max_length=317)], Quantity],
    Meta(
        max_length=64,
        description=(
            "Free capacity of `count` equal nodes: cpu, memory, pods, extended resources. Free "
            "thousandths of single cards: kapok.dev/gpu-milli.0, kapok.dev/gpu-milli.1 and so on."
        ),
    ),
]


OS_LABEL = "kubernetes.io/os"


class NodeClass(Part, frozen=True, kw_only=True):
    """Nodes of one kind at a site, and the free capacity of each."""

    labels: Labels = msgspec.field(default_factory=dict)
    taints: Annotated[tuple[Taint, ...], Meta(max_length=32)] = ()
    architecture: ShortText = ""
    cpu_vendor: Annotated[str, Meta(max_length=63)] = ""
    gpu_model: ShortText = ""
    free: Annotated[tuple[FreeRow, ...], Meta(extra_json_schema={"maxItems": 200})] = ()
    labels_left_out: Annotated[
        tuple[LabelKey, ...],
        Meta(max_length=64, description="Labels that the nodes have and the report does not."),
    ] = ()
    has_more_labels: Annotated[
        bool,
        Meta(description="Whether more labels are left out; then none is surely absent."),
    ] = False

    @property
    def platform(self) -> str:
        """The architecture, with another operating system than Linux before it.

        `amd64` or `windows/amd64`. Nodes that do not say their system run Linux.
        """
        system = self.labels.get(OS_LABEL, "linux")
        return self.architecture if system == "linux" else f"{system}/{self.architecture}"


class Rtt(Part, frozen=True, kw_only=True):
    """The round-trip time to a named peer."""

    to: ShortText
    milliseconds: NotNegative
    origin: Origin = "unknown"
    observed_at: Instant | None = None


class Intensity(Part, frozen=True, kw_only=True):
    """Average location-based carbon intensity of the grid that feeds a site."""

    gco2_per_kwh: NotNegative | None = None
    origin: Origin = "unknown"
    observed_at: Instant | None = None


class Power(Part, frozen=True, kw_only=True):
    """The site's power draw."""

    watts: NotNegative | None = None
    pv_watts: NotNegative | None = None
    origin: Origin = "unknown"
    observed_at: Instant | None = None


class NamespaceLimits(Part, frozen=True, kw_only=True):
    """Limits of a namespace of the site's cluster (ResourceQuota, LimitRange).

    A namespace that is not listed has no known limit.
    """

    name: Annotated[ShortText, Meta(description="The namespace in the site's cluster.")]
    quota_left: Annotated[
        Resources,
        Meta(
            description=(
                "What the namespace's quotas leave, by resource name: requests.cpu, "
                "limits.memory, pods, requests.nvidia.com/gpu."
            )
        ),
    ] = msgspec.field(default_factory=dict)
    container_min: Annotated[Resources, Meta(description="Least request of each container.")] = (
        msgspec.field(default_factory=dict)
    )
    container_max: Annotated[
        Resources, Meta(description="Largest request or limit of each container.")
    ] = msgspec.field(default_factory=dict)
    container_default: Annotated[
        Resources, Meta(description="Limits of containers that set none.")
    ] = msgspec.field(default_factory=dict)
    container_default_request: Annotated[
        Resources, Meta(description="Requests of containers that set none.")
    ] = msgspec.field(default_factory=dict)
    pod_min: Annotated[Resources, Meta(description="Least request of a whole pod.")] = (
        msgspec.field(default_factory=dict)
    )
    pod_max: Annotated[Resources, Meta(description="Largest request of a whole pod.")] = (
        msgspec.field(default_factory=dict)
    )
    not_counted: Annotated[
        tuple[ShortText, ...],
        Meta(
            max_length=8,
            description="Kinds of limits that exist and are not reported, as scoped-quota.",
        ),
    ] = ()


class SiteStatus(Part, frozen=True, kw_only=True):
    """What the agents reported last, and when."""

    observed_generation: Annotated[
        int, Meta(ge=0, description="metadata.generation that the conditions are about.")
    ] = 0
    observed_at: Instant | None = None
    conditions: Conditions = ()
    executor: (
        Annotated[bool, Meta(description="Whether an agent can apply orders to a cluster.")] | None
    ) = None
    api_kinds: (
        Annotated[tuple[Annotated[str, Meta(max_length=317)], ...], Meta(max_length=1024)] | None
    ) = None
    cluster_kinds: (
        Annotated[
            tuple[Annotated[str, Meta(max_length=317)], ...],
            Meta(
                max_length=1024,
                description="Those of apiKinds whose objects belong to no namespace. "
                "Left out: unknown.",
            ),
        ]
        | None
    ) = None
    rtt: Annotated[tuple[Rtt, ...], Meta(extra_json_schema={"maxItems": 256})] = ()
    intensity: Intensity | None = None
    power: Power | None = None
    node_classes: Annotated[tuple[NodeClass, ...], Meta(extra_json_schema={"maxItems": 200})] = ()
    truncated: bool = False
    namespaces: Annotated[
        tuple[NamespaceLimits, ...],
        Meta(
            extra_json_schema={"maxItems": 200},
            description="Limits of namespaces; one that is not listed has no known limit.",
        ),
    ] = ()
    free_cpu: Annotated[
        str, Meta(max_length=32, description="Free CPU of the site, for people; `?`: not known.")
    ] = ""
    current_intensity: Annotated[
        str,
        Meta(
            max_length=32,
            description="Carbon intensity in gCO2e per kWh, for people; `?` while the site is "
            "silent or reports none. `intensity` keeps the last value.",
        ),
    ] = ""
    report_age: Annotated[
        str, Meta(max_length=32, description="Age of the last report, for people.")
    ] = ""
    agent_version: ShortText = ""
    cpu_vendors: Annotated[tuple[CpuVendor, ...], Meta(max_length=16)] = ()


class Site(Part, frozen=True, kw_only=True):
    """A place that can run work: an edge room, a data centre, a cloud region."""

    KIND: ClassVar[str] = "Site"

    api_version: str = API_VERSION
    kind: str = "Site"
    metadata: Metadata = Metadata()
    spec: SiteSpec = SiteSpec()
    status: SiteStatus = SiteStatus()


def labels_of_site(name: str, labels: Mapping[str, str], spec: SiteSpec) -> dict[str, str]:
    """The labels that selectors of sites match.

    `kapok.dev/site`, `tier`, `provider`, `province`, `city` and `metro` follow from the spec and
    override labels of the same name, so that a label cannot contradict the spec.
    """
    implied = {
        "kapok.dev/site": name,
        "kapok.dev/tier": spec.tier,
        "kapok.dev/provider": spec.provider,
        "kapok.dev/province": spec.location.province,
        "kapok.dev/city": spec.location.city,
        "kapok.dev/metro": spec.location.metro,
    }
    return {**labels, **{key: value for key, value in implied.items() if value}}
