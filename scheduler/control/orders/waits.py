"""What an order waits for before it goes to its site, as a reason and a text for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from scheduler.control.status.conditions import MAX_SITES_LISTED
from scheduler.control.status.phase import clip_text
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition

REFERENCES: Final = "References"
"""The condition that says what goes along with the orders, and what an order waits for."""

OVERRIDES: Final = "OverridesApplied"
"""The condition that says at which sites an override cannot be applied."""

WAITING: Final = "Waiting"
"""The phase of an order that is not sent yet."""

MISSING: Final = "MissingReference"
UNREAD: Final = "ReferenceNotRead"
REFUSED: Final = "ReferenceRefused"
TOO_MANY: Final = "TooManyReferences"
SEALING_KEY_UNKNOWN: Final = "SealingKeyUnknown"
NOT_SENT: Final = "NotSent"
GO_ALONG: Final = "GoAlong"

_MAX_NAMED: Final = 16


class OrderWait(NamedTuple):
    """Why an order is not sent yet.

    Attributes:
        reason: the reason of condition References.
        message: for people.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentReferences:
    """What the orders of a workload refer to.

    Attributes:
        waits: what orders wait for, by site.
        sent: the objects that go along, by name.
        not_sent: the objects that do not, with the reason.
        is_unknown: some orders are known by their digests alone.
    """

    waits: Mapping[str, OrderWait]
    sent: tuple[str, ...] = ()
    not_sent: tuple[str, ...] = ()
    is_unknown: bool = False


def references_condition(
    references: SentReferences, now: datetime, former: Condition | None = None
) -> Condition | None:
    """The condition References of a workload; None when its pod templates refer to nothing.

    It is False while an order waits, or while something is not sent that no site may have. The
    latter stops nothing.

    Args:
        references: what its orders refer to.
        now: the time of the condition, if it is new.
        former: the condition until now; it stays while nothing is known of an order.
    """
    texts: list[str] = []
    reason = GO_ALONG
    if references.not_sent:
        reason = NOT_SENT
        texts.append(_format_not_sent(references.not_sent))
    if references.waits:
        reason = min(references.waits.values()).reason
        texts.insert(0, _format_waits(references.waits))
    elif references.is_unknown:
        return former
    is_good = not texts
    if references.sent and not references.waits:
        texts.append(f"these go along: {format_list(references.sent, _MAX_NAMED)}")
    if not texts:
        return None
    return Condition(
        type=REFERENCES,
        status="True" if is_good else "False",
        reason=reason,
        message=clip_text("; ".join(texts)),
        last_transition_time=now,
    )


def _format_waits(waits: Mapping[str, OrderWait]) -> str:
    by_wait: dict[OrderWait, list[str]] = {}
    for site, wait in sorted(waits.items()):
        by_wait.setdefault(wait, []).append(site)
    texts = [
        f"{format_list(sites, MAX_SITES_LISTED)}: {wait.message}"
        for wait, sites in sorted(by_wait.items())
    ]
    return f"not sent yet to {'; '.join(texts)}"


def _format_not_sent(not_sent: tuple[str, ...]) -> str:
    return (
        f"not sent, so each site must have it: {format_list(not_sent, _MAX_NAMED)}: ask the"
        " administrator for that right, or name what the sites have in annotation"
        " kapok.dev/from-site"
    )


def overrides_condition(problems: Mapping[str, str], now: datetime) -> Condition | None:
    """The condition OverridesApplied of a workload; None when all of its orders could be made.

    Args:
        problems: why an order has no content, by site.
        now: the time of the condition, if it is new.
    """
    if not problems:
        return None
    by_text: dict[str, list[str]] = {}
    for site, text in sorted(problems.items()):
        by_text.setdefault(text, []).append(site)
    texts = [
        f"{format_list(sites, MAX_SITES_LISTED)}: {text}" for text, sites in sorted(by_text.items())
    ]
    return Condition(
        type=OVERRIDES,
        status="False",
        reason="NotApplicable",
        message=clip_text(f"nothing new is ordered at {'; '.join(texts)}"),
        last_transition_time=now,
    )
