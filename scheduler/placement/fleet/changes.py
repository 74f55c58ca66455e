"""What of a site differs from what was known of it before: only that is written anew.

Most of what is told of a site says the same as before: a report changes the free capacity, an order
what is in flight, a heartbeat nothing but its time.
"""

from typing import NamedTuple

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import SiteStatus


class News(NamedTuple):
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


_ALL = News(*[True] * len(News._fields))


def news_of(old: SiteFacts | None, new: SiteFacts) -> News:
    """What is new at a site, of which nothing was known if there is no old."""
    if old is None:
        return _ALL
    was, is_now = old.status, new.status
    described = (old.labels, old.spec, old.grants) != (new.labels, new.spec, new.grants)
    has_other_rows = was.node_classes != is_now.node_classes
    return News(
        descriptions=described,
        reports=described
        or (was.api_kinds, was.executor, was.rtt) != (is_now.api_kinds, is_now.executor, is_now.rtt)
        or (was.conditions != is_now.conditions and old.is_silent != new.is_silent)
        or (has_other_rows and _kinds(was) != _kinds(is_now)),
        figures=described or _priced(old) != _priced(new),
        nodes=has_other_rows or (described and old.spec.headroom != new.spec.headroom),
        in_flight=old.in_flight != new.in_flight,
        namespaces=was.namespaces != is_now.namespaces,
    )


def _kinds(status: SiteStatus) -> list[tuple[str, str]]:
    return [(each.architecture, each.cpu_vendor) for each in status.node_classes]


def _priced(facts: SiteFacts) -> tuple[object, ...]:
    status = facts.status
    return (status.observed_at, status.conditions, status.intensity, status.power, facts.p90)
