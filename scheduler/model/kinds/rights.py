"""`SiteGrant` and `DataClassScheme`: what the authority allows sites and workloads."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from scheduler.model.jurisdictions import REFUSED_BY_SCHEMA, REPLACEMENT_CODES
from scheduler.model.kinds.energy import MAX_INSPECTIONS, MAX_LIMITS, EnergyLimit, InspectedFigure
from scheduler.model.kinds.fields import (
    API_VERSION,
    CpuVendor,
    DataClass,
    Instant,
    Jurisdiction,
    Name,
    NetworkZone,
    Part,
    ProtectionLevel,
    Text,
)
from scheduler.model.kinds.metadata import Metadata

OnViolation = Literal["Report", "Move", "Stop"]


class SiteGrantSpec(Part, frozen=True, kw_only=True):
    """What sites may run, who granted it, and for how long.

    One grant must allow everything that a workload needs; grants do not add up. A field that is
    left out grants the least.
    """

    sites: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)]
    data_class: Annotated[
        DataClass, Meta(description="Highest class of data that the sites may hold.")
    ] = "general-1"
    protection_level: Annotated[
        ProtectionLevel,
        Meta(description="Level that the sites are certified for (GB/T 22239)."),
    ] = 1
    network_zones: Annotated[tuple[NetworkZone, ...], Meta(max_length=4)] = ()
    jurisdiction: Annotated[str, Meta(max_length=16)] = ""
    dedicated_pool: bool = False
    cpu_vendors: Annotated[
        tuple[CpuVendor, ...],
        Meta(
            max_length=16, description="Only nodes of these vendors may be used. Empty: any vendor."
        ),
    ] = ()
    allow_list: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=317)], ...],
        Meta(
            max_length=1000,
            description=(
                "Workloads of classes that need a list: NAMESPACE/NAME, NAMESPACE or a tenant."
            ),
        ),
    ] = ()
    authority: Text = ""
    document: Text = ""
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    measurements: Annotated[
        tuple[InspectedFigure, ...],
        Meta(
            max_length=MAX_INSPECTIONS,
            description="What the authority had measured at the sites; it comes before all else.",
        ),
    ] = ()

    def __post_init__(self) -> None:
        """Refuses codes that could be taken for the mainland; the hub's schema does the same.

        Raises:
            ValueError: the message says which code to write.
        """
        if self.jurisdiction in REFUSED_BY_SCHEMA:
            right = REPLACEMENT_CODES[self.jurisdiction]
            raise ValueError(
                f"jurisdiction {self.jurisdiction}: write {right}, a jurisdiction of its own; "
                "CN and CN-… mean the mainland"
            )
        # A stored grant with a code that no province has is still read, so that an upgrade ends
        # nothing; the schema refuses a new one, and no list of jurisdictions admits the code.


class SiteGrant(Part, frozen=True, kw_only=True):
    """What the authority allows sites to run. A site without a valid grant gets no workload."""

    KIND: ClassVar[str] = "SiteGrant"

    api_version: str = API_VERSION
    kind: str = "SiteGrant"
    metadata: Metadata = Metadata()
    spec: SiteGrantSpec


class DataClassRule(Part, frozen=True, kw_only=True):
    """What a site needs to hold data of one class."""

    name: DataClass
    jurisdictions: Annotated[
        tuple[Jurisdiction, ...],
        Meta(max_length=64, description="Permitted jurisdictions. Empty: all. CN: mainland only."),
    ] = ()
    protection_level: ProtectionLevel = 1
    allow_list_only: bool = False
    same_province: bool = False
    cpu_vendors: Annotated[tuple[CpuVendor, ...], Meta(max_length=16)] = ()
    on_violation: OnViolation = "Report"


class DataClassSchemeSpec(Part, frozen=True, kw_only=True):
    """A rule for each data class. A class that is not listed keeps its built-in rule."""

    unlabelled: Annotated[
        # DataClass without `core`: an unlabelled workload must not count as never scheduled.
        Literal["Refuse", "general-1", "general-2", "general-3", "general-4", "important"],
        Meta(description="The class of a workload that names none; Refuse: it is refused."),
    ] = "Refuse"
    classes: Annotated[tuple[DataClassRule, ...], Meta(max_length=6)] = ()
    energy_limits: Annotated[
        tuple[EnergyLimit, ...],
        Meta(
            max_length=MAX_LIMITS,
            description="What sites must keep to before they get new work, with dates.",
        ),
    ] = ()


class DataClassScheme(Part, frozen=True, kw_only=True):
    """The authority's rules for data classes. The one named `default` applies."""

    KIND: ClassVar[str] = "DataClassScheme"

    api_version: str = API_VERSION
    kind: str = "DataClassScheme"
    metadata: Metadata = Metadata()
    spec: DataClassSchemeSpec = DataClassSchemeSpec()


BUILT_IN_RULES: dict[str, DataClassRule] = {
    rule.name: rule
    for rule in (
        DataClassRule(name="general-1"),
        DataClassRule(name="general-2"),
        DataClassRule(name="general-3", jurisdictions=("CN",), protection_level=2),
        DataClassRule(
            name="general-4", jurisdictions=("CN",), protection_level=3, same_province=True
        ),
        DataClassRule(
            name="important",
            jurisdictions=("CN",),
            protection_level=3,
            allow_list_only=True,
            on_violation="Stop",
        ),
        DataClassRule(
            name="core",
            jurisdictions=("CN",),
            protection_level=5,
            allow_list_only=True,
            on_violation="Stop",
        ),
    )
}
"""The rules without a DataClassScheme. Sensitive data stays on the mainland, and general-4 in its
province; important data needs an allow list; core data is never scheduled."""


def data_class_rule_of(scheme: DataClassScheme | None, data_class: str) -> DataClassRule:
    """The rule of one class: the scheme's, else the built-in one."""
    listed = scheme.spec.classes if scheme is not None else ()
    return next((rule for rule in listed if rule.name == data_class), BUILT_IN_RULES[data_class])


def data_class_of(scheme: DataClassScheme | None, labelled: DataClass | None) -> DataClass | None:
    """The class that applies to a workload; None: it names none, and the scheme refuses that."""
    if labelled is not None or scheme is None or scheme.spec.unlabelled == "Refuse":
        return labelled
    return scheme.spec.unlabelled
