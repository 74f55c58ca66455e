"""What of a site differs from what was known of it before: only that is written anew.

Most of what is told of a site says the same as before: a report changes the free capacity, an order
what is in flight, a heartbeat nothing but its time.
"""

from typing import NamedTuple

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus


class SiteChanges(NamedTuple):
    """Which parts of what is known of a site have changed.

    Attributes:
        descriptions: labels, spec and grants.
        reports: rarely changing parts of reports, or descriptions.
        figures: anything that a figure follows from, see `site_figures.py`.
        nodes: the node rows.
        in_flight: what is in flight.
        namespaces: what namespaces let pods ask.
    """

    descriptions: bool
    reports: bool
    figures: bool
    nodes: bool
    in_flight: bool
    namespaces: bool


_ALL_CHANGED = SiteChanges(*[True] * len(SiteChanges._fields))


def changes_of(old: SiteFacts | None, new: SiteFacts) -> SiteChanges:
    """What is new at a site, of which nothing was known if there is no old."""
    if old is None:
        return _ALL_CHANGED
    old_status, new_status = old.status, new.status
    has_new_description = (old.labels, old.spec, old.grants) != (new.labels, new.spec, new.grants)
    has_new_rows = old_status.node_classes != new_status.node_classes
    return SiteChanges(
        descriptions=has_new_description,
        reports=has_new_description
        or (old_status.api_kinds, old_status.executor, old_status.rtt)
        != (new_status.api_kinds, new_status.executor, new_status.rtt)
        or (old_status.conditions != new_status.conditions and old.is_silent != new.is_silent)
        or (has_new_rows and _node_platforms(old_status) != _node_platforms(new_status)),
        figures=has_new_description or _figure_inputs(old) != _figure_inputs(new),
        nodes=has_new_rows or (has_new_description and old.spec.headroom != new.spec.headroom),
        in_flight=old.in_flight != new.in_flight,
        namespaces=old_status.namespaces != new_status.namespaces,
    )


def _node_platforms(status: SiteStatus) -> list[tuple[str, str]]:
    return [(each.architecture, each.cpu_vendor) for each in status.node_classes]


def _figure_inputs(facts: SiteFacts) -> tuple[object, ...]:
    status = facts.status
    return (status.observed_at, status.conditions, status.intensity, status.power, facts.p90)
