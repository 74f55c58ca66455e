"""Which life of a workload an order belongs to, and the order ids that say so.

A name may be used again: a workload is deleted, and another one gets its name. `status.incarnation`
distinguishes the two in order ids. The scheduler alone sets it, with the first decision; what a
tenant writes into an annotation is no identity, and what a site reports is none either.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from scheduler.control.ports.agents import OrderForSite, OrderNotPublishable
from scheduler.control.ports.ledger import RecordedIdentity
from scheduler.control.sites.site_state import SiteState
from scheduler.control.status.conditions import MAX_SITES_LISTED, find_condition
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import Clock

NOT_ADOPTED = "NotAdopted"
"""Reason of condition Accepted while it is unknown whose orders sites report."""

_OLD_ANNOTATION = "kapok.dev/incarnation"
"""Where versions before `status.incarnation` kept it, and where tenants can write."""
_INCARNATION = re.compile(r"[a-z0-9]{1,40}")
_HUB_ID = re.compile(r"[^/\s]{1,128}")
_DIGITS = 10
_ORDER_LABEL, _TOKEN_DIGITS = "kapok.dev/order", 32
"""The label of pods at sites, and how many digits of the id's digest are its value (the wire)."""
_MAX_NAMESPACE_CHARACTERS, _MAX_NAME_CHARACTERS = 63, 253


@dataclass(frozen=True, slots=True)
class OrderIdentity:
    """The four parts of an order id.

    Attributes:
        hub_id: names the hub.
        key: namespace and name of the workload.
        incarnation: names one life of the workload.
    """

    hub_id: str
    key: WorkKey
    incarnation: str


def format_order_id(hub_id: str, key: WorkKey, incarnation: str) -> str:
    """The id of an order; without the uid, so that a restored backup finds its own orders again."""
    return f"{hub_id}/{key[0]}/{key[1]}/{incarnation}"


def parse_order_id(text: str) -> OrderIdentity | None:
    """The parts of an order id; None for a text that is none, or that is too long to be one."""
    parts = text.split("/", 4)
    if len(parts) != 4:  # noqa: PLR2004 - hub id / namespace / name / incarnation
        return None
    hub_id, namespace, name, incarnation = parts
    is_bounded = (
        0 < len(namespace) <= _MAX_NAMESPACE_CHARACTERS and 0 < len(name) <= _MAX_NAME_CHARACTERS
    )
    if not (is_bounded and _HUB_ID.fullmatch(hub_id) and _INCARNATION.fullmatch(incarnation)):
        return None
    return OrderIdentity(hub_id, (namespace, name), incarnation)


def pod_selector(order_id: str) -> str:
    """The label selector of a workload's pods at all its sites, as agents label them."""
    return f"{_ORDER_LABEL}={sha256(order_id.encode()).hexdigest()[:_TOKEN_DIGITS]}"


def new_incarnation(uid: str) -> str:
    """The incarnation of a new object; the same after a crash, because it follows from the uid."""
    return sha256(uid.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityResolver:
    """Finds the incarnation of workloads.

    Attributes:
        hub_id: names this hub in order ids.
        recorded: what the ledger says of the name "namespace/name".
        sites: what the sites report, by name.
        clock: for the time that a site has had to report.
        hear_seconds: so long a site may take to report after it is taken in.
    """

    hub_id: str
    recorded: Callable[[str], RecordedIdentity]
    sites: Mapping[str, SiteState]
    clock: Clock
    hear_seconds: float

    def identify(self, workload: Workload) -> Workload | NotAccepted:
        """The workload with its incarnation in its status, or why that cannot be known.

        The status is asked first. An object without one is new, or was restored without its status:
        the ledger distinguishes the two. Where it cannot, a new incarnation would withdraw what
        runs of the restored one, so it is taken only if no site reports an order of that name.
        """
        status, meta = workload.status, workload.metadata
        if status.incarnation:
            return workload
        if _is_of_older_version(workload):
            written = meta.annotations.get(_OLD_ANNOTATION, "")
            is_sound = _INCARNATION.fullmatch(written) is not None
            return _with_incarnation(workload, written if is_sound else new_incarnation(meta.uid))
        found = self.recorded(meta.key)
        if found.incarnation:
            return _with_incarnation(workload, found.incarnation)
        if found.is_complete:
            return _with_incarnation(workload, new_incarnation(meta.uid))
        reported = self.reported_incarnations((meta.namespace, meta.name))
        if not found.is_adopted and (reported or self._sites_to_hear()):
            return _not_adopted(meta.key, reported or self._sites_to_hear())
        known = _most_reported(reported) or new_incarnation(meta.uid)
        return _with_incarnation(workload, known)

    def _sites_to_hear(self) -> list[str]:
        """The sites that were taken in just now, and have not said yet what they run."""
        since = self.clock.monotonic() - self.hear_seconds
        return [
            name
            for name, one in self.sites.items()
            if one.order_status is None and one.admitted_seconds > since
        ]

    def reported_incarnations(self, key: WorkKey) -> dict[str, str]:
        """The incarnation of a workload's name that each site reports and keeps, by site."""
        found: dict[str, str] = {}
        for site, state in sorted(self.sites.items()):
            for one in state.order_status.orders.values() if state.order_status else ():
                identity = parse_order_id(one.id) if one.phase != "Withdrawing" else None
                if identity and (identity.hub_id, identity.key) == (self.hub_id, key):
                    found[site] = identity.incarnation
        return found


def _is_of_older_version(workload: Workload) -> bool:
    """Whether its status, which only the scheduler writes, is of a version without incarnations.

    Since then each decision brings one, except the one that says that none is known.
    """
    status = workload.status
    accepted = find_condition(status.conditions, "Accepted")
    if status.placement.groups:
        return True
    return status.decision is not None and not (accepted and accepted.reason == NOT_ADOPTED)


def _most_reported(reported: Mapping[str, str]) -> str:
    """The incarnation that most sites report, so that no single site decides; "" for none."""
    counts = Counter(reported.values())
    return min(counts, key=lambda one: (-counts[one], one), default="")


def _with_incarnation(workload: Workload, incarnation: str) -> Workload:
    status = msgspec.structs.replace(workload.status, incarnation=incarnation)
    return msgspec.structs.replace(workload, status=status)


def _not_adopted(key: str, where: Iterable[str]) -> NotAccepted:
    sites = format_list(sorted(where), MAX_SITES_LISTED)
    return NotAccepted(
        reason="invalid",
        condition=NOT_ADOPTED,
        message=f"{sites}: orders of {key} run there, or may run there, and the ledger does not say"
        " whether they are this workload's; nothing is changed there. Restore the ledger, or accept"
        " its loss: after `kapok hub adopt --lost ledger` the workload takes these orders over",
    )


def check_order_id(order: OrderForSite) -> None:
    """Refuses an id that could be read as that of another workload.

    Raises:
        OrderNotPublishable: it is not what its namespace and name make of it.
    """
    identity = parse_order_id(order.id)
    if identity is None or identity.key != (order.namespace, order.name):
        raise OrderNotPublishable(
            "the order cannot be sent: its id is not HUB/NAMESPACE/NAME/INCARNATION, where the last"
            " part is 1 to 40 small letters or digits"
        )
