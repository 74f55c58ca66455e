"""The smallest change that would make a workload fit, computed and verified by running the engine.

One change at a time is tried first: to the workload, to a site, or to what an authority granted.
Where one is not enough, what must be changed together is one offer: all that a site's rules want,
several sites, one site and fewer replicas, or a spread that is given up and fewer replicas. A
change is offered only if the engine, run with it, places the workload. Whether it should be made is
for people to say: a grant is the authority's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from scheduler.model.decision import Change
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.tenant import Spend
from scheduler.placement.choose import choose, consider
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.divide.disaster_recovery import PRESET, trips_within_metros
from scheduler.placement.explain.fix_sites import REMEDIES
from scheduler.placement.explain.relaxations import (
    fewer_replicas,
    hindrances,
    larger_budget,
    looser_pair,
    looser_spread,
    smaller_requests,
    wished_spread,
)
from scheduler.placement.explain.trial import Ill, Trial
from scheduler.placement.filter.rules import name_of
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import Case

MOST_TRIED = 48
"""Sites that are looked at, those with the fewest refusing rules first."""
MOST_OFFERED = 5
MOST_STEPS = 4
"""Changes at one site that make one offer."""
MOST_TOGETHER = 6
"""Sites that make one offer."""


def smallest_changes(demand: Demand, fleet: Fleet, moment: Moment) -> tuple[Change, ...]:
    """Verified changes, smallest first; empty when none of those that are known will do.

    Args:
        demand: a demand that is not placed.
        fleet: the fleet; it is left as it was.
        moment: the time and terms of the decision.
    """
    if not len(fleet) or not demand.replicas:
        return ()
    search = _Search(fleet, Fleet(fleet.all_facts()), moment)
    offers: list[Change] = []
    for trial in search.offers(demand):
        if search.fits(trial):
            offers.append(msgspec.structs.replace(trial.change, verified=True))
        if len(offers) >= MOST_OFFERED:
            break
    return tuple(offers)


@dataclass(slots=True)
class _Search:
    """The trials, and a copy of the fleet on which they are made."""

    fleet: Fleet
    scratch: Fleet
    moment: Moment
    opened: dict[str, Trial] = field(default_factory=dict)
    found: bool = False

    def fits(self, trial: Trial) -> bool:
        """Whether the engine places the workload with these changes."""
        for facts in trial.facts.values():
            self.scratch.upsert(facts)
        decision = choose(trial.demand, self.scratch, now=self.moment.now, terms=self.moment.terms)
        self._restore(trial)
        placed = decision.phase == "Placed"
        self.found = self.found or placed
        return placed

    def without_budget(self, demand: Demand) -> Spend | None:
        """What it would cost if the budget did not bind; None: there is none, or nothing fits."""
        if demand.budget_left is None:
            return None
        free = msgspec.structs.replace(demand, budget_left=None)
        decision = choose(free, self.fleet, now=self.moment.now, terms=self.moment.terms)
        if decision.phase != "Placed":
            return None
        shares = {each.site: each.replicas for each in decision.assignment}
        return spend_of(free, self.fleet, self.moment, shares)

    def usage_without_quota(self, demand: Demand) -> dict[str, int]:
        """What it would take of a quota that did not bind; at one site where nothing fits."""
        free = msgspec.structs.replace(demand, quota_left=None, budget_left=None)
        decision = choose(free, self.fleet, now=self.moment.now, terms=self.moment.terms)
        if decision.phase != "Placed":
            return demand.usage(demand.replicas, 1)
        return demand.usage(decision.replicas, len(decision.assignment))

    def _restore(self, trial: Trial) -> None:
        for name in trial.facts:
            self.scratch.upsert(self.fleet.facts_of(name))

    def offers(self, demand: Demand) -> Iterator[Trial]:
        """What is worth trying, smallest first."""
        start = Trial((), demand)
        yield from hindrances(start, self.moment, self.usage_without_quota)
        yield from self._site_by_site(start)
        if len(consider(demand, self.fleet, self.moment).admission.slots):
            yield from self._easings(start)
        if not self.found:
            yield from self._together()
        if not self.found:
            yield from self._spread_and_more(start)

    def _spread_and_more(self, start: Trial) -> Iterator[Trial]:
        """A spread as a wish and what it takes beside that, with a site opened if it must be."""
        bases = [start, *(self._everywhere(each) for each in list(self.opened.values())[:1])]
        for base in bases:
            wished = wished_spread(base)
            if wished is not None and not self.found:
                yield wished
                yield from self._easings(wished)

    def _easings(self, trial: Trial) -> Iterator[Trial]:
        def fits(demand: Demand) -> bool:
            before = self.found
            placed = self.fits(replace(trial, demand=demand))
            self.found = before
            return placed

        yield from larger_budget(trial, self.without_budget(trial.demand))
        yield from fewer_replicas(trial, fits)
        yield from smaller_requests(trial, fits)
        yield from looser_spread(trial, fits)
        if trial.demand.preset == PRESET:
            yield from looser_pair(trial, trips_within_metros(self.fleet), fits)

    def _site_by_site(self, start: Trial) -> Iterator[Trial]:
        """What would open one more site: few refusing rules first, then much room."""
        case = consider(start.demand, self.fleet, self.moment)
        refused = {slot: _refusals(case, slot) for slot in self.fleet.slot_of.values()}
        order = sorted(
            (slot for slot, rules in refused.items() if rules),
            key=lambda slot: (
                len(refused[slot]),
                -case.room.at_one(slot),
                self.fleet.name_at(slot),
            ),
        )
        for slot in order[:MOST_TRIED]:
            trial = self._open(start, self.fleet.name_at(slot))
            if trial is not None:
                self.opened[self.fleet.name_at(slot)] = trial
                yield trial

    def _open(self, trial: Trial, name: str) -> Trial | None:
        """Satisfies one rule of a site after the other until all admit it."""
        for _ in range(MOST_STEPS + 1):
            facts = trial.facts.get(name, self.fleet.facts_of(name))
            self.scratch.upsert(facts)
            case = consider(trial.demand, self.scratch, self.moment)
            rules = _refusals(case, self.scratch.slot_of[name])
            remedy = REMEDIES.get(rules[0]) if rules else None
            step = remedy(Ill(case, facts)) if remedy else None
            self.scratch.upsert(self.fleet.facts_of(name))
            if not rules:
                return trial
            if step is None:
                return None
            trial = trial.after(step)
        return None

    def _together(self) -> Iterator[Trial]:
        """A grant at all its sites, or several sites; or the best one, with what it takes."""
        names = list(self.opened)[:MOST_TOGETHER]
        if not names:
            return
        together = self._everywhere(self.opened[names[0]])
        yield together
        for name in names[1:]:
            if self.found:
                return
            wider = self._open(together, name)
            if wider is not None:
                together = wider
                yield together
        if not self.found:
            yield from self._easings(self._everywhere(self.opened[names[0]]))

    def _everywhere(self, trial: Trial) -> Trial:
        """With the changed grants at every site that they name."""
        facts = dict(trial.facts)
        for each in self.fleet.all_facts() if trial.grants else ():
            if each.name not in facts and any(one.name in trial.grants for one in each.grants):
                grants = tuple(
                    msgspec.structs.replace(
                        one,
                        spec=msgspec.structs.replace(one.spec, **trial.grants.get(one.name, {})),
                    )
                    for one in each.grants
                )
                facts[each.name] = msgspec.structs.replace(each, grants=grants)
        return replace(trial, facts=facts)


def _refusals(case: Case, slot: int) -> list[str]:
    """The names of the rules that refuse a site, in the order in which they are told."""
    return [name_of(rule) for rule, passed in case.admission.passed if not passed[slot]]
