"""What `Workload.status.failover` says: what was replaced, and what operators were answered."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import Count, Instant, Name, Part, ShortText

MAX_FAILOVER_MOVES = 64
MAX_FAILOVER_ANSWERS = 64
MAX_UNREADY_MOVES = 32

UnreadyReason = Literal[
    "crash-loop", "image-pull", "pending-unschedulable", "probe", "node-lost", "stuck", "other"
]
"""As agents report it; `stuck`: ordered and not on a node, without a reason that is known."""

UNREADY_WORDS: Final[Mapping[UnreadyReason, str]] = {
    "crash-loop": "crash loop",
    "image-pull": "image cannot be pulled",
    "pending-unschedulable": "no node for its pods",
    "probe": "readiness probe fails",
    "node-lost": "node lost",
    "stuck": "stuck in flight",
    "other": "unknown reason",
}


class FailoverMove(Part, frozen=True, kw_only=True):
    """Replicas that were ordered elsewhere because their site is silent, or by an operator."""

    site: Annotated[Name, Meta(description="The site that they were replaced at.")]
    replicas: Count
    to: Annotated[
        tuple[Name, ...],
        Meta(max_length=64, description="The sites that got replicas by that decision."),
    ] = ()
    at: Instant | None = None
    silent_since: Instant | None = None
    by: Annotated[
        str, Meta(max_length=256, description="The operator who asked. Empty: automatic.")
    ] = ""


class FailoverAnswer(Part, frozen=True, kw_only=True):
    """What came of an operator's word, `kapok failover`; each word has one answer."""

    site: Name
    id: ShortText
    by: Annotated[str, Meta(max_length=256)] = ""
    moved: bool = False
    reason: Annotated[str, Meta(max_length=1024, description="Why nothing was moved.")] = ""
    at: Instant | None = None


class UnreadyMove(Part, frozen=True, kw_only=True):
    """Replicas that were not ready at a site that reports, and were replaced elsewhere."""

    site: Annotated[Name, Meta(description="The site where they were not ready.")]
    replicas: Count
    to: Annotated[
        tuple[Name, ...],
        Meta(max_length=64, description="The sites that got replicas by that decision."),
    ] = ()
    reason: Annotated[UnreadyReason, Meta(description="The reason of most of them.")] = "other"
    content: Annotated[
        str,
        Meta(max_length=64, description="Names the manifests; a move counts while these are so."),
    ] = ""
    at: Instant | None = None
    failed: Annotated[
        bool,
        Meta(description="The replacement was not ready either, so they moved back."),
    ] = False


class FailoverStatus(Part, frozen=True, kw_only=True):
    """What failover has done for a workload."""

    moved: Annotated[
        tuple[FailoverMove, ...],
        Meta(
            max_length=MAX_FAILOVER_MOVES,
            description="Replicas that were replaced, while they may move back.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    answers: Annotated[
        tuple[FailoverAnswer, ...],
        Meta(
            max_length=MAX_FAILOVER_ANSWERS,
            description="The last answer to operators about each site.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    unready: Annotated[
        tuple[UnreadyMove, ...],
        Meta(
            max_length=MAX_UNREADY_MOVES,
            description="Moves of replicas that were not ready, while they forbid further ones.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
