"""Choosers of a site for a pod: the interface for the runner, and the two baselines."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scheduler.simulation.trace.binder import SiteBinder
from scheduler.simulation.trace.reading import PodRecord, TracePodShape


@dataclass(frozen=True, slots=True)
class SiteChoice:
    """A chosen site, or why the pod waits.

    Attributes:
        site: index of the site; None: the pod waits.
        reason: reason slug of `scheduler.model.reasons`; empty if there is a site.
    """

    site: int | None
    reason: str = ""


class SiteChooser(Protocol):
    """Chooses sites from their reports; it does not see nodes."""

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The site for a pod that arrives or waits."""
        ...

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """The free capacity of a site changed; called by the runner."""
        ...

    def may_have_capacity(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Whether waiting pods of a shape should be tried again after these nodes freed capacity.

        Args:
            site: index of the site.
            nodes: indexes of the nodes, in the site.
            shape: shape of the waiting pods.
        """
        ...


class RoundRobin:
    """Takes one site after the other, whatever their free capacity."""

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
        """Ignores the change."""

    def may_have_capacity(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """False: no pod waits for a site."""
        del site, nodes, shape
        return False


class SumOfFree:
    """Takes the site that could hold the most pods of the shape by its sums of free capacity.

    So do multi-cluster schedulers that see one number per cluster and resource, for example
    Karmada's general estimator: the minimum over resources of free / requested; the largest wins,
    among equal sites the first.
    """

    def __init__(self, sites: list[SiteBinder]) -> None:
        self._sites = sites
        self._free: NDArray[np.int64] = np.array([site.free_totals for site in sites])

    def choose(self, pod: PodRecord, now_seconds: int) -> SiteChoice:
        """The site with the most capacity by its sums."""
        del now_seconds
        pods = _replicas_by_sum(self._free, pod.shape)
        site = int(pods.argmax())
        return SiteChoice(site) if pods[site] >= 1 else SiteChoice(None, "full")

    def on_site_change(self, site: int, now_seconds: int) -> None:
        """Reads the site's sums again."""
        del now_seconds
        self._free[site] = self._sites[site].free_totals

    def may_have_capacity(self, site: int, nodes: list[int], shape: TracePodShape) -> bool:
        """Whether the site's sums suffice for one pod."""
        del nodes
        return bool(_replicas_by_sum(self._free[site : site + 1], shape)[0] >= 1)


def _replicas_by_sum(free: NDArray[np.int64], shape: TracePodShape) -> NDArray[np.int64]:
    """Pods of a shape that fit by sums, for each site; shape [sites]."""
    asked = np.array([shape.cpu_milli, shape.memory_mib, shape.card_count * shape.card_milli])
    counted = asked > 0
    if not counted.any():
        return np.ones(len(free), np.int64)
    fitting: NDArray[np.int64] = (free[:, counted] // asked[counted]).min(axis=1)
    return fitting
