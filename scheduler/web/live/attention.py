"""What wants attention: the few things that a duty officer should look at first.

Each is a slug with named values, which the page puts into words, and where to look. Of many alike
one line says how many there are, so that each kind of trouble is seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.workload import Workload
from scheduler.web.live.fleet_index import ENDLESS, FleetIndex, KnownSite
from scheduler.web.sessions import Sight
from scheduler.web.snapshot import StateSnapshot

MAX_ITEMS: Final = 5
_MAX_ALIKE: Final = 2
_GRANT_NOTICE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """One thing that wants attention.

    Attributes:
        slug: what it is.
        kind: `bad` or `wait`.
        values: named values of its words.
        path: the pieces of the address of the view that shows it.
        query: the query of that address.
    """

    slug: str
    kind: str
    values: dict[str, Any]
    path: tuple[str, ...]
    query: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The item for the page."""
        return {
            "slug": self.slug,
            "kind": self.kind,
            "values": self.values,
            "path": list(self.path),
            "query": self.query,
        }


def attention_items(
    snapshot: StateSnapshot, index: FleetIndex, sight: Sight
) -> list[AttentionItem]:
    """What wants attention, the worst first; at most `MAX_ITEMS`."""
    sites = _find_sites(index, snapshot.at) if sight.has_sites else _Sites()
    found = chain(_bad(snapshot, index, sight, sites), _waiting(snapshot, index, sight, sites))
    return list(islice(found, MAX_ITEMS))


@dataclass(slots=True)
class _Sites:
    """The sites that want attention, by why."""

    silent: list[KnownSite] = field(default_factory=list)
    overdue: list[KnownSite] = field(default_factory=list)
    ending: list[KnownSite] = field(default_factory=list)


def _find_sites(index: FleetIndex, now: datetime) -> _Sites:
    """Finds them; a site whose last grant ends counts only if it has work."""
    found, limit, at_work = _Sites(), now + _GRANT_NOTICE, index.by_site
    for name, site in index.sites.items():
        if not site.is_reporting:
            found.silent.append(site)
        until, drain = site.granted_until, site.facts.spec.drain
        if (until is None or until < limit) and name in at_work:
            found.ending.append(site)
        if drain is not None and drain.by is not None and drain.by < now and name in at_work:
            found.overdue.append(site)
    return found


def _bad(
    snapshot: StateSnapshot, index: FleetIndex, sight: Sight, sites: _Sites
) -> Iterator[AttentionItem]:
    if snapshot.hub_problem:
        yield AttentionItem("hub-problem", "bad", {"reason": snapshot.hub_problem}, ("queue",), {})
    elif not snapshot.is_broker_connected and snapshot.epoch:
        yield AttentionItem("broker-lost", "bad", {}, ("fleet",), {})
    count = partial(index.count_at, sight=sight)
    yield from _alike_sites("site-silent", "bad", sites.silent, count, {"show": "silent"})
    violating = [one for key, one in index.violating.items() if sight.sees(key[0])]
    yield from _alike_workloads("violation", "bad", violating, {})
    for phase, slug in (("Degraded", "degraded"), ("Refused", "refused")):
        works = list(index.in_phases([phase], sight))
        yield from _alike_workloads(slug, "bad", works, {"phase": phase})


def _waiting(
    snapshot: StateSnapshot, index: FleetIndex, sight: Sight, sites: _Sites
) -> Iterator[AttentionItem]:
    count = partial(index.count_at, sight=sight)
    yield from _alike_sites("drain-overdue", "wait", sites.overdue, count, {"show": "cordoned"})
    ending = sites.ending if sight.has_grants else []
    yield from _alike_sites("grant-ends", "wait", ending, count, {})
    proved = _not_survived(snapshot) if sight.is_all else []
    lost = [index.sites[one] for one in proved if one in index.sites]
    yield from _alike_sites("loss-proved", "wait", lost, count, {})
    works = list(index.in_phases(["Waiting"], sight))
    yield from _alike_workloads("waiting", "wait", works, {"phase": "Waiting"})
    if snapshot.unadmitted_site_count and sight.is_all:
        values = {"n": snapshot.unadmitted_site_count}
        yield AttentionItem("sites-pending", "wait", values, ("fleet",), {})


def _not_survived(snapshot: StateSnapshot) -> list[str]:
    """The sites of which it is proved that their loss is not survived."""
    return [name for name, one in snapshot.losses.items() if one.status == "False"]


def _alike_sites(
    slug: str,
    kind: str,
    sites: list[KnownSite],
    count: Callable[[str], int],
    query: dict[str, str],
) -> Iterator[AttentionItem]:
    """A line for each site, those with most work first; or one line, if they are many."""
    if len(sites) > _MAX_ALIKE:
        total = {"n": len(sites), "workloads": sum(count(site.facts.name) for site in sites)}
        yield AttentionItem(f"many-{slug}", kind, total, ("fleet",), query)
        return
    for site in sorted(sites, key=lambda one: (-count(one.facts.name), one.facts.name)):
        since, until = site.row.get("healthSince"), site.granted_until
        values: dict[str, Any] = {
            "site": site.facts.name,
            "workloads": count(site.facts.name),
            "since": format_rfc3339(since) if isinstance(since, datetime) else None,
            "until": format_rfc3339(until) if until and until != ENDLESS else None,
        }
        yield AttentionItem(slug, kind, values, ("sites", site.facts.name), {})


def _alike_workloads(
    slug: str, kind: str, works: list[Workload], query: dict[str, str]
) -> Iterator[AttentionItem]:
    """A line for each workload, those of high priority first; or one line, if they are many."""
    if len(works) > _MAX_ALIKE:
        yield AttentionItem(f"many-{slug}", kind, {"n": len(works)}, ("workloads",), query)
        return
    for work in sorted(works, key=lambda one: (-(one.spec.priority or 0), one.metadata.key)):
        values = {"workload": work.metadata.key, "reason": work.status.reason}
        path = ("workloads", work.metadata.namespace, work.metadata.name)
        yield AttentionItem(slug, kind, values, path, {})
