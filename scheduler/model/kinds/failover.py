"""What `Workload.status.failover` says: what was replaced, and what operators were answered."""

from typing import Annotated

from msgspec import Meta

from scheduler.model.kinds.fields import Count, Instant, Name, Part, ShortText

MAX_FAILOVER_MOVES = 64
MAX_FAILOVER_ANSWERS = 64


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
