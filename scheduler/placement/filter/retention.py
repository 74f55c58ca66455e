"""Which replicas of a workload may stay where they run: placements are sticky.

A site that would not be chosen today (a new NoSchedule taint, a cordon, a stale report, a lost API
kind, a better price elsewhere) keeps its replicas and gets no new ones. Only these end a placement:

- The site is gone, or has a NoExecute taint that is not, or no longer, tolerated: the replicas are
  lost.
- The site's rights ended, and the authority's `onViolation` is Stop: the replicas are lost.
- Another workload takes their room, by priority or by its tenant's guaranteed quota: as many as
  that decision names are lost.
- The site is silent for longer than the workload tolerates, an operator, a drain, maintenance or
  failover evicts it (some of its replicas only, where a disruption budget allows no more), or
  the rights ended and `onViolation` is Move: the replicas are replaced, and stay if nothing fits
  elsewhere. So are single replicas that are not ready, while the others stay.

Replicas that are being withdrawn already run until their replacement does; only what makes replicas
lost ends them earlier.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scheduler.model.decision import NO_SUCH_SITE
from scheduler.model.demand.demand import Demand, any_tolerates
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.preemption import PreemptedReplicas
from scheduler.model.formatters import format_list, format_rfc3339
from scheduler.model.kinds.failover import UNREADY_WORDS
from scheduler.model.kinds.fields import Taint
from scheduler.model.maintenance import window_to_clear
from scheduler.placement.filter.filter import FilterResult
from scheduler.placement.filter.rules import is_grant_rule
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_MAX_NAMED_SITES = 8


@dataclass(slots=True, kw_only=True)
class RetainedShares:
    """What becomes of the replicas that run.

    Attributes:
        kept: replicas that stay, by slot.
        replaced: further replicas that stay until they fit elsewhere, by slot.
        excluded: slots that get no new replicas, as some of the workload's replicas there are lost
            to a taint or being replaced.
        lost: why replicas are lost, by site.
        violated: which right the running replicas violate, by site.
        preempted: how many replicas end for other workloads, by slot; those are in no other field.
    """

    kept: dict[int, int] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    violated: dict[str, str] = field(default_factory=dict)
    preempted: dict[int, int] = field(default_factory=dict)


def retained_shares(
    demand: Demand, fleet: Fleet, filter_result: FilterResult, context: DecisionContext
) -> RetainedShares:
    """Sorts the running replicas of a workload into kept, replaced and lost."""
    retained = RetainedShares()
    if not demand.placed:
        return retained
    preempted = {each.site: each for each in demand.preempted}
    for site, replicas in sorted(demand.placed_replicas.items()):
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        if slot is None or facts is None:
            retained.lost[site] = NO_SUCH_SITE
            continue
        if is_evicted_by_taint(facts, demand, context):
            retained.lost[site] = "taint"
            retained.excluded.add(slot)
            continue
        violated_reason = _violated_reason(slot, filter_result)
        if violated_reason:
            retained.violated[site] = violated_reason
        if violated_reason and demand.on_violation == "Stop":
            retained.lost[site] = violated_reason
            continue
        taken = preempted.get(site)
        left = replicas if taken is None else _without_preempted(retained, slot, replicas, taken)
        is_to_leave = bool(violated_reason) and demand.on_violation == "Move"
        if is_to_leave or _needs_replacement(facts, demand, context):
            stays = min(demand.evicted_keep.get(site, 0), left)
            _divide_share(retained, slot, stays, left - stays)
            retained.excluded.add(slot)
        else:
            unready = min(demand.unready_replicas.get(site, 0), left)
            _divide_share(retained, slot, left - unready, unready)
    for one in demand.unready:
        retained.excluded.update(fleet.slot_of[s] for s in one.avoid if s in fleet.slot_of)
    _check_withdrawing(retained, demand, fleet, filter_result, context)
    return retained


def _without_preempted(
    retained: RetainedShares, slot: int, replicas: int, one: PreemptedReplicas
) -> int:
    """How many replicas are left at a site when some end for another workload; none comes back."""
    left = min(one.keep, replicas)
    retained.excluded.add(slot)
    if left < replicas:
        retained.preempted[slot] = replicas - left
    if not left:
        retained.lost[one.site] = one.because
    return left


def _divide_share(retained: RetainedShares, slot: int, stays: int, leaves: int) -> None:
    """Divides the replicas of a site into those that stay and those that are to be replaced."""
    if stays:
        retained.kept[slot] = stays
    if leaves:
        retained.replaced[slot] = leaves
        retained.excluded.add(slot)


def _check_withdrawing(
    retained: RetainedShares,
    demand: Demand,
    fleet: Fleet,
    filter_result: FilterResult,
    context: DecisionContext,
) -> None:
    """Finds sites whose replicas are being withdrawn and may not even run until replaced."""
    withdrawing = {one.site for one in demand.placed if one.phase == "Withdrawing"}
    for site in sorted(withdrawing - demand.placed_replicas.keys()):
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        if slot is None or facts is None:
            retained.lost[site] = NO_SUCH_SITE
        elif is_evicted_by_taint(facts, demand, context):
            retained.lost[site] = "taint"
            retained.excluded.add(slot)
        elif violated_reason := _violated_reason(slot, filter_result):
            retained.violated[site] = violated_reason
            if demand.on_violation == "Stop":
                retained.lost[site] = violated_reason


def format_ended(lost: Mapping[str, str], vacated: Iterable[str]) -> str:
    """The placements that ended, with the reasons, for the decision's line; "" if none did.

    Args:
        lost: why replicas are lost, by site.
        vacated: sites that held replicas and hold none after this decision.
    """
    ended = [f"{site} ({lost[site]})" for site in vacated if site in lost]
    return f"; ended at {format_list(ended, _MAX_NAMED_SITES)}" if ended else ""


def format_preempted(demand: Demand, retained: RetainedShares, fleet: Fleet) -> str:
    """Which replicas end while others of their site stay, for the decision's line; "" if none."""
    texts = [
        f"{count} of {demand.placed_replicas[one.site]} at {one.site} ({one.because})"
        for one in demand.preempted
        if one.site not in retained.lost
        and (count := retained.preempted.get(fleet.slot_of.get(one.site, -1), 0))
    ]
    return f"; ended {format_list(texts, _MAX_NAMED_SITES)}" if texts else ""


def format_moved(
    demand: Demand, fleet: Fleet, staying: Mapping[str, int], now_seconds: float
) -> str:
    """What was moved from evicted sites, or could not be, for the decision's line; "" if nothing.

    Args:
        demand: says from where replicas are to be replaced.
        fleet: the sites, with the time since which they are silent.
        staying: replicas by site after this decision.
        now_seconds: the time of the decision, in seconds since 1970.
    """
    moved: list[str] = []
    stuck: list[str] = []
    for site, before in ((each, demand.placed_replicas.get(each, 0)) for each in demand.evicted):
        left = staying.get(site, 0)
        if not before:
            continue
        why = _because_of(site, fleet, now_seconds)
        if not left:
            moved.append(why)
        elif left < before:
            moved.append(f"{why} ({before - left} of {before})")
        else:
            stuck.append(why)
    return (f"; moved from {format_list(moved, _MAX_NAMED_SITES)}" if moved else "") + (
        f"; not moved from {format_list(stuck, _MAX_NAMED_SITES)}" if stuck else ""
    )


def format_unready(demand: Demand, after: Mapping[str, int]) -> str:
    """What was moved because it was not ready, for the decision's line; "" without such.

    Args:
        demand: says which replicas are to be replaced, and which stay after all.
        after: replicas by site after this decision.
    """
    moved, stuck, back = list[str](), list[str](), list[str]()
    for one in demand.unready:
        total = demand.placed_replicas.get(one.site, 0)
        because = f"not ready for {one.seconds} s ({UNREADY_WORDS[one.reason]})"
        if one.back_at:
            back.append(f"{one.back_at}: {one.replicas} at {one.site} {because}")
        elif after.get(one.site, 0) < total:
            moved.append(f"{one.site}: {one.replicas} of {total} replicas {because}")
        else:
            stuck.append(f"{one.site}: {one.replicas} of {total} replicas {because}")
    return "".join(
        f"; {verb} {format_list(texts, _MAX_NAMED_SITES)}"
        for verb, texts in (
            ("moved from", moved),
            ("not moved from", stuck),
            ("moved back to", back),
        )
        if texts
    )


def _because_of(site: str, fleet: Fleet, now_seconds: float) -> str:
    slot = fleet.slot_of.get(site)
    facts = None if slot is None else fleet.facts[slot]
    if facts is not None and facts.is_silent:
        since = facts.silent_since
        known = "" if since is None else f" since {format_rfc3339(since)}"
        return f"{site}: silent{known}"
    if facts is not None and facts.spec.drain is not None:
        return f"{site}: being drained"
    window = None if facts is None else window_to_clear(facts.spec.maintenance, now_seconds)
    if window is not None:
        return f"{site}: maintenance from {format_rfc3339(window.from_)}"
    return f"{site}: asked by an operator"


def evicted_by_taint_at(demand: Demand, fleet: Fleet, now: datetime) -> datetime | None:
    """When the next toleration of a NoExecute taint expires where the workload runs.

    Returns:
        The first such instant after `now`; None if there is none.
    """
    eviction_seconds: list[float] = []
    for site in {one.site for one in demand.placed}:
        slot = fleet.slot_of.get(site)
        facts = None if slot is None else fleet.facts[slot]
        eviction_seconds.extend(
            _taint_eviction_seconds(facts, demand, now.timestamp()) if facts else ()
        )
    future_seconds = [at for at in eviction_seconds if at > now.timestamp()]
    return datetime.fromtimestamp(min(future_seconds), UTC) if future_seconds else None


def _taint_eviction_seconds(
    facts: SiteFacts, demand: Demand, now_seconds: float
) -> Iterator[float]:
    for taint in facts.spec.taints:
        if taint.effect != "NoExecute":
            continue
        limits = _toleration_seconds(taint, demand)
        if limits:
            yield _tainted_since(taint, now_seconds) + min(limits)


def _tainted_since(taint: Taint, now_seconds: float) -> float:
    """When a taint was added, in seconds since 1970; now if it does not say."""
    return now_seconds if taint.time_added is None else taint.time_added.timestamp()


def _toleration_seconds(taint: Taint, demand: Demand) -> list[int]:
    """The `tolerationSeconds` of all tolerations that match a taint and have such a limit."""
    matching = [each for each in demand.site_tolerations if each.tolerates(taint)]
    return [each.toleration_seconds for each in matching if each.toleration_seconds is not None]


def is_evicted_by_taint(facts: SiteFacts, demand: Demand, context: DecisionContext) -> bool:
    """Whether a NoExecute taint evicts the workload's replicas from a site now.

    As in Kubernetes: a taint without a matching toleration evicts at once. Matching tolerations
    with `tolerationSeconds` tolerate it for the shortest of these, counted from `timeAdded` (0 or
    less: not at all; without `timeAdded`: from now on). A matching toleration without seconds
    tolerates it forever, unless another one limits it.
    """
    for taint in facts.spec.taints:
        if taint.effect != "NoExecute":
            continue
        if not any_tolerates(demand.site_tolerations, taint):
            return True
        limits = _toleration_seconds(taint, demand)
        if not limits:
            continue
        since = _tainted_since(taint, context.now_seconds)
        if min(limits) <= 0 or context.now_seconds - since >= min(limits):
            return True
    return False


def _needs_replacement(facts: SiteFacts, demand: Demand, context: DecisionContext) -> bool:
    if facts.name in demand.evicted:
        return True
    if not facts.is_silent or demand.failover_mode != "Automatic" or not context.terms.may_evict:
        return False
    since = facts.silent_since
    after = demand.failover_after_seconds
    limit = context.terms.evict_after_seconds if after is None else after
    return since is None or context.now_seconds - since.timestamp() >= limit


_RIGHTS_REASONS = frozenset({"grant-expired", "not-allowed"})


def _violated_reason(slot: int, filter_result: FilterResult) -> str:
    for rule, passed in filter_result.passed:
        if (is_grant_rule(rule) or rule.reason in _RIGHTS_REASONS) and not passed[slot]:
            return rule.reason
    return ""
