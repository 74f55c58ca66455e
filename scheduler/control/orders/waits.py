"""What an order waits for before it goes to its site, as a reason and a text for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from scheduler.control.status.conditions import MAX_SITES_LISTED
from scheduler.control.status.phase import clip_text
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition

REFERENCES: Final = "References"
"""The condition that says what an order waits for."""

OVERRIDES: Final = "OverridesApplied"
"""The condition that says at which sites an override cannot be applied."""

WAITING: Final = "Waiting"
"""The phase of an order that is not sent yet."""

MISSING: Final = "MissingReference"
UNREAD: Final = "ReferenceNotRead"
REFUSED: Final = "ReferenceRefused"
TOO_MANY: Final = "TooManyReferences"
SEALING_KEY_UNKNOWN: Final = "SealingKeyUnknown"


class OrderWait(NamedTuple):
    """Why an order is not sent yet.

    Attributes:
        reason: the reason of condition References.
        message: for people.
    """

    reason: str
    message: str


def references_condition(waits: Mapping[str, OrderWait], now: datetime) -> Condition | None:
    """The condition References of a workload; None when no order of it waits.

    Args:
        waits: what its orders wait for, by site.
        now: the time of the condition, if it is new.
    """
    if not waits:
        return None
    by_wait: dict[OrderWait, list[str]] = {}
    for site, wait in sorted(waits.items()):
        by_wait.setdefault(wait, []).append(site)
    texts = [
        f"{format_list(sites, MAX_SITES_LISTED)}: {wait.message}"
        for wait, sites in sorted(by_wait.items())
    ]
    return Condition(
        type=REFERENCES,
        status="False",
        reason=min(by_wait).reason,
        message=clip_text(f"not sent yet to {'; '.join(texts)}"),
        last_transition_time=now,
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
