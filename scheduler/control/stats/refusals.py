"""Which sites refuse unplaced workloads, and for which reason: the counts behind a metric.

For each workload that no site can take, one byte per site holds the number of the first reason.
Workloads with equal bytes share them. Beyond `_MAX_BYTES` nothing more is kept, and the metric then
counts the earlier workloads only.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.reasons import REASONS, TRANSIENT_REASONS, Reason
from scheduler.placement.filter.filter import filter_sites
from scheduler.placement.filter.rules import all_rules
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import is_fragmented

Codes = NDArray[np.uint8]

_CODE_OF_REASON: dict[Reason, int] = {
    reason: number for number, reason in enumerate(REASONS, start=1)
}
_REASON_OF_CODE: dict[int, Reason] = {number: reason for reason, number in _CODE_OF_REASON.items()}
_MAX_BYTES = 64 * 2**20


@dataclass(slots=True)
class Refusals:
    """The first reason of every site for every unplaced workload, by the slots of the fleet.

    Attributes:
        reasons: by unplaced workload, the number of sites by their first reason.
    """

    reasons: dict[WorkKey, Mapping[str, int]] = field(default_factory=dict)

    _answer_of: dict[WorkKey, bytes] = field(default_factory=dict)
    _count_of_answer: Counter[bytes] = field(default_factory=Counter)
    _interned: dict[bytes, bytes] = field(default_factory=dict)
    _kept_bytes: int = 0

    def record(
        self, key: WorkKey, decision: Decision, demand: Demand, fleet: Fleet, terms: Terms
    ) -> None:
        """Takes in a decision; a placed workload counts as refused nowhere."""
        if decision.phase == "Placed":
            self.forget(key)
            return
        self.reasons[key] = {str(slug): count for slug, count in decision.reasons.items()}
        codes = first_reason_codes(decision, demand, fleet, terms).tobytes()
        if self._answer_of.get(key) != codes:
            self._drop(key)
            self._store(key, codes)

    def record_not_accepted(self, key: WorkKey, reason: str) -> None:
        """Takes in a workload whose spec is not accepted, so that no site was considered."""
        self._drop(key)
        self.reasons[key] = {reason: 1}

    def forget(self, key: WorkKey) -> None:
        """Forgets a workload that is gone or placed."""
        self.reasons.pop(key, None)
        self._drop(key)

    def _drop(self, key: WorkKey) -> None:
        answer = self._answer_of.pop(key, None)
        if answer is None:
            return
        self._count_of_answer[answer] -= 1
        if not self._count_of_answer[answer]:
            del self._count_of_answer[answer]
            del self._interned[answer]
            self._kept_bytes -= len(answer)

    def answer_counts(self) -> list[tuple[bytes, int]]:
        """Reason codes by slot, and how many workloads have them; a copy for another thread."""
        return list(self._count_of_answer.items())

    def _store(self, key: WorkKey, codes: bytes) -> None:
        if codes not in self._count_of_answer:
            if self._kept_bytes + len(codes) > _MAX_BYTES:
                return
            self._kept_bytes += len(codes)
            self._interned[codes] = codes
        self._count_of_answer[codes] += 1
        self._answer_of[key] = self._interned[codes]


def count_refusals(answers: list[tuple[bytes, int]]) -> Iterator[tuple[int, Reason, int]]:
    """Yields (slot, reason, number of workloads) for all numbers above zero."""
    longest = max((len(codes) for codes, _ in answers), default=0)
    table = np.zeros((longest, len(_CODE_OF_REASON) + 1), np.int64)
    for codes, times in answers:
        row = np.frombuffer(codes, np.uint8)
        table[np.arange(len(row)), row] += times
    table[:, 0] = 0
    for slot, code in np.argwhere(table).tolist():
        yield slot, _REASON_OF_CODE[code], int(table[slot, code])


def first_reason_codes(decision: Decision, demand: Demand, fleet: Fleet, terms: Terms) -> Codes:
    """The code of the first reason of each site, uint8 [slot capacity].

    A code is the position in `REASONS` plus one; 0 is no reason. What rules say is cached in the
    fleet; capacity is computed only where both "full" and "fragmented" are possible.
    """
    admission = filter_sites(demand, fleet, decision_context(decision.decided_at, terms))
    codes = _codes_of_ranks().take(admission.first_refusal_ranks)
    lacking = [reason for reason in decision.reasons if reason in TRANSIENT_REASONS]
    slots = admission.admitted_slots
    if not lacking or not len(slots):
        return codes
    if set(lacking) != {"full", "fragmented"}:
        codes[slots] = _CODE_OF_REASON[lacking[0]]
        return codes
    codes[slots] = _CODE_OF_REASON["full"]
    capacity = SiteCapacity(fleet, demand, admission.rights.vendor_sets)
    summed = capacity.replicas_by_sums(slots)
    # Without enough in sum a site is full, so only the others can be fragmented.
    candidates = summed.nonzero()[0]
    candidate_slots = slots.take(candidates)
    fragmented = is_fragmented(
        capacity.replicas_at(candidate_slots), summed.take(candidates), demand.replicas
    )
    codes[candidate_slots[fragmented]] = _CODE_OF_REASON["fragmented"]
    return codes


@cache
def _codes_of_ranks() -> Codes:
    """The code of the reason by rank, as in `FilterResult.first_refusal_ranks`; uint8 [256]."""
    codes = np.zeros(256, np.uint8)
    for rank, rule in enumerate(all_rules(), start=1):
        codes[rank] = _CODE_OF_REASON[rule.reason]
    return codes
