"""Where a batch puts the workloads that wait: an input of single decisions, like its prices.

The list of a batch is recorded once, and its digest is its version. Of the list, a decision has the
entry of its own workload only.
"""

from typing import Annotated

from msgspec import Meta

from scheduler.model.canonical import canonical_digest
from scheduler.model.kinds.fields import Part


class AssignedReplicas(Part, frozen=True, kw_only=True):
    """How many more replicas a batch puts at one site."""

    site: str
    replicas: Annotated[int, Meta(ge=1)]


class AssignedWorkload(Part, frozen=True, kw_only=True):
    """Where a batch puts the missing replicas of one workload."""

    workload: str
    """Namespace/name."""
    sites: tuple[AssignedReplicas, ...]


class BatchAssignment(Part, frozen=True, kw_only=True):
    """What a batch, or the kept plan for a loss, assigns to the workload of one decision."""

    version: str
    """The digest of the whole list."""
    sites: tuple[AssignedReplicas, ...]
    loss: str = ""
    """The loss whose plan it is, as `kapok survive` names it; empty: a batch's."""


def assignment_version(workloads: tuple[AssignedWorkload, ...]) -> str:
    """The version of a batch's list; empty for an empty one."""
    return canonical_digest(workloads) if workloads else ""
