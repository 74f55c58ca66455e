"""Cached per-site answers: computed once per cache key, and again only for sites that changed.

A rule calls `ColumnCache.get` with a function that answers for one site from its facts. The array
over all sites is kept and updated from a log of changed slots, so neither a new demand nor a new
report causes a pass over the whole fleet.
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
    """Arrays over the site slots, by cache key; the least recently used are dropped.

    Args:
        facts: the facts by slot, a list that the fleet keeps up to date.

    Attributes:
        version: the number of changes so far.
    """

    def __init__(self, facts: Sequence[SiteFacts | None]) -> None:
        self._facts = facts
        self.version = 0
        self._changed_slots: list[int] = []
        self._log_start = 0
        self._columns: OrderedDict[Hashable, tuple[NDArray[Any], int]] = OrderedDict()

    def mark_changed(self, slot: int) -> None:
        """Records that the facts in a slot have changed, or that it is empty now."""
        self.version += 1
        self._changed_slots.append(slot)
        if len(self._changed_slots) > _MAX_LOG_LENGTH:
            self._columns.clear()
            self._log_start += len(self._changed_slots)
            self._changed_slots.clear()

    def get(
        self,
        cache_key: Hashable,
        value_of: Callable[[SiteFacts], Any],
        *,
        dtype: type[np.generic],
        slot_capacity: int,
    ) -> NDArray[Any]:
        """The answers for all slots, 0 for empty ones; [slot_capacity].

        The caller must not write to the array: it is the cached one.

        Args:
            cache_key: all that `value_of` depends on besides the facts.
            value_of: computes the answer for one site.
            dtype: the type of the array.
            slot_capacity: the number of slots.
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
