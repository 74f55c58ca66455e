"""Node profiles: what nodes have in common besides their free capacity, numbered for the fleet.

Sites with equal nodes share a profile. A number is given again once no site has its profile, so
that there are never more numbers than profiles that sites have had at one time.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.fields import Taint
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import HOSTNAME_LABEL

Bools = NDArray[np.bool_]

IN_FLIGHT_PROFILE: Final = 0
"""The profile of rows that are no nodes but pods in flight, see `in_flight.py`."""

_MAX_CACHED_ANSWERS = 4096
_MAX_LOG_LENGTH = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @property
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


class _Answer:
    """Which profiles match, and how much of the log of changed numbers that includes."""

    __slots__ = ("all_match", "log_position", "matches")

    def __init__(self) -> None:
        self.matches: Bools = np.zeros(0, np.bool_)
        self.all_match = False
        self.log_position = -1


class ProfileTable:
    """The profiles of all sites' nodes, by number; the first stands for pods in flight."""

    def __init__(self) -> None:
        self._profiles: list[NodeProfile] = [_NO_PROFILE]
        self._slots_of: list[set[int]] = [set()]
        self._number_of: dict[NodeProfile, int] = {}
        self._free_numbers: list[int] = []  # a heap, see `_new_number`
        # By slot, the classes of the last report as they are written, and their numbers: the next
        # report nearly always has the same ones, whose labels need not be sorted again.
        self._numbers_at: dict[int, dict[Hashable, int]] = {}
        self._changed_numbers: list[int] = []
        self._log_start = 0
        self._answers: dict[Hashable, _Answer] = {}
        self._permitted: tuple[tuple[int, int], Bools] = ((-1, -1), np.ones((1, 0), np.bool_))

    def __len__(self) -> int:
        """One more than the highest number that a site's nodes have."""
        return len(self._profiles)

    def __getitem__(self, number: int) -> NodeProfile:
        return self._profiles[number]

    @property
    def version(self) -> int:
        """How often a number has got another meaning."""
        return self._log_start + len(self._changed_numbers)

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
        return numbers

    def _take(self, slot: int, profile: NodeProfile) -> int:
        number = self._number_of.get(profile)
        if number is None:
            number = self._new_number()
            self._number_of[profile] = number
            self._profiles[number] = profile
            self._log(number)
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
        self._log(number)
        heapq.heappush(self._free_numbers, number)
        while len(self._profiles) > 1 and not self._slots_of[-1]:
            self._profiles.pop()
            self._slots_of.pop()

    def _log(self, number: int) -> None:
        self._changed_numbers.append(number)
        if len(self._changed_numbers) > _MAX_LOG_LENGTH:
            self._log_start += len(self._changed_numbers)
            self._changed_numbers.clear()

    def slots_of(self, numbers: Iterable[int]) -> set[int]:
        """The slots of the sites that have any of these profiles."""
        there = [self._slots_of[number] for number in numbers if number < len(self._slots_of)]
        return set().union(*there)

    def matching(
        self, cache_key: Hashable, matches: Callable[[NodeProfile], bool]
    ) -> tuple[Bools, bool]:
        """Which profiles match, [profiles], and whether all do; cached.

        Pods in flight, and numbers that no site has now, count as matching. Only profiles whose
        number has changed since the last time are asked about.

        Args:
            cache_key: all that `matches` depends on.
            matches: whether one profile does.
        """
        answer = self._answers.get(cache_key)
        if answer is None:
            if len(self._answers) >= _MAX_CACHED_ANSWERS:
                self._answers.clear()
            answer = self._answers[cache_key] = _Answer()
        if answer.log_position != self.version:
            self._update(answer, matches)
        return answer.matches, answer.all_match

    def _update(self, answer: _Answer, matches: Callable[[NodeProfile], bool]) -> None:
        count = len(self._profiles)
        changed: Iterable[int] = range(count)
        if answer.log_position >= self._log_start:
            changed = set(self._changed_numbers[answer.log_position - self._log_start :])
        found = np.ones(count, np.bool_)
        known = answer.matches[:count]
        found[: len(known)] = known
        for number in changed:
            if number < count:
                found[number] = not self._slots_of[number] or matches(self._profiles[number])
        answer.matches, answer.all_match = found, bool(found.all())
        answer.log_position = self.version

    def permitted(self, vendor_sets: Mapping[tuple[str, ...], int]) -> Bools:
        """Which profiles each set of CPU vendors permits; [vendor sets, profiles].

        Args:
            vendor_sets: the numbers of the sets, in their order; the empty set permits any vendor.
        """
        state = (len(vendor_sets), self.version)
        if self._permitted[0] != state:
            rows = [self._permitted_by(vendors) for vendors in vendor_sets]
            self._permitted = (state, np.array(rows, np.bool_).reshape(len(rows), -1))
        return self._permitted[1]

    def _permitted_by(self, vendors: tuple[str, ...]) -> Bools:
        return self.matching(
            ("vendors", vendors), lambda profile: not vendors or profile.cpu_vendor in vendors
        )[0]
