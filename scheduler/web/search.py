"""The search of the page: over all sites and workloads, not only the rows that a page holds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.web.snapshot import StateSnapshot
from scheduler.web.views import MAX_LIVE_ROWS, DashboardView, site_rows, workload_row

MAX_SEARCH_LENGTH: Final = 200
_MAX_WORDS: Final = 16

Words = tuple[str, ...]


class Search(NamedTuple):
    """What is searched in each table; a row is found if it has all the words, in any place."""

    sites: Words = ()
    workloads: Words = ()


def words_of(text: str) -> Words:
    """The words of a search, in lower case."""
    return tuple(text[:MAX_SEARCH_LENGTH].lower().split()[:_MAX_WORDS])


@dataclass(slots=True)
class Searcher:
    """Finds rows; the text of an unchanged workload is made once. One search runs at a time."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _base: DashboardView | None = None
    _found: dict[Search, DashboardView] = field(default_factory=dict)
    _texts: dict[WorkKey, tuple[Workload, Mapping[str, int], str]] = field(default_factory=dict)

    async def search(self, base: DashboardView, search: Search) -> DashboardView:
        """The view with the first rows that have the words, and with how many have them in all.

        Args:
            base: the view of all.
            search: what is searched.
        """
        if not any(search):
            return base
        async with self._lock:
            if base is not self._base:
                self._base, self._found = base, {}
            found = self._found.get(search)
            if found is None:
                found = await asyncio.to_thread(self._find, base, search)
                self._found[search] = found
            return found

    async def workloads(self, base: DashboardView, words: Words) -> list[Workload]:
        """The workloads that have the words, by namespace and name."""
        if not words:
            return base.ordered
        async with self._lock:
            return await asyncio.to_thread(self._matching, base, words)

    def _find(self, base: DashboardView, search: Search) -> DashboardView:
        matching, sites, rows = dict(base.summary["matching"]), base.sites, base.workloads
        if search.sites:
            indexes = _matching_sites(base.snapshot, search.sites)
            shown = set(indexes[:MAX_LIVE_ROWS])
            sites = {
                row["name"]: msgspec.json.encode(row) for row in site_rows(base.snapshot, shown)
            }
            matching["sites"] = len(indexes)
        if search.workloads:
            found = self._matching(base, search.workloads)
            reasons = base.snapshot.reasons_by_workload
            rows = {
                one.metadata.key: msgspec.json.encode(workload_row(one, reasons.get(key, {})))
                for one in islice(found, MAX_LIVE_ROWS)
                for key in ((one.metadata.namespace, one.metadata.name),)
            }
            matching["workloads"] = len(found)
        summary = {**base.summary, "matching": matching}
        return DashboardView(summary, sites, rows, base.snapshot, base.ordered)

    def _matching(self, base: DashboardView, words: Words) -> list[Workload]:
        texts: dict[WorkKey, tuple[Workload, Mapping[str, int], str]] = {}
        found: list[Workload] = []
        for workload in base.ordered:
            key = (workload.metadata.namespace, workload.metadata.name)
            reasons = base.snapshot.reasons_by_workload.get(key, {})
            known = self._texts.get(key)
            if known is None or known[0] is not workload or known[1] != reasons:
                known = (workload, reasons, text_of(workload, reasons))
            texts[key] = known
            if all(word in known[2] for word in words):
                found.append(workload)
        self._texts = texts
        return found


def text_of(workload: Workload, reasons: Mapping[str, int]) -> str:
    """What a search of workloads looks at, in lower case."""
    status, meta = workload.status, workload.metadata
    parts = (
        f"{meta.namespace}/{meta.name}",
        status.phase or "Pending",
        workload.spec.data_class or "",
        status.reason,
        status.decision.line if status.decision else "",
        *reasons,
        *(site for group in status.placement.groups for site in group.sites),
    )
    return "\n".join(parts).lower()


def _matching_sites(snapshot: StateSnapshot, words: Words) -> list[int]:
    found: list[int] = []
    for index, facts in enumerate(snapshot.facts):
        place = facts.spec.location
        state = "cordoned" if facts.spec.is_cordoned else "reporting"
        state = state if snapshot.is_ready[index] else "silent"
        health = snapshot.healths[index]
        parts = (facts.name, state, health, facts.spec.tier, place.province, place.city)
        text = "\n".join(str(part) for part in parts if part).lower()
        if all(word in text for word in words):
            found.append(index)
    return found
