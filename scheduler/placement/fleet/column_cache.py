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

_MOST_QUESTIONS = 512
_LONGEST_LOG = 65_536


class Columns:
    """Arrays over the site slots, by question."""

    def __init__(self, facts: Sequence[SiteFacts | None]) -> None:
        self._facts = facts
        self._log: list[int] = []
        self._log_begins = 0
        self._kept: OrderedDict[Hashable, tuple[NDArray[Any], int]] = OrderedDict()

    def changed(self, slot: int) -> None:
        """Notes that what is known of a site has changed, or that the slot is empty now."""
        self._log.append(slot)
        if len(self._log) > _LONGEST_LOG:
            self._kept.clear()
            self._log_begins += len(self._log)
            self._log.clear()

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._log_begins + len(self._log)

    def get(
        self,
        question: Hashable,
        answer: Callable[[SiteFacts], Any],
        *,
        of: type[np.generic],
        capacity: int,
    ) -> NDArray[Any]:
        """The answers for all slots; empty slots hold 0.

        Args:
            question: names the answer; equal questions must have equal answers.
            answer: the answer for one site.
            of: the type of the array.
            capacity: how many slots there are.
        """
        kept = self._kept.get(question)
        if kept is None or len(kept[0]) != capacity:
            array = np.zeros(capacity, of)
            stale: Sequence[int] = range(len(self._facts))
        else:
            array, seen = kept
            if seen == self.version:
                self._kept.move_to_end(question)
                return array
            stale = self._log[max(0, seen - self._log_begins) :]
        for slot in stale:
            facts = self._facts[slot]
            array[slot] = 0 if facts is None else answer(facts)
        self._kept[question] = (array, self.version)
        self._kept.move_to_end(question)
        if len(self._kept) > _MOST_QUESTIONS:
            self._kept.popitem(last=False)
        return array
