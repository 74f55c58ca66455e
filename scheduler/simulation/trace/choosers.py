"""Ways to choose a site for a pod: what the runner asks, and the two baselines."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.reading import PodRecord, TracePodShape


@dataclass(frozen=True, slots=True)
class SiteChoice:
    """An answer: a site, or why there is none now.

    Attributes:
        site: index of the site; None means that the pod waits.
        reason: a slug of `scheduler.model.reasons`; empty with a site.
    """

    site: int | None
    reason: str = ""


class SiteChooser(Protocol):
    """Chooses sites; sees what it is told, not what the sites really have."""

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The site for a pod that arrives, or waits."""
        ...

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """What is free at a site has changed."""
        ...

    def may_have_room(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Whether a waiting shape is worth another question after these nodes got room."""
        ...


class RoundRobin:
    """One site after the other, whatever they have."""

    def __init__(self, sites: list[SiteBinder]) -> None:
        self._sites = sites
        self._next = 0

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The next site."""
        del pod, now_seconds
        site = self._next
        self._next = (site + 1) % len(self._sites)
        return SiteChoice(site)

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """It looks at nothing."""

    def may_have_room(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Nothing ever waits for a site."""
        del site, nodes, shape
        return False


class SumOfFree:
    """The site that could take the most such pods by the sum of its free capacity.

    So do schedulers of clusters that see one number per cluster and resource (for example Karmada's
    general estimator): min over resources of free / requested, the largest wins, equals by order.
    """

    def __init__(self, sites: list[SiteBinder]) -> None:
        self._sites = sites
        self._free: NDArray[np.int64] = np.array([site.free_totals for site in sites])

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The site with the most room by sums."""
        del now_seconds
        room = _replicas_by_sum(self._free, pod.shape)
        site = int(room.argmax())
        return SiteChoice(site) if room[site] >= 1 else SiteChoice(None, "full")

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """Takes over the site's sums."""
        del now_seconds
        self._free[site] = self._sites[site].free_totals

    def may_have_room(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """By the site's sums."""
        del nodes
        return bool(_replicas_by_sum(self._free[site : site + 1], shape)[0] >= 1)


def _replicas_by_sum(free: NDArray[np.int64], shape: TracePodShape) -> NDArray[np.int64]:
    """Replicas by sums, per site; [sites]."""
    asked = np.array([shape.cpu_milli, shape.memory_mib, shape.card_count * shape.card_milli])
    counted = asked > 0
    if not counted.any():
        return np.ones(len(free), np.int64)
    rooms: NDArray[np.int64] = (free[:, counted] // asked[counted]).min(axis=1)
    return rooms
