"""Node profiles: what nodes have in common besides their free capacity, numbered for the fleet.

Sites with equal nodes share a profile. A number is given again once no site has its profile, so
that there are never more numbers than profiles that sites have had at one time.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import HOSTNAME_LABEL
from scheduler.placement.fleet.nodes.label_index import LabelCondition, LabelIndex
from scheduler.placement.fleet.nodes.taint_index import TaintIndex
from scheduler.placement.fleet.ragged import RaggedTable

Bools = NDArray[np.bool_]

IN_FLIGHT_PROFILE: Final = 0
"""The profile of rows that are no nodes but pods in flight, see `in_flight.py`."""

_MAX_CACHED_BYTES = 2**23
_BYTES_PER_ANSWER = 512
"""What an answer takes besides its array, with its key."""
_ARCHITECTURE, _CPU_VENDOR, _GPU_MODEL = "architecture", "cpu vendor", "gpu model"


@dataclass(frozen=True, kw_only=True)
class NodeProfile:
    """What pods may ask of a node besides free capacity; labels are sorted."""

    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    architecture: str
    """With another operating system than Linux before it: `amd64`, `windows/amd64`."""
    cpu_vendor: str
    gpu_model: str
    labels_left_out: tuple[str, ...] = ()
    has_more_labels: bool = False

    def is_unknown(self, key: str) -> bool:
        """Whether the nodes may have a label whose value is not reported.

        Every kubelet sets the name of its host, and few agents report it.
        """
        if key in self.all_labels:
            return False
        return self.has_more_labels or key in self.labels_left_out or key == HOSTNAME_LABEL

    @cached_property
    def all_labels(self) -> dict[str, str]:
        """The labels, with those that every kubelet sets."""
        return {
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": self.architecture.rpartition("/")[2],
            **dict(self.labels),
        }


def profile_of(node_class: NodeClass) -> NodeProfile:
    """The profile of the nodes of a class: all that it says of them but the free capacity."""
    return NodeProfile(
        labels=tuple(sorted(node_class.labels.items())),
        taints=node_class.taints,
        architecture=node_class.platform,
        cpu_vendor=node_class.cpu_vendor,
        gpu_model=node_class.gpu_model,
        labels_left_out=node_class.labels_left_out,
        has_more_labels=node_class.has_more_labels,
    )


_NO_PROFILE = NodeProfile(labels=(), taints=(), architecture="", cpu_vendor="", gpu_model="")


class ProfileTable:
    """The profiles of all sites' nodes, by number; the first stands for pods in flight.

    Attributes:
        version: how often a number has got another meaning.
        labels: the labels of the profiles.
        taints: their taints.
        by_site: the numbers of the profiles that each site has.
    """

    def __init__(self) -> None:
        self._profiles: list[NodeProfile] = [_NO_PROFILE]
        self._slots_of: list[set[int]] = [set()]
        self._number_of: dict[NodeProfile, int] = {}
        self._free_numbers: list[int] = []  # a heap, see `_new_number`
        # By slot, the classes of the last report as they are written, and their numbers: the next
        # report nearly always has the same ones, whose labels need not be sorted again.
        self._numbers_at: dict[int, dict[Hashable, int]] = {}
        self.version = 0
        self.labels = LabelIndex()
        self.taints = TaintIndex()
        self._attributes = LabelIndex()
        self.by_site = RaggedTable(initial_columns=1)
        self.by_site.add_column()
        self._is_used: Bools = np.zeros(16, np.bool_)
        self._answers: OrderedDict[Hashable, tuple[int, Bools, bool]] = OrderedDict()
        self._cached_bytes = 0
        self._permitted: tuple[tuple[int, int], Bools] = ((-1, -1), np.ones((1, 0), np.bool_))

    def __len__(self) -> int:
        """One more than the highest number that a site's nodes have."""
        return len(self._profiles)

    def __getitem__(self, number: int) -> NodeProfile:
        return self._profiles[number]

    def replace(self, slot: int, node_classes: Sequence[NodeClass]) -> list[int]:
        """Replaces the profiles that a site has.

        Returns:
            The number of the profile of each class.
        """
        before = self._numbers_at.get(slot, {})
        now: dict[Hashable, int] = {}
        numbers = []
        for each in node_classes:
            written = (
                tuple(each.labels.items()),
                each.taints,
                each.platform,
                each.cpu_vendor,
                each.gpu_model,
                each.labels_left_out,
                each.has_more_labels,
            )
            number = before.get(written)
            if number is None:
                number = self._take(slot, profile_of(each))
            now[written] = number
            numbers.append(number)
        if now.keys() != before.keys():
            for number in set(before.values()) - set(now.values()):
                self._drop(slot, number)
            if now:
                self._numbers_at[slot] = now
            else:
                self._numbers_at.pop(slot, None)
            self.by_site.write(slot, np.array([sorted(set(now.values()))], np.float64))
        return numbers

    def _take(self, slot: int, profile: NodeProfile) -> int:
        number = self._number_of.get(profile)
        if number is None:
            number = self._new_number()
            self._number_of[profile] = number
            self._profiles[number] = profile
            self._write(number, profile)
        self._slots_of[number].add(slot)
        return number

    def _new_number(self) -> int:
        while self._free_numbers:
            number = heapq.heappop(self._free_numbers)
            # A number may be in the heap twice, when the last profiles went and others came.
            if number < len(self._profiles) and not self._slots_of[number]:
                return number
        self._profiles.append(_NO_PROFILE)
        self._slots_of.append(set())
        return len(self._profiles) - 1

    def _drop(self, slot: int, number: int) -> None:
        self._slots_of[number].discard(slot)
        if self._slots_of[number]:
            return
        del self._number_of[self._profiles[number]]
        self._profiles[number] = _NO_PROFILE
        self._write(number, _NO_PROFILE)
        heapq.heappush(self._free_numbers, number)
        while len(self._profiles) > 1 and not self._slots_of[-1]:
            self._profiles.pop()
            self._slots_of.pop()

    def _write(self, number: int, profile: NodeProfile) -> None:
        """Gives a number another meaning."""
        self.version += 1
        if number >= len(self._is_used):
            self._is_used = np.concatenate([self._is_used, np.zeros_like(self._is_used)])
        self._is_used[number] = profile is not _NO_PROFILE
        self.taints.write(number, profile.taints)
        if profile is _NO_PROFILE:
            self.labels.clear(number)
            self._attributes.clear(number)
            return
        self.labels.write(
            number,
            profile.all_labels,
            unknown=(*profile.labels_left_out, HOSTNAME_LABEL),
            has_more=profile.has_more_labels,
        )
        attributes = {
            _ARCHITECTURE: profile.architecture,
            _CPU_VENDOR: profile.cpu_vendor,
            _GPU_MODEL: profile.gpu_model,
        }
        self._attributes.write(number, attributes)

    def grow_sites(self, sites: int) -> None:
        """Extends `by_site` to `sites` slots."""
        self.by_site.grow_sites(sites)

    def slots_of(self, numbers: Iterable[int]) -> set[int]:
        """The slots of the sites that have any of these profiles."""
        there = [self._slots_of[number] for number in numbers if number < len(self._slots_of)]
        return set().union(*there)

    def matching(self, cache_key: Hashable, find: Callable[[], Bools]) -> tuple[Bools, bool]:
        """Which profiles match, [profiles], and whether all do; cached until a profile changes.

        Pods in flight, and numbers that no site has now, count as matching. The caller must not
        write to the array.

        Args:
            cache_key: all that `find` depends on besides the profiles.
            find: which profiles match; [profiles].
        """
        answer = self._answers.get(cache_key)
        if answer is not None and answer[0] == self.version:
            self._answers.move_to_end(cache_key)
            return answer[1:]
        found = find() | ~self._is_used[: len(self._profiles)]
        if answer is not None:
            self._cached_bytes -= len(answer[1]) + _BYTES_PER_ANSWER
        self._answers[cache_key] = (self.version, found, bool(found.all()))
        self._answers.move_to_end(cache_key)
        self._cached_bytes += len(found) + _BYTES_PER_ANSWER
        while len(self._answers) > 1 and self._cached_bytes > _MAX_CACHED_BYTES:
            _, (_, dropped, _) = self._answers.popitem(last=False)
            self._cached_bytes -= len(dropped) + _BYTES_PER_ANSWER
        return self._answers[cache_key][1:]

    def of_architectures(self, architectures: Iterable[str]) -> Bools:
        """Which profiles have one of some architectures; [profiles]."""
        return self._with_attribute(_ARCHITECTURE, architectures)

    def of_vendors(self, vendors: Iterable[str]) -> Bools:
        """Which profiles have a CPU of one of some vendors; [profiles]."""
        return self._with_attribute(_CPU_VENDOR, vendors)

    def of_gpu_models(self, models: Iterable[str]) -> Bools:
        """Which profiles have one of some GPU models; [profiles]."""
        return self._with_attribute(_GPU_MODEL, models)

    def _with_attribute(self, attribute: str, values: Iterable[str]) -> Bools:
        return self._attributes.answers(
            LabelCondition(attribute, "In", tuple(values)), len(self._profiles)
        )

    def permitted(self, vendor_sets: Mapping[tuple[str, ...], int]) -> Bools:
        """Which profiles each set of CPU vendors permits; [vendor sets, profiles].

        Args:
            vendor_sets: the numbers of the sets, in their order; the empty set permits any vendor.
        """
        state = (len(vendor_sets), self.version)
        if self._permitted[0] != state:
            unused = ~self._is_used[: len(self._profiles)]
            rows = [
                self.of_vendors(vendors) | unused if vendors else np.ones_like(unused)
                for vendors in vendor_sets
            ]
            self._permitted = (state, np.array(rows, np.bool_).reshape(len(rows), -1))
        return self._permitted[1]
