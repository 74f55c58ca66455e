"""`SiteGrant` and `DataClassScheme`: what the authority allows. Nobody grants himself anything."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from scheduler.model.jurisdictions import REFUSED_BY_SCHEMA, REPLACEMENT_CODES
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
    """What sites may hold, by whom it was granted, and for how long.

    One grant must allow all that a workload needs: two grants are not added up. A field that is
    left out grants nothing beyond the least.
    """

    sites: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)]
    data_class: Annotated[
        DataClass, Meta(description="The highest class of data that the sites may hold.")
    ] = "general-1"
    protection_level: Annotated[
        ProtectionLevel,
        Meta(description="The level that the sites are certified for (GB/T 22239)."),
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
                "Who may bring classes that need a list: NAMESPACE/NAME, NAMESPACE or a tenant."
            ),
        ),
    ] = ()
    authority: Text = ""
    document: Text = ""
    valid_from: Instant | None = None
    valid_until: Instant | None = None

    def __post_init__(self) -> None:
        """Refuses forms that could be mistaken for the mainland; the hub's schema does the same.

        Raises:
            ValueError: the message says which form to write.
        """
        if self.jurisdiction in REFUSED_BY_SCHEMA:
            right = REPLACEMENT_CODES[self.jurisdiction]
            raise ValueError(
                f"jurisdiction {self.jurisdiction}: write {right}, a jurisdiction of its own; "
                "CN and CN-… mean the mainland"
            )


class SiteGrant(Part, frozen=True, kw_only=True):
    """What the authority lets sites hold. A site without a valid grant takes nothing."""

    KIND: ClassVar[str] = "SiteGrant"

    api_version: str = API_VERSION
    kind: str = "SiteGrant"
    metadata: Metadata = Metadata()
    spec: SiteGrantSpec


class DataClassRule(Part, frozen=True, kw_only=True):
    """What a site needs before it may hold data of one class."""

    name: DataClass
    jurisdictions: Annotated[
        tuple[Jurisdiction, ...],
        Meta(max_length=64, description="Empty: anywhere. CN: mainland only."),
    ] = ()
    protection_level: ProtectionLevel = 1
    allow_list_only: bool = False
    same_province: bool = False
    cpu_vendors: Annotated[tuple[CpuVendor, ...], Meta(max_length=16)] = ()
    on_violation: OnViolation = "Report"


class DataClassSchemeSpec(Part, frozen=True, kw_only=True):
    """The table class → what a site needs. A class that is not listed keeps its built-in rule."""

    unlabelled: Annotated[
        Literal["Refuse", "general-1", "general-2", "general-3", "general-4", "important"],
        Meta(description="What a workload without a class counts as."),
    ] = "Refuse"
    classes: Annotated[tuple[DataClassRule, ...], Meta(max_length=6)] = ()


class DataClassScheme(Part, frozen=True, kw_only=True):
    """The authority's table of data classes. `default` is the one that counts."""

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
"""What holds while no DataClassScheme says otherwise: unlabelled is refused, sensitive data stays
on the mainland, general-4 in its province, important data on allow-listed mainland sites, core data
nowhere."""


def data_class_rule_of(scheme: DataClassScheme | None, data_class: str) -> DataClassRule:
    """The rule of one class: the scheme's, else the built-in one."""
    listed = scheme.spec.classes if scheme is not None else ()
    return next((rule for rule in listed if rule.name == data_class), BUILT_IN_RULES[data_class])


def data_class_of(scheme: DataClassScheme | None, labelled: DataClass | None) -> DataClass | None:
    """The class that counts for a workload; None when it has none and the scheme refuses that."""
    if labelled is not None or scheme is None or scheme.spec.unlabelled == "Refuse":
        return labelled
    return scheme.spec.unlabelled
