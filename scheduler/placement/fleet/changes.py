"""Which parts of a site's facts have changed, so that only those are written to the fleet.

Most of an update repeats what is known: a report changes the free capacity, an order what is in
flight, a heartbeat only its time.
"""

from typing import NamedTuple

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus


class SiteChanges(NamedTuple):
    """Which parts of a site's facts have changed.

    Attributes:
        descriptions: labels, spec or grants.
        reports: descriptions, or rarely changing parts of reports: API kinds, executor, round
            trips, silence, platforms of nodes.
        figures: anything that a figure is computed from, see `site_figures.py`.
        nodes: the node rows.
        in_flight: what is in flight.
        namespaces: the limits of namespaces.
    """

    descriptions: bool
    reports: bool
    figures: bool
    nodes: bool
    in_flight: bool
    namespaces: bool


_ALL_CHANGED = SiteChanges(*[True] * len(SiteChanges._fields))


def changes_of(old: SiteFacts | None, new: SiteFacts) -> SiteChanges:
    """What differs between two states of a site; all of it when `old` is None."""
    if old is None:
        return _ALL_CHANGED
    old_status, new_status = old.status, new.status
    has_new_description = (old.labels, old.spec, old.grants) != (new.labels, new.spec, new.grants)
    has_new_rows = old_status.node_classes != new_status.node_classes
    return SiteChanges(
        descriptions=has_new_description,
        reports=has_new_description
        or _served(old_status) != _served(new_status)
        or (old_status.conditions != new_status.conditions and old.is_silent != new.is_silent)
        or (has_new_rows and _node_platforms(old_status) != _node_platforms(new_status)),
        figures=has_new_description or _figure_inputs(old) != _figure_inputs(new),
        nodes=has_new_rows or (has_new_description and old.spec.headroom != new.spec.headroom),
        in_flight=old.in_flight != new.in_flight,
        namespaces=old_status.namespaces != new_status.namespaces,
    )


def _served(status: SiteStatus) -> tuple[object, ...]:
    return (status.api_kinds, status.cluster_kinds, status.executor, status.rtt)


def _node_platforms(status: SiteStatus) -> list[tuple[str, str]]:
    return [(each.platform, each.cpu_vendor) for each in status.node_classes]


def _figure_inputs(facts: SiteFacts) -> tuple[object, ...]:
    status = facts.status
    return (status.observed_at, status.conditions, status.intensity, status.power, facts.p90)
