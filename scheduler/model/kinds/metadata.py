"""The metadata of every object: names, labels and versions."""

from typing import Any

import msgspec

from scheduler.model.kinds.fields import Instant, Part

WorkKey = tuple[str, str]
"""A Workload's namespace and name."""


class Metadata(Part, frozen=True, kw_only=True):
    """The part of Kubernetes' ObjectMeta that Kapok reads.

    The API server checks its limits; other fields are ignored.
    """

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Instant | None = None
    deletion_timestamp: Instant | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
