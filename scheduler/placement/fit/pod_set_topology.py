"""The topology limits of one shape while its pods are placed one by one (core/v1 semantics)."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from scheduler.model.manifests.pods import HOSTNAME_LABEL, PodShape
from scheduler.placement.fit.topology_spread import is_counted
from scheduler.placement.fleet.nodes.profiles import NodeProfile

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_NO_DOMAIN = -1  # the domain of nodes that a constraint does not count


class DomainCounts:
    """How many pods each domain of each constraint has.

    The constraints are those of topology spread first, then those of one pod per domain.

    Args:
        shape: with `skews` and `one_per`.
        profiles: the number of each node's profile; [nodes].
        all_profiles: the node profiles by number.
    """

    def __init__(
        self, shape: PodShape, profiles: Ints, all_profiles: Sequence[NodeProfile]
    ) -> None:
        self._skews = shape.skews
        self._domains: list[Ints] = []
        self._pod_counts: list[Ints] = []
        for skew in shape.skews:
            counted = [is_counted(skew, profile, shape) for profile in all_profiles]
            names = [profile.all_labels.get(skew.topology_key, "") for profile in all_profiles]
            self._add_constraint(
                profiles, counted, names, by_host=skew.topology_key == HOSTNAME_LABEL
            )
        for key in shape.one_per:
            names = [profile.all_labels.get(key, "") for profile in all_profiles]
            self._add_constraint(
                profiles,
                [key in profile.all_labels for profile in all_profiles],
                names,
                by_host=False,
            )

    def copy(self) -> "DomainCounts":
        """A copy whose state changes independently."""
        other = copy(self)
        other._pod_counts = [held.copy() for held in self._pod_counts]  # noqa: SLF001 - its own class
        return other

    def allowed_nodes(self) -> Bools:
        """Which nodes may take one more pod; [nodes]."""
        allowed = np.ones(len(self._domains[0]), np.bool_)
        for number, (domains, held) in enumerate(zip(self._domains, self._pod_counts, strict=True)):
            inside = domains != _NO_DOMAIN
            # A node outside all domains takes no pod under topology spread, but any number under
            # one pod per domain.
            if number < len(self._skews):
                skew = self._skews[number]
                # With fewer domains than minDomains the least counts as 0 (core/v1).
                least = int(held.min(initial=2**62)) if len(held) >= skew.min_domains else 0
                most = least + skew.max_skew
                allowed &= inside
            else:
                most = 1
            if len(held):
                allowed &= ~inside | (held[domains] < most)
        return allowed

    def add_pod(self, node: int) -> None:
        """Counts one more pod on a node."""
        for domains, held in zip(self._domains, self._pod_counts, strict=True):
            if domains[node] != _NO_DOMAIN:
                held[domains[node]] += 1

    def _add_constraint(
        self, profiles: Ints, counted: list[bool], names: list[str], *, by_host: bool
    ) -> None:
        inside = np.array(counted, np.bool_)[profiles]
        if by_host:
            domains = np.where(inside, np.cumsum(inside) - 1, _NO_DOMAIN)  # one for each node
            self._pod_counts.append(np.zeros(int(inside.sum()), np.int64))
        else:
            here = sorted({names[profile] for profile in np.unique(profiles[inside]).tolist()})
            number = {name: index for index, name in enumerate(here)}
            by_profile = np.array([number.get(name, _NO_DOMAIN) for name in names], np.int64)
            domains = np.where(inside, by_profile[profiles], _NO_DOMAIN)
            self._pod_counts.append(np.zeros(len(here), np.int64))
        self._domains.append(domains)
