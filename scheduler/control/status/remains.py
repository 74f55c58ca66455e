"""What is left of a workload at sites that it has left, as `Workload.status.remains`. Pure.

A share that ends is not gone: its order is withdrawn, and the site has to confirm that by listing.
Until then the site stands here, with what it names as the obstacle, and the workload says `Moving`.
Claims that the site keeps stand here until they are deleted by an explicit word.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from scheduler.control.status.conditions import MAX_SITES_LISTED, set_condition
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.workload import SiteRemains, WorkloadStatus

_MAX_SITES = 256
_MAX_CLAIMS = 64
_MAX_MESSAGE_LENGTH = 1024
NOT_CONFIRMED = "not yet confirmed as gone"
SILENT = "the site does not report; it withdraws the order when it returns"


@dataclass(frozen=True, slots=True)
class SiteLeft:
    """What is known of a site that holds no share of a workload.

    Attributes:
        is_gone: the site confirms that nothing is left but claims; True if the Site is gone too.
        is_silent: the site does not report.
        message: what the site says about what is left.
        claims: names of the claims that it keeps.
    """

    is_gone: bool
    is_silent: bool = False
    message: str = ""
    claims: tuple[str, ...] = ()


def with_remains(
    status: WorkloadStatus, left: Mapping[str, SiteLeft], now: datetime
) -> WorkloadStatus:
    """The status with what is left at these sites, and with `Moving` until all have confirmed."""
    known = {one.site: one for one in status.remains}
    remains = [
        _remains_at(site, one, known.get(site), now)
        for site, one in sorted(left.items())
        if not one.is_gone or one.claims
    ]
    after = msgspec.structs.replace(status, remains=tuple(remains[:_MAX_SITES]))
    waits = [one for one in remains if one.message]
    moving = any(one.type == "Moving" and one.reason != _REASON for one in status.conditions)
    if waits and not moving:
        return set_condition(after, _unconfirmed_condition(waits), "Moving", now)
    return after


_REASON = "WaitsForWithdrawal"


def _unconfirmed_condition(waits: Iterable[SiteRemains]) -> Condition:
    texts = [f"{one.site} ({one.message})" for one in waits]
    listed = format_list(texts, MAX_SITES_LISTED)
    return Condition(
        type="Moving",
        status="True",
        reason=_REASON,
        message=f"withdrawn and not yet seen gone at {listed}"[:_MAX_MESSAGE_LENGTH],
    )


def _remains_at(site: str, one: SiteLeft, known: SiteRemains | None, now: datetime) -> SiteRemains:
    message = ""
    if not one.is_gone:
        message = one.message or (SILENT if one.is_silent else NOT_CONFIRMED)
    return SiteRemains(
        site=site,
        # A silent site keeps what it had; what it does not report is not gone.
        claims=one.claims[:_MAX_CLAIMS] or (known.claims if known and not one.is_gone else ()),
        message=message[:_MAX_MESSAGE_LENGTH],
        since=known.since if known else now.replace(microsecond=0),
    )


def withdrawn_condition(left: Mapping[str, SiteLeft]) -> Condition:
    """`Withdrawn` of a workload that is being deleted: which sites have not confirmed, and why."""
    silent = sorted(site for site, one in left.items() if one.is_silent)
    texts = [
        f"{site} ({one.message or (SILENT if one.is_silent else NOT_CONFIRMED)})"
        for site, one in sorted(left.items())
    ]
    message = f"waiting to be seen gone at {format_list(texts, MAX_SITES_LISTED)}"
    if silent:
        message += (
            f". If {silent[0]} never comes back, delete its Site, or take the finalizer "
            "kapok.dev/withdraw off: it still withdraws the order if it returns, "
            "and keeps the claims"
        )
    return Condition(
        type="Withdrawn",
        status="False",
        reason="SiteSilent" if len(silent) == len(left) else "NotSeenGone",
        message=message[:_MAX_MESSAGE_LENGTH],
    )
