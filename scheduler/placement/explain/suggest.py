"""The smallest changes that would make a workload fit, each verified by running the engine.

Single changes are tried first: to the workload, to a site, or to what an authority granted. Where
one is not enough, changes that help only together are one suggestion: all fixes that a site needs,
several sites, one site and fewer replicas, or a spread that is given up and fewer replicas. A
change is suggested only if the engine, run with it, places the workload. Whether it should be made
is for people to decide; a grant is the authority's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.preemption import RunningWork
from scheduler.model.kinds.tenant import Spend
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.divide.disaster_recovery import (
    DISASTER_RECOVERY_PRESET,
    round_trips_within_metros,
)
from scheduler.placement.explain.budgets import raise_budget
from scheduler.placement.explain.giving_way import suggest_giving_way
from scheduler.placement.explain.relaxations import (
    lift_scheduling_gates,
    loosen_pair,
    loosen_spread,
    prefer_spread,
    reduce_replicas,
    reduce_requests,
)
from scheduler.placement.explain.trial import Trial
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.rules import Rule
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState

MAX_SITES_TRIED = 48
"""So many sites are tried, those with the fewest refusing rules first."""
MAX_SUGGESTIONS = 5
MAX_STEPS_PER_SITE = 4
"""Changes at one site that make one suggestion."""
MAX_SITES_TOGETHER = 6
"""Sites that make one suggestion."""


def suggest_changes(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    others: Sequence[RunningWork] = (),
) -> tuple[SuggestedChange, ...]:
    """Verified changes, smallest first; empty: none of the known ones helps.

    Args:
        demand: a demand that is not placed.
        fleet: the fleet; it is left as it was.
        context: the time and terms of the decision.
        others: what runs, and could give way or end; those changes come last.
    """
    if not len(fleet) or not demand.replicas:
        return ()
    search = _Search(fleet=fleet, scratch_fleet=Fleet(fleet.all_facts()), context=context)
    suggestions: list[SuggestedChange] = []
    for trial in search.iter_trials(demand):
        change = trial.combined_change
        if any(set(each.kinds) <= set(change.kinds) for each in suggestions):
            continue  # a smaller change of these kinds is known
        if search.fits(trial):
            sites = sorted(trial.opened)
            site = sites[0] if len(sites) == 1 else ""
            suggestions.append(msgspec.structs.replace(change, verified=True, site=site))
        if len(suggestions) >= MAX_SUGGESTIONS:
            break
    return (*suggestions, *suggest_giving_way(demand, fleet, context, others))


def find_trial(
    demand: Demand, fleet: Fleet, context: DecisionContext, kind: str = "", target: str = ""
) -> Trial | None:
    """The demand and the sites after one of the changes that are suggested; None: it is not.

    Args:
        demand: a demand that is not placed.
        fleet: the fleet; it is left as it was.
        context: the time and terms of the decision.
        kind: of the change; empty: the smallest one.
        target: of the change.
    """
    if not len(fleet) or not demand.replicas:
        return None
    search = _Search(fleet=fleet, scratch_fleet=Fleet(fleet.all_facts()), context=context)
    for trial in search.iter_trials(demand):
        change = trial.combined_change
        if kind and (change.kind, change.target) != (kind, target):
            continue
        if search.fits(trial):
            return trial
    return None


@dataclass(slots=True, kw_only=True)
class _Search:
    """Makes trials and runs them on a copy of the fleet.

    Attributes:
        fleet: the fleet as it is.
        scratch_fleet: a copy, on which trials are run; between runs it equals the fleet.
        context: the time and terms of the decision.
        trial_by_site: trials after which a site that refused the workload admits it.
        has_found: whether a trial has placed the workload.
    """

    fleet: Fleet
    scratch_fleet: Fleet
    context: DecisionContext
    trial_by_site: dict[str, Trial] = field(default_factory=dict)
    has_found: bool = False

    def fits(self, trial: Trial) -> bool:
        """Whether the engine places the workload with these changes; remembers that some do."""
        is_placed = self._is_placed(trial)
        self.has_found = self.has_found or is_placed
        return is_placed

    def _is_placed(self, trial: Trial) -> bool:
        for facts in trial.facts.values():
            self.scratch_fleet.upsert(facts)
        decision = choose(
            trial.demand, self.scratch_fleet, now=self.context.now, terms=self.context.terms
        )
        for name in trial.facts:
            self.scratch_fleet.upsert(self.fleet.facts_of(name))
        return decision.phase == "Placed" and not decision.unmet

    def spend_without_budget(self, demand: Demand) -> Spend | None:
        """What the placement would cost without a budget; None: no budget, or nothing fits."""
        if demand.budget_left is None:
            return None
        unlimited = msgspec.structs.replace(demand, budget_left=None)
        decision = choose(unlimited, self.fleet, now=self.context.now, terms=self.context.terms)
        if decision.phase != "Placed":
            return None
        shares = {each.site: each.replicas for each in decision.assignment}
        return spend_of(unlimited, self.fleet, self.context, shares)

    def usage_without_quota(self, demand: Demand) -> dict[str, int]:
        """What the placement would take of a quota without limit; at one site if nothing fits."""
        unlimited = msgspec.structs.replace(demand, quota_left=None, budget_left=None)
        decision = choose(unlimited, self.fleet, now=self.context.now, terms=self.context.terms)
        if decision.phase != "Placed":
            return demand.quota_usage(demand.replicas, 1)
        daemon_pods = daemon_pods_at(
            demand, self.fleet, [each.site for each in decision.assignment]
        )
        return demand.quota_usage(decision.replicas, len(decision.assignment), daemon_pods)

    def iter_trials(self, demand: Demand) -> Iterator[Trial]:
        """Trials, smallest change first."""
        start = Trial(changes=(), demand=demand)
        yield from lift_scheduling_gates(start, self.context, self.usage_without_quota)
        yield from self._iter_single_sites(start)
        if len(prepare_cycle(demand, self.fleet, self.context).filter_result.admitted_slots):
            yield from self._iter_relaxations(start)
        if not self.has_found:
            yield from self._iter_sites_together()
        if not self.has_found:
            yield from self._iter_preferred_spread(start)

    def _iter_preferred_spread(self, start: Trial) -> Iterator[Trial]:
        """Spread as a preference, and what else it takes, with a site fixed if none admits it."""
        bases = [
            start,
            *(
                self._apply_grants_everywhere(each)
                for each in list(self.trial_by_site.values())[:1]
            ),
        ]
        for base in bases:
            preferred = prefer_spread(base)
            if preferred is not None and not self.has_found:
                yield preferred
                yield from self._iter_relaxations(preferred)

    def _iter_relaxations(self, trial: Trial) -> Iterator[Trial]:
        def fits(demand: Demand) -> bool:
            return self._is_placed(replace(trial, demand=demand))

        yield from raise_budget(trial, self.spend_without_budget(trial.demand), fits)
        yield from reduce_replicas(trial, fits)
        yield from reduce_requests(trial, fits)
        yield from loosen_spread(trial, fits)
        if trial.demand.preset == DISASTER_RECOVERY_PRESET:
            yield from loosen_pair(trial, round_trips_within_metros(self.fleet), fits)

    def _iter_single_sites(self, start: Trial) -> Iterator[Trial]:
        """Fixes of one more site: fewest refusing rules first, then most capacity."""
        state = prepare_cycle(start.demand, self.fleet, self.context)
        refused = {slot: _refusing_rules(state, slot) for slot in self.fleet.slot_of.values()}
        order = sorted(
            (slot for slot, rules in refused.items() if rules),
            key=lambda slot: (
                len(refused[slot]),
                -state.capacity.replicas_at_slot(slot),
                self.fleet.name_at(slot),
            ),
        )
        for slot in order[:MAX_SITES_TRIED]:
            trial = self._fix_site(start, self.fleet.name_at(slot))
            if trial is not None:
                self.trial_by_site[self.fleet.name_at(slot)] = trial
                yield trial

    def _fix_site(self, trial: Trial, name: str) -> Trial | None:
        """Applies the fix of one refusing rule after the other until all rules admit the site."""
        for _ in range(MAX_STEPS_PER_SITE + 1):
            facts = trial.facts.get(name, self.fleet.facts_of(name))
            rules, fix = self._first_fix(trial.demand, facts)
            if not rules:
                return trial
            if fix is None:
                return None
            trial = replace(trial.with_fix(fix), opened=trial.opened | {name})
        return None

    def _first_fix(self, demand: Demand, facts: SiteFacts) -> tuple[list[Rule], Fix | None]:
        """The rules that refuse a site as it is after some changes, and the fix of the first."""
        scratch = self.scratch_fleet
        scratch.upsert(facts)
        state = prepare_cycle(demand, scratch, self.context)
        rules = _refusing_rules(state, scratch.slot_of[facts.name])
        refused = RefusedSite(demand=demand, facts=facts, fleet=scratch, context=self.context)
        fix = rules[0].fix(refused) if rules else None
        scratch.upsert(self.fleet.facts_of(facts.name))
        return rules, fix

    def _iter_sites_together(self) -> Iterator[Trial]:
        """A changed grant at all its sites, several sites, or the best site with relaxations."""
        names = list(self.trial_by_site)[:MAX_SITES_TOGETHER]
        if not names:
            return
        together = self._apply_grants_everywhere(self.trial_by_site[names[0]])
        yield together
        for name in names[1:]:
            if self.has_found:
                return
            wider = self._fix_site(together, name)
            if wider is not None:
                together = wider
                yield together
        if not self.has_found:
            yield from self._iter_relaxations(
                self._apply_grants_everywhere(self.trial_by_site[names[0]])
            )

    def _apply_grants_everywhere(self, trial: Trial) -> Trial:
        """The trial with its changed grants at every other site that has them."""
        facts = dict(trial.facts)
        for each in self.fleet.all_facts() if trial.changed_grants else ():
            if each.name not in facts and any(
                one.name in trial.changed_grants for one in each.grants
            ):
                grants = tuple(
                    msgspec.structs.replace(
                        one,
                        spec=msgspec.structs.replace(
                            one.spec, **trial.changed_grants.get(one.name, {})
                        ),
                    )
                    for one in each.grants
                )
                facts[each.name] = msgspec.structs.replace(each, grants=grants)
        return replace(trial, facts=facts)


def _refusing_rules(state: CycleState, slot: int) -> list[Rule]:
    """The rules that refuse a site, in the order in which reasons are reported."""
    return [rule for rule, passed in state.filter_result.passed if not passed[slot]]
