"""A copy of a settled fleet on which the engine is tried with other sites, many times."""

from collections.abc import Iterable

from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.fleet.fleet import Fleet
from scheduler.whatif.settling.settle import settle
from scheduler.whatif.settling.settled_fleet import SettledFleet


class ScratchFleet:
    """Arrays that equal those of a settled fleet between two trials; to make them takes longer.

    Args:
        settled: the fleet; it stays as it is.

    Attributes:
        facts: of each of its sites, by name.
        fleet: the arrays.
    """

    def __init__(self, settled: SettledFleet) -> None:
        self._settled = settled
        self.facts = {one.name: one for one in settled.fleet.all_facts()}
        self.fleet = Fleet(self.facts.values())

    def decide_with(self, changed: Iterable[SiteFacts], keys: Iterable[str]) -> SettledFleet:
        """What the engine decides about workloads that were decided before, with other sites.

        Nothing else ends for them: a trial is to find room for all.

        Args:
            changed: the sites that are new, or have other facts.
            keys: the workloads.

        Returns:
            Its decisions; the arrays in it are as before the trial again.
        """
        settled = self._settled
        for one in changed:
            self.fleet.upsert(one)
        trial = SettledFleet(
            copy=settled.copy,
            fleet=self.fleet,
            context=settled.context,
            workloads=dict(settled.workloads),
            demands=settled.demands,
            reader=settled.reader,
            books=settled.books.forked(),
            reserved_at=settled.reserved_at,
            changed_demands=settled.changed_demands,
            ends_others=False,
        )
        settle(trial, [settled.tasks[key] for key in keys])
        self._restore()
        return trial

    def _restore(self) -> None:
        for name in self.fleet.slot_of.keys() - self.facts.keys():
            self.fleet.remove(name)
        for name, facts in self.facts.items():
            if self.fleet.facts_of(name) is not facts:
                self.fleet.upsert(facts)
