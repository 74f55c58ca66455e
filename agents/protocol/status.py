"""What a site did with what it was told: one entry per order, and the index that it works by."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, get_args

from agents.protocol.codec import Codec
from agents.protocol.index import IndexEcho
from agents.protocol.report import MAX_ORDERS, Count, MessageHeader
from agents.protocol.shapes import AtMost

OrderPhase = Literal[
    "Fetching",  # listed, but its content is not here yet
    "Applying",  # being applied, or an error that may pass; see `message`
    "Applied",  # the member's API has taken every object; not all is ready
    "Ready",  # everything that can become ready is
    "Finished",  # jobs have ended; see `finished`; never run again
    "Failed",  # the member's API refuses it, or a job failed
    "Conflict",  # an object belongs to somebody else; it was not touched
    "Refused",  # the agent's own rules forbid it (another namespace, inline Secret data, …)
    "Withdrawing",  # no longer listed; objects are going, pods may still be bound
]
"""How far an order has come. A reader of version 1 treats a word that it does not know as Applying."""

ORDER_PHASES: Final[tuple[OrderPhase, ...]] = get_args(OrderPhase)

JobOutcome = Literal["Succeeded", "Failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """How one order stands.

    Attributes:
        id: the order's id.
        generation: that this entry is about: the newest one tried.
        phase: see `OrderPhase`.
        objects: in the content.
        applied: of these, taken by the member's API in this generation.
        desired: pods that the objects ask for.
        ready: pods that are ready.
        bound: pods bound to nodes and not ended, terminating ones included.
        succeeded: pods or jobs' completions that ended well.
        finished: every job has ended: how.
        applied_generation: the newest that was applied whole; absent before the first.
        message: for a person: what is wrong and what to do.
    """

    id: str
    generation: Count
    phase: Annotated[str, AtMost(32)]
    objects: Count | None = None
    applied: Count | None = None
    desired: Count | None = None
    ready: Count | None = None
    bound: Count | None = None
    succeeded: Count | None = None
    finished: JobOutcome | None = None
    applied_generation: Count | None = None
    message: Annotated[str, AtMost(1024)] | None = None


@dataclass(frozen=True, kw_only=True)
class SiteStatusMessage(MessageHeader):
    """Everything that the site knows of its orders; newest wins.

    Attributes:
        site: whose; must be the topic's.
        site_uid: of the index that it works by.
        index: echo of that index; absent: none was ever accepted.
        orders: one per order that is listed or still being withdrawn. What is not here is not
            there.
        missing: ids whose content has not come; the hub publishes them again.
        is_executing: this agent applies; others only report.
        bad_messages: messages from the hub's side that could not be used, by reason, since boot.
    """

    kind: Literal["status"] = "status"
    site: Annotated[str, AtMost(253)]
    site_uid: Annotated[str, AtMost(128)] | None = None
    index: IndexEcho | None = None
    orders: Annotated[tuple[OrderStatus, ...], AtMost(MAX_ORDERS)] = ()
    missing: Annotated[tuple[str, ...], AtMost(MAX_ORDERS)] = ()
    is_executing: bool = False
    bad_messages: Annotated[dict[str, Count], AtMost(64)] = field(default_factory=dict)


SITE_STATUS: Final = Codec(SiteStatusMessage)
