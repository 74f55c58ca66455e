"""The types of fields: bounded strings, lists, maps and numbers.

Custom resource definitions are generated from these types. A real API server refuses schemas whose
validation rules could become expensive, so every string, list and map has a maximum, set here only.
A limit for the hub but not for files (`kapok place` accepts a site of 100,000 nodes) is in
`extra_json_schema` instead of the constraint.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

API_GROUP = "kapok.dev"
API_VERSION = "kapok.dev/v1alpha1"


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of all types of the model: immutable, camelCase in JSON, defaults left out."""


NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=NAME_PATTERN)]
"""A name as Kubernetes allows it (RFC 1123 subdomain)."""
Namespace = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
ShortText = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
LabelKey = Annotated[str, Meta(min_length=1, max_length=317)]
LabelValue = Annotated[str, Meta(max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Meta(max_length=64)]
Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its time zone, such as `2026-11-23T08:00:00Z`."""

ImagePlatform = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$")]
"""OS/ARCHITECTURE of an image, such as `linux/arm64`, with a variant or without."""

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Priority = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0, le=1e15)]
Seconds = Annotated[int, Meta(ge=0, le=315_360_000)]

Quantity = Annotated[
    int | float | Annotated[str, Meta(max_length=64)],
    Meta(
        description="A Kubernetes quantity: 500m, 2, 1Gi, 1e9.",
        extra_json_schema={"x-kubernetes-int-or-string": True},
    ),
]
"""A quantity as written; `quantities.py` reads it exactly."""
Resources = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=317)], Quantity], Meta(max_length=64)
]

DataClass = Literal["general-1", "general-2", "general-3", "general-4", "important", "core"]
DATA_CLASSES: tuple[DataClass, ...] = get_args(DataClass)
"""Classes of data, lowest first (GB/T 43697-2024)."""
NEVER_SCHEDULED_CLASS: DataClass = "core"
"""Data of this class, the highest, stays where it is."""
ProtectionLevel = Annotated[int, Meta(ge=1, le=5)]
"""Level of the multi-level protection scheme (GB/T 22239); 1 is the lowest."""
MIN_LEVEL_WITH_DEDICATED_POOL = 4
"""From this protection level on, a workload needs machines of its own."""
NEVER_SCHEDULED_LEVEL = 5
"""A workload of this protection level is never scheduled."""
NetworkZone = Literal["internet-access", "public-network", "dedicated-network", "classified"]
NEVER_SCHEDULED_ZONE: NetworkZone = "classified"
"""A workload that names this zone is never scheduled: Kapok does not run in that network."""
Jurisdiction = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=16,
        pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*$",
        description="A code in upper case: CN (mainland), a province as CN-GD, HK, MO.",
    ),
]
CpuVendor = Annotated[str, Meta(min_length=1, max_length=63)]
Origin = Literal["measured", "estimated", "modelled", "yearly", "assumed", "unknown"]
"""How a figure was obtained; kept beside the figure."""

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Requirement(Part, frozen=True, kw_only=True):
    """One condition on labels, with the operators of a Kubernetes label selector."""

    key: LabelKey
    operator: Operator
    values: Annotated[tuple[LabelValue, ...], Meta(max_length=64)] = ()


class LabelSelector(Part, frozen=True, kw_only=True):
    """Selects objects by their labels. An empty selector matches everything."""

    match_labels: Labels = msgspec.field(default_factory=dict)
    match_expressions: Annotated[tuple[Requirement, ...], Meta(max_length=32)] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it matches every object."""
        return not self.match_labels and not self.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects an object with these labels (semantics of apimachinery).

        `NotIn` and `DoesNotExist` match objects that do not have the key.
        """
        wanted = all(labels.get(key) == value for key, value in self.match_labels.items())
        return wanted and all(requirement_matches(each, labels) for each in self.match_expressions)


def requirement_matches(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether labels meet a requirement."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Taint(Part, frozen=True, kw_only=True):
    """Keeps away workloads that do not tolerate it."""

    key: LabelKey
    value: LabelValue = ""
    effect: TaintEffect = "NoSchedule"
    time_added: Instant | None = None


class Toleration(Part, frozen=True, kw_only=True):
    """Tolerates a taint, forever or for some seconds."""

    key: Annotated[str, Meta(max_length=317)] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue = ""
    effect: TaintEffect | Literal[""] = ""
    toleration_seconds: int | None = None

    def tolerates(self, taint: Taint) -> bool:
        """Whether it matches the taint (core/v1: an empty key with Exists matches every taint)."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value


class Condition(Part, frozen=True, kw_only=True):
    """One condition of an object's status, in the standard form of Kubernetes."""

    type: Annotated[str, Meta(min_length=1, max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(max_length=1024)] = ""
    message: Annotated[str, Meta(max_length=4096)] = ""
    last_transition_time: Instant | None = None
    observed_generation: int | None = None


Conditions = Annotated[tuple[Condition, ...], Meta(max_length=32)]


class NameReference(Part, frozen=True, kw_only=True):
    """Names another object in the same namespace, or a cluster-scoped one."""

    name: Name


class SecretReference(Part, frozen=True, kw_only=True):
    """Names a Secret."""

    namespace: Namespace
    name: Name
