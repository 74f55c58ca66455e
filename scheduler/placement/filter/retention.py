"""What of a workload may stay where it runs: placed work is sticky.

A site that would not be chosen today (a new NoSchedule taint, a cordon, a stale report, a lost API
kind, a better price elsewhere) keeps what it has and gets nothing new. Only these end a placement:

- the site is gone, or its NoExecute taint is not tolerated (any longer): the replicas are lost;
- its rights ended and the authority's `onViolation` says Stop: the replicas are lost;
- it is silent for longer than the workload bears, an operator or failover said so, or `onViolation`
  says
  Move: the replicas are replaced, and stay if nothing fits elsewhere.

What is being withdrawn already waits for its replacement; only what ends a placement at once ends
that too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scheduler.model.demand.demand import Demand, any_tolerates
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Taint
from scheduler.placement.filter.filter import Admission
from scheduler.placement.filter.rules import is_grant_rule
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet

_MOST_NAMED = 8


@dataclass(slots=True)
class Standing:
    """What becomes of what runs.

    Attributes:
        kept: replicas that stay, by slot.
        replaced: replicas that stay only until, or unless, they fit elsewhere; by slot.
        barred: slots that get nothing new: what was driven out does not come straight back.
        lost: sites whose replicas are gone, with the reason.
        violated: sites where a rule of an authority is broken by what runs there, with the reason.
    """

    kept: dict[int, int] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)
    barred: set[int] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    violated: dict[str, str] = field(default_factory=dict)


def standing_of(demand: Demand, fleet: Fleet, admission: Admission, moment: Moment) -> Standing:
    """Sorts what runs into kept, replaced and lost."""
    standing = Standing()
    if not demand.placed:
        return standing
    for site, replicas in sorted(demand.placed_replicas.items()):
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        if slot is None or facts is None:
            standing.lost[site] = _GONE
            continue
        if is_driven_out(facts, demand, moment):
            standing.lost[site] = "taint"
            standing.barred.add(slot)
            continue
        broken = _broken_right(slot, admission)
        if broken:
            standing.violated[site] = broken
        if broken and demand.on_violation == "Stop":
            standing.lost[site] = broken
        elif (broken and demand.on_violation == "Move") or _is_replaced(facts, demand, moment):
            standing.replaced[slot] = replicas
            standing.barred.add(slot)
        else:
            standing.kept[slot] = replicas
    _judge_leaving(standing, demand, fleet, admission, moment)
    return standing


def _judge_leaving(
    standing: Standing, demand: Demand, fleet: Fleet, admission: Admission, moment: Moment
) -> None:
    """Replicas that run on until they are replaced: some may not even do that."""
    leaving = {one.site for one in demand.placed if one.phase == "Withdrawing"}
    for site in sorted(leaving - demand.placed_replicas.keys()):
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        if slot is None or facts is None:
            standing.lost[site] = _GONE
        elif is_driven_out(facts, demand, moment):
            standing.lost[site] = "taint"
            standing.barred.add(slot)
        elif broken := _broken_right(slot, admission):
            standing.violated[site] = broken
            if demand.on_violation == "Stop":
                standing.lost[site] = broken


_GONE = "no such site"


def told_of_lost(lost: Mapping[str, str], left: Iterable[str]) -> str:
    """What ended, and by what, for the decision's line; empty when nothing did.

    Args:
        lost: what ended placements, by site.
        left: sites that hold nothing any more.
    """
    ended = [f"{site} ({lost[site]})" for site in left if site in lost]
    if not ended:
        return ""
    more = len(ended) - _MOST_NAMED
    return f"; ended at {', '.join(ended[:_MOST_NAMED])}" + (f" and {more} more" * (more > 0))


def driven_out_at(demand: Demand, fleet: Fleet, now: datetime) -> datetime | None:
    """When the next NoExecute taint that is borne for a time will end what runs.

    Returns:
        The first such instant after `now`; None when no taint will.
    """
    found: list[float] = []
    for site in {one.site for one in demand.placed}:
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        found.extend(_ends_of(facts, demand, now.timestamp()) if facts else ())
    ahead = [at for at in found if at > now.timestamp()]
    return datetime.fromtimestamp(min(ahead), UTC) if ahead else None


def _ends_of(facts: SiteFacts, demand: Demand, now_seconds: float) -> Iterator[float]:
    for taint in facts.spec.taints:
        if taint.effect != "NoExecute":
            continue
        since = now_seconds if taint.time_added is None else taint.time_added.timestamp()
        limits = _limits(taint, demand)
        if limits:
            yield since + min(limits)


def _limits(taint: Taint, demand: Demand) -> list[int]:
    """For how many seconds each toleration that has a limit bears a taint."""
    matching = [each for each in demand.site_tolerations if each.tolerates(taint)]
    return [each.toleration_seconds for each in matching if each.toleration_seconds is not None]


def is_driven_out(facts: SiteFacts, demand: Demand, moment: Moment) -> bool:
    """Whether a NoExecute taint ends what runs there.

    As in Kubernetes: a taint without a matching toleration ends it at once; matching tolerations
    with `tolerationSeconds` bear it for the least of them, counted from `timeAdded` (0 or less: not
    at all; without `timeAdded`, from now on); a matching toleration without seconds bears it for
    ever, unless another one limits it.
    """
    for taint in facts.spec.taints:
        if taint.effect != "NoExecute":
            continue
        if not any_tolerates(demand.site_tolerations, taint):
            return True
        limits = _limits(taint, demand)
        if not limits:
            continue
        since = moment.now_seconds if taint.time_added is None else taint.time_added.timestamp()
        if min(limits) <= 0 or moment.now_seconds - since >= min(limits):
            return True
    return False


def _is_replaced(facts: SiteFacts, demand: Demand, moment: Moment) -> bool:
    if facts.name in demand.evicted:
        return True
    if not facts.is_silent or demand.failover_mode != "Automatic" or not moment.terms.may_evict:
        return False
    since = facts.silent_since
    after = demand.failover_after_seconds
    limit = moment.terms.evict_after_seconds if after is None else after
    return since is None or moment.now_seconds - since.timestamp() >= limit


_RIGHTS = frozenset({"grant-expired", "not-allowed"})


def _broken_right(slot: int, admission: Admission) -> str:
    for rule, passed in admission.passed:
        if (is_grant_rule(rule) or rule.reason in _RIGHTS) and not passed[slot]:
            return rule.reason
    return ""
