"""The smallest change that would make a workload fit, computed and verified by running the engine.

One change at a time is tried: to the workload, to a site, or to what an authority granted. A change
is offered only if the engine, run with it, places the workload. Whether it should be made is for
people to
say: a grant is the authority's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from scheduler.model.decision import Change
from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.fields import Toleration
from scheduler.model.quantities import CPU, PODS, written
from scheduler.model.reasons import Reason
from scheduler.placement.choose import choose, consider
from scheduler.placement.conclude import Case
from scheduler.placement.distance import milliseconds_to, targets_of
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment

MOST_TRIED = 64
MOST_OFFERED = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """A change and the world in which it was made."""

    change: Change
    demand: Demand
    facts: SiteFacts | None = None


def smallest_changes(demand: Demand, fleet: Fleet, moment: Moment) -> tuple[Change, ...]:
    """Verified single changes, smallest first; empty when none of those that are known will do.

    Args:
        demand: a demand that is not placed.
        fleet: the fleet; it is left as it was.
        moment: the time and terms of the decision.
    """
    case = consider(demand, fleet, moment)
    if not len(fleet):
        return ()
    scratch = Fleet(fleet.all_facts())
    offered: list[Change] = []
    for tried, trial in enumerate(_trials(case)):
        if tried >= MOST_TRIED or len(offered) >= MOST_OFFERED:
            break
        if _fits(trial, scratch, fleet, moment):
            offered.append(msgspec.structs.replace(trial.change, verified=True))
    return tuple(offered)


def _fits(trial: Trial, scratch: Fleet, fleet: Fleet, moment: Moment) -> bool:
    if trial.facts is not None:
        scratch.upsert(trial.facts)
    decision = choose(trial.demand, scratch, now=moment.now, terms=moment.terms)
    if trial.facts is not None:
        scratch.upsert(fleet.facts_of(trial.facts.name))
    return decision.phase == "Placed"


def _trials(case: Case) -> Iterator[Trial]:
    yield from _to_sites(case)
    if len(case.admission.slots):
        yield from _fewer_replicas(case)
        yield from _smaller_requests(case)
    yield from _without_spread(case.demand)


def _to_sites(case: Case) -> Iterator[Trial]:
    """What would open the sites that only one rule refuses, roomiest first."""
    failed = {
        slot: [rule.reason for rule, passed in case.admission.passed if not passed[slot]]
        for slot in case.fleet.slot_of.values()
    }
    near = sorted(
        (slot for slot, reasons in failed.items() if len(reasons) == 1),
        key=lambda slot: (-case.room.at_one(slot), case.fleet.name_at(slot)),
    )
    for slot in near[:MOST_TRIED]:
        fix = _FIXES.get(failed[slot][0])
        facts = case.fleet.facts[slot]
        if fix is not None and facts is not None:
            yield from fix(case, facts)


def _granted(
    facts: SiteFacts, kind: str, was: str, becomes: str, **changed: object
) -> Iterator[tuple[Change, SiteFacts]]:
    grant = facts.grants[0]
    better = msgspec.structs.replace(grant, spec=msgspec.structs.replace(grant.spec, **changed))
    changed_facts = msgspec.structs.replace(facts, grants=(better, *facts.grants[1:]))
    yield (
        Change(kind=kind, target=f"SiteGrant {grant.name}", from_=was, to=becomes),
        changed_facts,
    )


def _data_class(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    wanted = case.demand.data_class
    if wanted is None or not facts.grants:
        return
    was = facts.grants[0].spec.data_class
    for change, better in _granted(facts, "grant.dataClass", was, wanted, data_class=wanted):
        yield Trial(change, case.demand, better)


def _level(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    wanted = case.demand.protection_level
    was = str(facts.grants[0].spec.protection_level)
    for change, better in _granted(
        facts, "grant.protectionLevel", was, str(wanted), protection_level=wanted
    ):
        yield Trial(change, case.demand, better)


def _zones(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    had = facts.grants[0].spec.network_zones
    wanted = tuple(sorted({*had, *case.demand.network_zones}))
    for change, better in _granted(
        facts, "grant.networkZones", ", ".join(had), ", ".join(wanted), network_zones=wanted
    ):
        yield Trial(change, case.demand, better)


def _pool(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    for change, better in _granted(
        facts, "grant.dedicatedPool", "false", "true", dedicated_pool=True
    ):
        yield Trial(change, case.demand, better)


def _dates(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    until = facts.grants[0].spec.valid_until
    was = until.isoformat() if until else ""
    for change, better in _granted(
        facts, "grant.validUntil", was, "a later day", valid_from=None, valid_until=None
    ):
        yield Trial(change, case.demand, better)


def _allow_list(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    if not facts.grants:
        return
    had = facts.grants[0].spec.allow_list
    for change, better in _granted(
        facts, "grant.allowList", "", case.demand.key, allow_list=(*had, case.demand.key)
    ):
        yield Trial(change, case.demand, better)


def _architecture(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    for other in sorted({each.architecture for each in facts.status.node_classes} - {""}):
        more = tuple(sorted({*case.demand.architectures, other}))
        yield Trial(
            Change(
                kind="workload.imagePlatforms",
                target=case.demand.key,
                from_=", ".join(f"linux/{each}" for each in case.demand.architectures),
                to=", ".join(f"linux/{each}" for each in more),
            ),
            msgspec.structs.replace(case.demand, architectures=more),
        )


def _taint(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    more = tuple(
        Toleration(key=each.key, operator="Equal", value=each.value, effect=each.effect)
        for each in facts.spec.taints
    )
    told = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in facts.spec.taints)
    yield Trial(
        Change(kind="workload.siteTolerations", target=case.demand.key, to=told),
        msgspec.structs.replace(
            case.demand, site_tolerations=(*case.demand.site_tolerations, *more)
        ),
    )


def _cordon(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    open_again = msgspec.structs.replace(
        facts, spec=msgspec.structs.replace(facts.spec, cordon=False)
    )
    yield Trial(
        Change(kind="site.cordon", target=facts.name, from_="true", to="false"),
        case.demand,
        open_again,
    )


def _nearer(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    bounds = []
    told = []
    for bound in case.demand.latency:
        here = milliseconds_to(facts, targets_of(case.fleet, bound.from_))
        wide = max(bound.within_milliseconds, float(np.ceil(here * 10) / 10))
        if wide > bound.within_milliseconds:
            told.append((bound.within_milliseconds, wide))
        bounds.append(msgspec.structs.replace(bound, within_milliseconds=wide))
    yield Trial(
        Change(
            kind="workload.latency",
            target=case.demand.key,
            from_=", ".join(f"{was:g} ms" for was, _ in told),
            to=", ".join(f"{becomes:g} ms" for _, becomes in told),
        ),
        msgspec.structs.replace(case.demand, latency=tuple(bounds)),
    )


def _report(case: Case, facts: SiteFacts) -> Iterator[Trial]:
    status = msgspec.structs.replace(facts.status, observed_at=case.moment.now, conditions=())
    was = facts.observed_at.isoformat() if facts.observed_at else "never"
    yield Trial(
        Change(kind="site.report", target=facts.name, from_=was, to="a report from now"),
        case.demand,
        msgspec.structs.replace(facts, status=status),
    )


_FIXES: dict[Reason, Callable[[Case, SiteFacts], Iterator[Trial]]] = {
    "cordoned": _cordon,
    "stale": _report,
    "silent": _report,
    "architecture": _architecture,
    "taint": _taint,
    "too-far": _nearer,
    "data-class": _data_class,
    "protection-level": _level,
    "network-zone": _zones,
    "dedicated-pool": _pool,
    "grant-expired": _dates,
    "not-allowed": _allow_list,
}


def _fewer_replicas(case: Case) -> Iterator[Trial]:
    """The most replicas that do fit."""
    demand = case.demand
    low, high = 0, demand.replicas - 1
    while low < high:
        middle = (low + high + 1) // 2
        smaller = msgspec.structs.replace(demand, replicas=middle)
        fits = choose(smaller, case.fleet, now=case.moment.now, terms=case.moment.terms)
        low, high = (middle, high) if fits.phase == "Placed" else (low, middle - 1)
    if low > 0:
        yield Trial(
            Change(
                kind="workload.replicas",
                target=demand.key,
                from_=str(demand.replicas),
                to=str(low),
            ),
            msgspec.structs.replace(demand, replicas=low),
        )


def _smaller_requests(case: Case) -> Iterator[Trial]:
    """The largest request of each resource that does fit, the others left as they are."""
    if len(case.demand.unit) != 1:
        return
    for name in (CPU, "memory"):
        asked = case.demand.unit[0].shape.requests.get(name, 0)
        step = 1 if name == CPU else 2**20
        least, most = 0, -(-asked // step)
        while most - least > 1:
            middle = (least + most) // 2
            smaller = _with_request(case.demand, name, middle * step)
            fits = choose(smaller, case.fleet, now=case.moment.now, terms=case.moment.terms)
            least, most = (middle, most) if fits.phase == "Placed" else (least, middle)
        if least > 0 and name != PODS:
            yield Trial(
                Change(
                    kind=f"workload.requests.{name}",
                    target=case.demand.key,
                    from_=written(name, asked),
                    to=written(name, least * step),
                ),
                _with_request(case.demand, name, least * step),
            )


def _with_request(demand: Demand, name: str, amount: int) -> Demand:
    pods = demand.unit[0]
    requests = {**pods.shape.requests, name: max(1, amount)}
    shape = msgspec.structs.replace(pods.shape, requests=requests)
    return msgspec.structs.replace(demand, unit=(msgspec.structs.replace(pods, shape=shape),))


def _without_spread(demand: Demand) -> Iterator[Trial]:
    for place, rule in enumerate(demand.spread):
        if rule.required:
            rest = demand.spread[:place] + demand.spread[place + 1 :]
            yield Trial(
                Change(
                    kind="workload.spread",
                    target=demand.key,
                    from_=f"by {rule.by}, required",
                    to=f"by {rule.by}, preferred",
                ),
                msgspec.structs.replace(demand, spread=rest),
            )
