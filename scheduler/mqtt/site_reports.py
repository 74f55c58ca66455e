"""Turns an agent's report into the figures that decisions read."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agents.protocol.errors import WireError
from agents.protocol.report import REPORT, Report
from scheduler.control.ports.agents import SiteReport
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.placement.fleet.namespace_limits import NamespaceLimitIndex
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.site_figures import figures_of

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
_MAX_RESOURCES_PER_SITE = 512
_FALLBACK_FIELDS = ("intensity", "power")
_MAX_GPU_CARD_NUMBER = 128
_MAX_NODE_CLASSES_PER_SITE = 5_000
_MAX_LABELS_PER_SITE = 16_384


def site_report_of(
    report: Report, observed_seconds: float, others: list[Report], now: datetime
) -> SiteReport:
    """The figures of a report as the site's status.

    Args:
        report: the report of the agent that counts for the site.
        observed_seconds: when it was observed, on our monotonic clock.
        others: reports of the site's other agents, which fill in missing figures.
        now: the date for figures that have an age.

    Raises:
        WireError: a figure cannot be read.
    """
    tree = REPORT.to_json(report)
    for other in others:
        other_tree = REPORT.to_json(other)
        tree = {key: other_tree[key] for key in _FALLBACK_FIELDS if key in other_tree} | tree
    executor = report.executor
    raw = {key: tree[key] for key in _STATUS_FIELDS if key in tree}
    raw["executor"] = executor is not None
    for name in _FALLBACK_FIELDS:
        if name in raw:
            raw[name] = _with_observed_at(raw[name], now)
    if (
        report.power is not None
        and report.energy is not None
        and report.energy.pv_watts is not None
    ):
        raw["power"]["pvWatts"] = report.energy.pv_watts
    try:
        figures = msgspec.convert(raw, SiteStatus)
        _check_figures(SiteFacts(name=report.site, status=figures))
    except (msgspec.ValidationError, NotAQuantity) as error:
        raise WireError("malformed", str(error)) from error
    return SiteReport(
        site=report.site,
        observed_seconds=observed_seconds,
        figures=figures,
        has_executor=executor is not None,
        bound={one.id: (one.generation, one.bound) for one in report.orders or ()},
        unschedulable={
            one.id: one.unschedulable for one in report.orders or () if one.unschedulable
        },
    )


def _with_observed_at(figure: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A figure with `observedAt` in place of its age; a date that cannot be read is left out.

    An agent's settings may give a date; a sensor gives an age in seconds. A figure with neither is
    as old as its report.
    """
    text, ago = figure.get("observedAt"), figure.get("observedSecondsAgo")
    plain = {k: v for k, v in figure.items() if k not in ("observedAt", "observedSecondsAgo")}
    at = now - timedelta(seconds=min(ago, MAX_AGE_SECONDS)) if ago else None
    if text is not None:
        with suppress(ValueError):
            at = datetime.fromisoformat(text)
    if at is None:
        return plain
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at < _OLDEST_FIGURE_AT:
        raise WireError("malformed", f"observedAt: {text} is before 1970")
    at = min(at, now).astimezone(UTC)  # a clock that is ahead makes no figure younger than now
    return plain | {"observedAt": at.replace(microsecond=0).isoformat()}


def _check_figures(facts: SiteFacts) -> None:
    """Reads all figures as the fleet does, so that no unreadable report reaches it.

    Raises:
        NotAQuantity: an amount is not a quantity.
        WireError: a GPU card's number is too high, or there are too many resources, node classes or
            values of labels. The fleet keeps them as long as the site reports them.
    """
    rows = NodeTable().read(facts)
    if len(rows.resources) > _MAX_RESOURCES_PER_SITE:
        raise WireError("too-large", f"more than {_MAX_RESOURCES_PER_SITE} resources at a site")
    if rows.last_card > _MAX_GPU_CARD_NUMBER:
        raise WireError("too-large", f"a GPU card with a number above {_MAX_GPU_CARD_NUMBER}")
    if len(facts.status.node_classes) > _MAX_NODE_CLASSES_PER_SITE:
        raise WireError("too-large", f"more than {_MAX_NODE_CLASSES_PER_SITE} kinds of nodes")
    labels = {label for each in facts.status.node_classes for label in each.labels.items()}
    if len(labels) > _MAX_LABELS_PER_SITE:
        raise WireError("too-large", f"more than {_MAX_LABELS_PER_SITE} values of node labels")
    NamespaceLimitIndex().parse(facts)
    figures_of(facts)
