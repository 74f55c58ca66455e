"""What ending replicas of others costs them: sets of victims are compared by it.

In this order: fewest replicas beyond disruption budgets, the lowest highest priority, the lowest
sum of priorities, the fewest replicas, the youngest victims, and then the names. As in
kube-scheduler, but a priority below 0 adds nothing to the sum: more victims never count as less.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.model.demand.preemption import PossibleVictim

Ended = Mapping[tuple[int, str], int]
"""Replicas that end, by the number of the victim and the site; without zeros."""


class Harm(NamedTuple):
    """The order of sets of victims; less is better.

    Attributes:
        over_budget: replicas that end beyond what disruption budgets allow.
        highest_priority: of all victims.
        sum_of_priorities: over victims, none below 0.
        replicas: how many end.
        oldest_before: minus the time of creation of the oldest victim.
        names: of victims and sites.
    """

    over_budget: int
    highest_priority: int
    sum_of_priorities: int
    replicas: int
    oldest_before: float
    names: tuple[tuple[str, str, int], ...]


def harm_of(victims: Sequence[PossibleVictim], ended: Ended) -> Harm:
    """The harm of a set of victims, which is not empty."""
    totals: dict[int, int] = {}
    for (number, _), count in ended.items():
        totals[number] = totals.get(number, 0) + count
    return Harm(
        over_budget=sum(over_budget(victims[number], count) for number, count in totals.items()),
        highest_priority=max(victims[number].priority for number in totals),
        sum_of_priorities=sum(max(0, victims[number].priority) for number in totals),
        replicas=sum(totals.values()),
        oldest_before=-min(created_seconds(victims[number]) for number in totals),
        names=tuple(
            sorted((victims[number].workload, site, n) for (number, site), n in ended.items())
        ),
    )


def over_budget(victim: PossibleVictim, ending: int) -> int:
    """How many replicas that end are more than the victim's disruption budget allows."""
    if victim.budget_left is None:
        return 0
    return max(0, ending - max(0, victim.budget_left))


def created_seconds(victim: PossibleVictim) -> float:
    """When a victim was created, in seconds since 1970; what is not known counts as the oldest."""
    return 0.0 if victim.created_at is None else victim.created_at.timestamp()
