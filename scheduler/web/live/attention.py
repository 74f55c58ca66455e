"""What wants attention: the few things that a duty officer should look at first.

Each is a slug with named values, which the page puts into words, and where to look. Of many alike
one line says how many there are, so that each kind of trouble is seen.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
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
    found = [*_bad(snapshot, index, sight), *_waiting(snapshot, index, sight)]
    return found[:MAX_ITEMS]


def _bad(snapshot: StateSnapshot, index: FleetIndex, sight: Sight) -> Iterator[AttentionItem]:
    if snapshot.hub_problem:
        yield AttentionItem("hub-problem", "bad", {"reason": snapshot.hub_problem}, ("queue",), {})
    elif not snapshot.is_broker_connected and snapshot.epoch:
        yield AttentionItem("broker-lost", "bad", {}, ("fleet",), {})
    silent = [one for one in _sites(index, sight) if not one.is_reporting]
    yield from _alike_sites(
        index, sight, silent, one="site-silent", many="sites-silent", query={"state": "silent"}
    )
    yield from _alike_workloads("violation", "violations", _violating(index, sight), {})
    for phase, slug in (("Degraded", "degraded"), ("Refused", "refused")):
        works = list(index.in_phases([phase], sight))
        yield from _alike_workloads(slug, f"many-{slug}", works, {"phase": phase})


def _waiting(snapshot: StateSnapshot, index: FleetIndex, sight: Sight) -> Iterator[AttentionItem]:
    now = snapshot.at
    sites = _sites(index, sight)
    yield from _alike_sites(
        index, sight, [one for one in sites if _is_overdue(index, one, now)], one="drain-overdue"
    )
    yield from _alike_sites(
        index, sight, [one for one in sites if _ends_soon(index, one, now)], one="grant-ends"
    )
    works = list(index.in_phases(["Waiting"], sight))
    yield from _alike_workloads("waiting", "many-waiting", works, {"phase": "Waiting"}, kind="wait")
    if snapshot.unadmitted_site_count and sight.is_all:
        values = {"n": snapshot.unadmitted_site_count}
        yield AttentionItem("sites-pending", "wait", values, ("fleet",), {})


def _sites(index: FleetIndex, sight: Sight) -> list[KnownSite]:
    return list(index.sites.values()) if sight.has_sites else []


def _violating(index: FleetIndex, sight: Sight) -> list[Workload]:
    return [one for key, one in index.violating.items() if sight.sees(key[0])]


def _is_overdue(index: FleetIndex, site: KnownSite, now: datetime) -> bool:
    drain = site.facts.spec.drain
    is_late = drain is not None and drain.by is not None and drain.by < now
    return is_late and site.facts.name in index.by_site


def _ends_soon(index: FleetIndex, site: KnownSite, now: datetime) -> bool:
    """Whether a site with work loses its last grant soon, or has lost it."""
    until = site.granted_until
    has_grant_for_long = until is not None and (until == ENDLESS or until - now > _GRANT_NOTICE)
    return not has_grant_for_long and site.facts.name in index.by_site


def _alike_sites(
    index: FleetIndex,
    sight: Sight,
    sites: list[KnownSite],
    *,
    one: str,
    many: str = "",
    query: dict[str, str] | None = None,
) -> Iterator[AttentionItem]:
    """A line for each site, those with most work first; or one line for all, if they are many."""
    kind = "bad" if many else "wait"
    counts = {site.facts.name: index.count_at(site.facts.name, sight) for site in sites}
    if many and len(sites) > _MAX_ALIKE:
        total = {"n": len(sites), "workloads": sum(counts.values())}
        yield AttentionItem(many, kind, total, ("fleet",), query or {})
        return
    for site in _first(sites, lambda site: (-counts[site.facts.name], site.facts.name)):
        since, until = site.row.get("healthSince"), site.granted_until
        values: dict[str, Any] = {
            "site": site.facts.name,
            "workloads": counts[site.facts.name],
            "since": format_rfc3339(since) if isinstance(since, datetime) else None,
            "until": format_rfc3339(until) if until and until != ENDLESS else None,
        }
        yield AttentionItem(one, kind, values, ("sites", site.facts.name), {})


def _alike_workloads(
    one: str, many: str, works: list[Workload], query: dict[str, str], *, kind: str = "bad"
) -> Iterator[AttentionItem]:
    """A line for each workload, those of high priority first; or one line, if they are many."""
    if len(works) > _MAX_ALIKE:
        yield AttentionItem(many, kind, {"n": len(works)}, ("workloads",), query)
        return
    for work in _first(works, lambda work: (-(work.spec.priority or 0), work.metadata.key)):
        values = {"workload": work.metadata.key, "reason": work.status.reason}
        path = ("workloads", work.metadata.namespace, work.metadata.name)
        yield AttentionItem(one, kind, values, path, {})


def _first(found: Iterable[Any], order: Callable[[Any], Any]) -> Iterator[Any]:
    return islice(sorted(found, key=order), _MAX_ALIKE)
