"""Proves that a loss cannot be survived; where it proves nothing, that is no proof of the contrary.

Room is counted from above: free capacity by the last reports, as if nothing were in flight and
nothing reserved. What runs on stays where it is, and nothing ends. Two proofs:

- A workload alone: no site passes its rules, or all that do take fewer replicas than it lacks.
- A bound on sums: of one resource, the workloads that may go to some sites only need more together
  than these sites have (the condition of Hall's theorem, for sums).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.quantities import CPU, MILLI_PER_UNIT
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN
from scheduler.whatif.scenario.apply import lost_facts
from scheduler.whatif.survival.trial import LossResult

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_SETS = 12
"""So many sets of sites are tried for a bound on sums."""
_MAX_ALONE = 200
"""So many workloads of a loss are looked at alone, highest priority first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumProof:
    """A resource of which workloads need more than the sites have that may take them.

    Attributes:
        resource: its name.
        needed: what the workloads lack together.
        free: what the sites have.
        workloads: how many workloads.
        sites: how many sites.
    """

    resource: str
    needed: int
    free: int
    workloads: int
    sites: int

    def sentence(self) -> str:
        """The proof for people."""
        return (
            f"{self.workloads} workloads need {_amount(self.resource, self.needed)}, and the "
            f"{self.sites} sites that may take them have {_amount(self.resource, self.free)} free"
        )


def _amount(resource: str, amount: int) -> str:
    text = f"{amount / MILLI_PER_UNIT:g}" if resource == CPU else f"{amount}"
    return f"{text} {resource}"


class LossProofs:
    """Looks for proofs, on a fleet with more room than there may be.

    Args:
        facts: all sites as they are before a loss.
        context: the time and the terms.
    """

    def __init__(self, facts: Iterable[SiteFacts], context: DecisionContext) -> None:
        self._facts = {one.name: _emptied(one) for one in facts}
        self._fleet = Fleet(self._facts.values())
        self._context = context

    def find(
        self, result: LossResult, demands: Mapping[str, Demand]
    ) -> tuple[dict[str, str], SumProof | None]:
        """The proofs about a loss.

        Args:
            result: what the engine made of it.
            demands: those of `result.moved`.

        Returns:
            Why a workload alone has no place, by workload; and a bound on sums, or None.
        """
        fleet, now = self._fleet, self._context.now
        for site in result.sites:
            fleet.upsert(lost_facts(self._facts[site], now))
        alone: dict[str, str] = {}
        open_to: dict[str, Bools] = {}
        lost = [one.key for one in result.lost if one.key in demands]
        for key in lost[:_MAX_ALONE]:
            line = self._alone(demands[key], result.sites)
            if line:
                alone[key] = line
        if not alone and lost:
            open_to = {key: self._open(demands[key], result.sites)[0] for key in result.moved}
        proof = self._sums(lost, open_to, demands, result.sites) if open_to else None
        for site in result.sites:
            fleet.upsert(self._facts[site])
        return alone, proof

    def _open(self, demand: Demand, lost: frozenset[str]) -> tuple[Bools, Ints | None]:
        """Which slots pass the rules, without those of lost sites, and their vendor sets."""
        state = prepare_cycle(demand, self._fleet, self._context)
        found = state.filter_result.admitted.copy()
        found &= self._fleet.has_site
        found[[self._fleet.slot_of[site] for site in lost]] = False
        return found, state.filter_result.rights.vendor_sets

    def _alone(self, demand: Demand, lost: frozenset[str]) -> str:
        """Why a workload has no place even if nothing else were displaced; empty: not proved."""
        if demand.companions:
            return ""  # where they go decides which sites are open
        found, vendor_sets = self._open(demand, lost)
        slots = found.nonzero()[0]
        if not len(slots):
            return "no other site passes its rules"
        lacks = missing(demand, lost)
        if not _is_counted_exactly(demand):
            return ""
        unplaced = msgspec.structs.replace(demand, placed=(), evicted=())
        takes = int(SiteCapacity(self._fleet, unplaced, vendor_sets).replicas_at(slots).sum())
        if takes >= lacks:
            return ""
        sites = "1 site passes" if len(slots) == 1 else f"{len(slots)} sites pass"
        return f"{sites} its rules, with room for {takes} of {lacks} replicas at the most"

    def _sums(
        self,
        lost: Sequence[str],
        open_to: Mapping[str, Bools],
        demands: Mapping[str, Demand],
        gone: frozenset[str],
    ) -> SumProof | None:
        """A bound on sums that is broken; None: none of those that are tried."""
        concerned = {key: where for key, where in open_to.items() if not demands[key].companions}
        for where in _sets(lost, concerned):
            inside = [key for key, one in concerned.items() if not (one & ~where).any()]
            needed: dict[str, int] = {}
            for key in inside:
                lacks = missing(demands[key], gone)
                for resource, amount in demands[key].requests.items():
                    needed[resource] = needed.get(resource, 0) + amount * lacks
            free = self._free(where.nonzero()[0], list(needed))
            for resource, amount in needed.items():
                if amount > free[resource]:
                    return SumProof(
                        resource=resource,
                        needed=amount,
                        free=int(free[resource]),
                        workloads=len(inside),
                        sites=int(where.sum()),
                    )
        return None

    def _free(self, slots: Ints, resources: Sequence[str]) -> dict[str, float]:
        """The sum of what is free on the nodes of some sites; none counts below zero."""
        nodes = self._fleet.nodes
        columns = nodes.column_numbers_of(dict.fromkeys(resources, 1))
        index = nodes.rows.row_indices(slots)
        counts = nodes.rows.matrix[COUNT_COLUMN].take(index)
        return {
            resource: float((np.maximum(nodes.rows.matrix[column].take(index), 0.0) * counts).sum())
            for resource, column in zip(resources, columns, strict=True)
        }


def _sets(lost: Sequence[str], open_to: Mapping[str, Bools]) -> Iterator[Bools]:
    """Sets of sites to try: all that are open to anything, then those of each lost workload."""
    if not open_to:
        return
    yield np.logical_or.reduce(list(open_to.values()))
    seen: set[bytes] = set()
    for key in lost:
        where = open_to.get(key)
        if where is not None and where.tobytes() not in seen and len(seen) < _MAX_SETS:
            seen.add(where.tobytes())
            yield where


def missing(demand: Demand, lost: frozenset[str]) -> int:
    """How many replicas a loss takes that are to run elsewhere, at the least."""
    stays = sum(count for site, count in demand.placed_replicas.items() if site not in lost)
    return max(0, demand.replicas - stays)


def _is_counted_exactly(demand: Demand) -> bool:
    """Whether no more replicas fit than the fit of the demand says, once nothing of it runs."""
    unit = demand.unit
    if len(unit) != 1 or unit[0].count != 1 or demand.beside or demand.per_node:
        return False
    return not (unit[0].shape.skews or unit[0].shape.one_per)


def _emptied(facts: SiteFacts) -> SiteFacts:
    """The facts of a site with nothing in flight or reserved, and without limits of namespaces."""
    status = msgspec.structs.replace(facts.status, namespaces=())
    return msgspec.structs.replace(facts, status=status, in_flight=())
