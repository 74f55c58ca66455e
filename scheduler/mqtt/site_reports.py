"""Turns what an agent reports into what decisions and control loops read."""

import re
import threading
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import msgspec

from agents.protocol.bounds import MAX_MESSAGE_BYTES
from agents.protocol.codec import Codec, parse_json
from agents.protocol.errors import WireError
from agents.protocol.report import (
    Report,
    ReportedEnergy,
    ReportedIntensity,
    ReportedNodeClass,
    ReportedPower,
    ReportSections,
)
from agents.protocol.sealing.box import is_sealing_key
from agents.protocol.shapes import Writer, to_camel_case, writer_of
from agents.protocol.status import (
    NOT_READY_REASONS,
    ORDER_PHASES,
    SITE_STATUS,
    DriftedObject,
    OrderStatus,
    SiteStatusMessage,
)
from scheduler.control.ports.agents import (
    NotReadyCount,
    OrderEndpoint,
    OrderState,
    OrderStatusReport,
    SiteReport,
)
from scheduler.control.ports.energy import ReportedTotals
from scheduler.control.ports.ledger import SignedHead
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import NAME_PATTERN
from scheduler.model.kinds.site import Intensity, NodeClass, Power, SiteStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.mqtt.nonces import observed_seconds_of
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from scheduler.placement.fleet.node_table import NodeTable, SiteRows
from scheduler.placement.fleet.site_figures import figures_of
from scheduler.runtime.printable import printable

FigureT = TypeVar("FigureT", Intensity, Power)

MAX_AGE_SECONDS = 10 * 365 * 86_400.0
"""A report that is older, by its own account, is refused."""

_STATUS_FIELDS = (
    "nodeClasses",
    "rtt",
    "intensity",
    "power",
    "apiKinds",
    "clusterKinds",
    "namespaces",
)
_OLDEST_FIGURE_AT = datetime(1970, 1, 1, tzinfo=UTC)
_ADDRESS = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::[0-9A-Fa-f.:]{0,40}")
MAX_RESOURCES_PER_SITE = 512
_DATED_FIELDS = ("intensity", "power")
_AGE_FIELDS = ("observedAt", "observedSecondsAgo")
_MAX_GPU_CARD_NUMBER = 128
MAX_NODE_CLASSES_PER_SITE = 5_000
MAX_LABELS_PER_SITE = 16_384
MAX_AMOUNT_TEXTS_PER_SITE = 16_384
_CLAIM_NAME = re.compile(NAME_PATTERN)
_ORDERS = "orders"
_MAX_DRIFTED_CHARACTERS = 500
_MAX_REMEMBERED_ORDERS = 5_000
"""Of a site with more, each status is read whole, on a thread of its own."""


_NODE_CLASS = Codec(ReportedNodeClass)
_ORDER_STATUS = Codec(OrderStatus)
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def site_report_of(report: Report) -> SiteReport:
    """The figures of a report as the site's status, without any time.

    It takes long for a large report, so it may run on any thread; `with_times` dates the result.

    Args:
        report: the report of one agent.

    Raises:
        WireError: a figure cannot be read.
    """
    return site_report_with(report, status_of(report))


def status_of(report: Report) -> SiteStatus:
    """The figures of a report, checked.

    Raises:
        WireError: a figure cannot be read.
    """
    return _status_of(report, _STATUS_FIELDS, _check_figures)


def small_status_of(report: Report) -> SiteStatus:
    """The same without the lists: power, intensity, and whether there is an executor."""
    return _status_of(report, _DATED_FIELDS, figures_of)


def _status_of(
    report: Report, keys: Iterable[str], check: Callable[[SiteFacts], object]
) -> SiteStatus:
    raw: dict[str, Any] = {}
    for key in keys:
        name, writer = _status_writers()[key]
        value = getattr(report, name)
        if value is not None:
            raw[key] = writer(value)
    raw["executor"] = report.executor is not None
    for name in _DATED_FIELDS:
        if name in raw:
            raw[name] = {key: raw[name][key] for key in raw[name] if key not in _AGE_FIELDS}
    if (
        report.power is not None
        and report.energy is not None
        and report.energy.pv_watts is not None
    ):
        raw["power"]["pvWatts"] = report.energy.pv_watts
    try:
        status = msgspec.convert(raw, SiteStatus)
        check(SiteFacts(name=report.site, status=status))
    except (msgspec.ValidationError, NotAQuantity) as error:
        raise WireError("malformed", str(error)) from error
    return status


@cache
def _status_writers() -> dict[str, tuple[str, Writer]]:
    """By the key of a figure in the status: the section of a report, and its writer."""
    hints = typing.get_type_hints(ReportSections, include_extras=True)
    names = {to_camel_case(name): name for name in hints}
    return {key: (names[key], writer_of(hints[names[key]])) for key in _STATUS_FIELDS}


def site_report_with(report: Report, status: SiteStatus) -> SiteReport:
    """A report with its figures, which were read and checked."""
    executor = report.executor
    return SiteReport(
        site=report.site,
        observed_seconds=float("-inf"),
        figures=status,
        has_executor=executor is not None,
        bound={one.id: (one.generation, one.bound) for one in report.orders or ()},
        unschedulable={
            one.id: one.unschedulable for one in report.orders or () if one.unschedulable
        },
        is_cluster_reachable=executor is None or executor.is_reachable,
        cluster_problem=(executor.problem or "") if executor is not None else "",
        interval_seconds=report.interval_seconds or None,
        sealing_key=_sealing_key_of(report),
        missing={printable(one.sensor): one.seconds for one in report.missing or ()},
        energy=_energy_of(report.energy),
    )


def _energy_of(energy: ReportedEnergy | None) -> ReportedTotals | None:
    """The totals of a report; of the photovoltaics only what was not fed into the grid."""
    if energy is None:
        return None
    used = energy.pv_joules
    if used is not None:
        used = max(0.0, used - (energy.export_joules or 0.0))
    return ReportedTotals(
        counter_id=printable(energy.counter_id),
        it_joules=energy.it_joules,
        pv_joules=used,
        unmeasured_seconds=energy.unmeasured_seconds or 0.0,
        origin=energy.origin,
        pue=energy.pue,
        pue_origin=energy.pue_origin or "unknown",
    )


def _sealing_key_of(report: Report) -> str:
    """The key of the agent that applies orders; one that cannot be used is none."""
    executor = report.executor
    text = (executor.sealing_key or "") if executor is not None and executor.is_active else ""
    return text if is_sealing_key(text) else ""


def with_times(
    read: SiteReport, report: Report, *, sent_seconds: float, sent_at: datetime
) -> SiteReport:
    """What `site_report_of` a report gave, with its times and the dates of its figures.

    Args:
        read: what the report says.
        report: the report.
        sent_seconds: when it was made at the latest, on our monotonic clock.
        sent_at: the same instant as a date; no figure is younger.

    Raises:
        WireError: the date of a figure is out of range.
    """
    intensity, power = read.figures.intensity, read.figures.power
    figures = msgspec.structs.replace(
        read.figures,
        intensity=_dated(intensity, _observed_at(report.intensity, sent_at)),
        power=_dated(power, _observed_at(report.power, sent_at)),
    )
    return replace(
        read,
        observed_seconds=observed_seconds_of(sent_seconds, report.observed_seconds_ago),
        sent_seconds=sent_seconds,
        figures=figures,
    )


def order_status_report_of(
    message: SiteStatusMessage, orders: dict[str, OrderState] | None = None
) -> OrderStatusReport:
    """What a status says; when it was made is not known yet.

    Args:
        message: the status.
        orders: the state of each of its orders, by order id, if that is read already.
    """
    index = message.index
    if orders is None:
        orders = {one.id: order_state_of(one) for one in message.orders}
    return OrderStatusReport(
        site=message.site,
        site_uid=message.site_uid,
        version=(index.epoch, index.sequence) if index else None,
        digest=index.digest if index else "",
        orders=orders,
        missing=message.missing,
        kept=_kept_by_order(message),
        is_executing=message.is_executing,
        index_proof=message.index_proof or "",
        ledger_heads=tuple(SignedHead(**asdict(one.head)) for one in message.ledger_heads or ()),
        agent=message.agent,
        takes_deltas=bool(message.takes_deltas),
        wants_full_index=bool(message.wants_full_index),
        acts_on=frozenset(message.acts_on or ()),
    )


def _dated(figure: FigureT | None, at: datetime | None) -> FigureT | None:
    return None if figure is None else msgspec.structs.replace(figure, observed_at=at)


def _observed_at(
    figure: ReportedIntensity | ReportedPower | None, sent_at: datetime
) -> datetime | None:
    """The date of a figure; None: it has none, and is as old as its report.

    An agent's settings may give a date; a sensor gives an age in seconds. A date that cannot be
    read is left out.
    """
    if figure is None:
        return None
    ago = figure.observed_seconds_ago
    at = sent_at - timedelta(seconds=min(ago, MAX_AGE_SECONDS)) if ago else None
    text = figure.observed_at if isinstance(figure, ReportedIntensity) else None
    if text is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(text)
    if at is None:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at < _OLDEST_FIGURE_AT:
        raise WireError("malformed", f"observedAt: {text} is before 1970")
    # A clock that is ahead makes no figure younger.
    return min(at, sent_at).astimezone(UTC).replace(microsecond=0)


class _Trial(threading.local):
    """A table that rows are read by and not written to, one for each thread.

    Attributes:
        table: the table.
        last: what was read last; the form of its rows is known as long as it is here.
    """

    def __init__(self) -> None:
        self.table = NodeTable()
        self.last: SiteRows | None = None


_TRIAL = _Trial()


def can_fleet_read(rows: list[dict[str, float | str]]) -> bool:
    """Whether the fleet can read these rows of free capacity, of whatever node classes."""
    status = SiteStatus(node_classes=(NodeClass(free=tuple(rows)),))
    try:
        read = _TRIAL.table.read(SiteFacts(name="", status=status))
    except NotAQuantity:
        return False
    _TRIAL.last = read
    return read.last_card <= _MAX_GPU_CARD_NUMBER


def _check_figures(facts: SiteFacts) -> None:
    """Reads all figures as the fleet does, so that no unreadable report reaches it.

    Raises:
        NotAQuantity: an amount is not a quantity.
        WireError: a GPU card's number is too high, or there are too many resources, node classes or
            values of labels. The fleet keeps them as long as the site reports them.
    """
    if len(_amount_texts(facts.status)) > MAX_AMOUNT_TEXTS_PER_SITE:
        raise WireError("too-large", f"more than {MAX_AMOUNT_TEXTS_PER_SITE} different amounts")
    rows = NodeTable().read(facts)
    if len(rows.resources) > MAX_RESOURCES_PER_SITE:
        raise WireError("too-large", f"more than {MAX_RESOURCES_PER_SITE} resources at a site")
    if rows.last_card > _MAX_GPU_CARD_NUMBER:
        raise WireError("too-large", f"a GPU card with a number above {_MAX_GPU_CARD_NUMBER}")
    if len(facts.status.node_classes) > MAX_NODE_CLASSES_PER_SITE:
        raise WireError("too-large", f"more than {MAX_NODE_CLASSES_PER_SITE} kinds of nodes")
    labels = {label for each in facts.status.node_classes for label in each.labels.items()}
    if len(labels) > MAX_LABELS_PER_SITE:
        raise WireError("too-large", f"more than {MAX_LABELS_PER_SITE} values of node labels")
    NamespaceLimitIndex().parse(facts)
    figures_of(facts)


def amounts_of_limits(report: Report) -> int:
    """The number of amounts in the limits of a report's namespaces."""
    return sum(
        len(amounts or ())
        for each in report.namespaces or ()
        for amounts in (
            each.quota_left,
            each.container_min,
            each.container_max,
            each.container_default,
            each.container_default_request,
            each.pod_min,
            each.pod_max,
        )
    )


def _amount_texts(status: SiteStatus) -> set[str]:
    """The different texts of amounts, without those of whole numbers, which cost nothing to read.

    Each may have a form of its own, which takes longer to read.
    """
    rows = (row.values() for each in status.node_classes for row in each.free)
    limits = (
        amounts.values()
        for each in status.namespaces
        for amounts in (
            each.quota_left,
            each.container_min,
            each.container_max,
            each.container_default,
            each.container_default_request,
            each.pod_min,
            each.pod_max,
        )
    )
    texts = (one for amounts in chain(rows, limits) for one in amounts if type(one) is str)
    return {one for one in texts if not (one.isdecimal() or one[:-1].isdecimal())}


def _kept_by_order(message: SiteStatusMessage) -> dict[str, tuple[str, ...]]:
    kept: dict[str, list[str]] = {}
    for claim in message.kept or ():
        if _CLAIM_NAME.fullmatch(claim.name):  # the hub would refuse the whole status for another
            kept.setdefault(claim.id, []).append(claim.name)
    return {order_id: tuple(names) for order_id, names in kept.items()}


def order_state_of(order: OrderStatus) -> OrderState:
    """What a site says of one order."""
    return OrderState(
        id=order.id,
        generation=order.generation,
        phase=order.phase if order.phase in ORDER_PHASES else "Applying",
        applied_generation=order.applied_generation,
        replicas=order.desired,
        ready=order.ready,
        bound=order.bound,
        finished=order.finished,
        recreated=order.recreated or 0,
        not_run=order.not_run or 0,
        not_ready=tuple(
            NotReadyCount(
                reason=one.reason if one.reason in NOT_READY_REASONS else "other",
                pods=one.pods,
                seconds=one.seconds,
            )
            for one in order.not_ready or ()
        ),
        message=printable(order.message or ""),
        endpoints=tuple(
            OrderEndpoint(one.address, one.port, one.ready, one.host or "")
            for one in order.endpoints or ()
            if _is_address(one.address) and (one.host is None or _is_address(one.host))
        ),
        drifted=tuple(_format_drifted(one) for one in order.drifted or ()),
    )


def _format_drifted(one: DriftedObject) -> str:
    """`Deployment shop/web (spec.replicas)`; what people wrote at the site is made printable."""
    where = f"{one.namespace}/" if one.namespace else ""
    fields = f" ({', '.join(one.fields)})" if one.fields else ""
    return printable(f"{one.kind} {where}{one.name}{fields}")[:_MAX_DRIFTED_CHARACTERS]


def _is_address(text: str) -> bool:
    """Whether a site's text may stand for an IP address or a host name, as others will read it."""
    return _ADDRESS.fullmatch(text) is not None


class ReadStatus(NamedTuple):
    """A decoded status.

    Attributes:
        message: the status.
        orders: the state of each of its orders, by order id; None: not read yet.
    """

    message: SiteStatusMessage
    orders: dict[str, OrderState] | None = None


class _ReadOrder(NamedTuple):
    status: OrderStatus
    state: OrderState


@dataclass(slots=True)
class StatusReader:
    """Decodes statuses of sites, and reads of each only the orders that have changed.

    A status lists all orders of its site, and most are as in the one before. An order whose JSON
    has the same bytes says the same, so what was read of it is used again. Everything else is
    decoded as `SITE_STATUS` does, and a status that is refused is refused by that, with its reason.
    Any thread may use this; two never read statuses of one site at once.
    """

    _known: dict[str, dict[bytes, _ReadOrder]] = field(default_factory=dict)

    def decode(self, site: str, data: bytes) -> ReadStatus:
        """Decodes a status that a key of this site has signed.

        Raises:
            WireError: as `SITE_STATUS.decode`.
        """
        parts = _split(data)
        if parts is None:
            return ReadStatus(SITE_STATUS.decode(data))
        rest, items = parts
        known = self._known.get(site, {})
        try:
            message = SITE_STATUS.from_json(
                {name: parse_json(bytes(each)) for name, each in rest.items()}
            )
            read = {one: known.get(one) or _read_order(one) for one in items}
        except WireError:
            return ReadStatus(SITE_STATUS.decode(data))  # its error says where in the message
        self._known[site] = read
        listed = [read[one] for one in items]
        message = replace(message, orders=tuple(one.status for one in listed))
        return ReadStatus(message, {one.state.id: one.state for one in listed})

    def forget(self, site: str) -> None:
        """Drops what is remembered of a site that is gone or has new keys."""
        self._known.pop(site, None)


def _split(data: bytes) -> tuple[Mapping[str, msgspec.Raw], list[bytes]] | None:
    """A status without its orders, and the JSON of each order; None if it is to be read whole."""
    if len(data) > MAX_MESSAGE_BYTES:
        return None
    try:
        parts: dict[str, Any] = _PARTS.decode(data)
        items = _ITEMS.decode(parts.pop(_ORDERS, b"[]"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(items) > _MAX_REMEMBERED_ORDERS:
        return None
    return parts, [bytes(one) for one in items]


def _read_order(data: bytes) -> _ReadOrder:
    status = _ORDER_STATUS.from_json(parse_json(data))
    return _ReadOrder(status, order_state_of(status))
