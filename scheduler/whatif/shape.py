"""The shape of one replica whose capacity is asked for: amounts, or manifests with a pod."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scheduler.model.kinds.fields import DataClass, ImagePlatform, Labels, Resources
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.workload import PodDemand, Workload, WorkloadSpec
from scheduler.model.quantities import CPU, MEMORY

NAME = "capacity-asked-for"
DEFAULT_REQUESTS: dict[str, int | float | str] = {CPU: "1", MEMORY: "2Gi"}
"""What is asked for when nothing is said."""
DEFAULT_CLASS: DataClass = "general-1"
_DEFAULT_NAMESPACE = "default"
_NAMESPACE = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"


class AskedShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One replica.

    Attributes:
        requests: amounts as in Kubernetes; empty: what the manifests say.
        manifests: objects with a pod, or one Pod.
        data_class: of its data.
        namespace: it is judged by the tenant of this namespace; empty: without tenancy.
        platforms: of its images, as `linux/arm64`; empty: linux/amd64.
        node_selector: labels that its nodes need.
    """

    requests: Resources = msgspec.field(default_factory=dict)
    manifests: Annotated[tuple[dict[str, Any], ...], Meta(max_length=64)] = ()
    data_class: DataClass = DEFAULT_CLASS
    namespace: Annotated[str, Meta(max_length=63, pattern=_NAMESPACE)] = ""
    platforms: Annotated[tuple[ImagePlatform, ...], Meta(max_length=16)] = ()
    node_selector: Labels = msgspec.field(default_factory=dict)


def workload_of_shape(shape: AskedShape) -> Workload:
    """The workload that a shape stands for, with one replica of the lowest priority."""
    demand = None
    if not shape.manifests:
        demand = PodDemand(
            requests=shape.requests or DEFAULT_REQUESTS, node_selector=shape.node_selector
        )
    return Workload(
        metadata=Metadata(name=NAME, namespace=shape.namespace or _DEFAULT_NAMESPACE),
        spec=WorkloadSpec(
            data_class=shape.data_class,
            image_platforms=shape.platforms,
            manifests=shape.manifests,
            demand=demand,
        ),
    )
