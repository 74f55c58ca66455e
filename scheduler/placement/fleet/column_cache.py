"""Remembered per-site answers: computed once per question, and again only for sites that changed.

A rule asks `columns.get(question, answer, of=...)`. The answer for one site is a plain function of
its facts; the array over all sites is kept and brought up to date by a log of changed sites, so
that neither a new demand nor a new report makes anyone walk through the whole fleet.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import SiteFacts

_MAX_COLUMNS = 512
_MAX_LOG_LENGTH = 65_536


class ColumnCache:
    """Arrays over the site slots, by question."""

    def __init__(self, facts: Sequence[SiteFacts | None]) -> None:
        self._facts = facts
        self._changed_slots: list[int] = []
        self._log_start = 0
        self._columns: OrderedDict[Hashable, tuple[NDArray[Any], int]] = OrderedDict()

    def mark_changed(self, slot: int) -> None:
        """Notes that what is known of a site has changed, or that the slot is empty now."""
        self._changed_slots.append(slot)
        if len(self._changed_slots) > _MAX_LOG_LENGTH:
            self._columns.clear()
            self._log_start += len(self._changed_slots)
            self._changed_slots.clear()

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._log_start + len(self._changed_slots)

    def get(
        self,
        cache_key: Hashable,
        value_of: Callable[[SiteFacts], Any],
        *,
        dtype: type[np.generic],
        slot_capacity: int,
    ) -> NDArray[Any]:
        """The answers for all slots; empty slots hold 0.

        Args:
            cache_key: names the answer; equal questions must have equal answers.
            value_of: the answer for one site.
            dtype: the type of the array.
            slot_capacity: how many slots there are.
        """
        cached = self._columns.get(cache_key)
        if cached is None or len(cached[0]) != slot_capacity:
            array = np.zeros(slot_capacity, dtype)
            stale: Sequence[int] = range(len(self._facts))
        else:
            array, cached_version = cached
            if cached_version == self.version:
                self._columns.move_to_end(cache_key)
                return array
            stale = self._changed_slots[max(0, cached_version - self._log_start) :]
        for slot in stale:
            facts = self._facts[slot]
            array[slot] = 0 if facts is None else value_of(facts)
        self._columns[cache_key] = (array, self.version)
        self._columns.move_to_end(cache_key)
        if len(self._columns) > _MAX_COLUMNS:
            self._columns.popitem(last=False)
        return array
