"""Relaxations to suggest when no feasible site has enough capacity: what a workload could ask less.

Each relaxation is the smallest step of its kind: the most replicas, the largest request or the
narrowest bound that fits, found by running the engine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.identity import is_kept_at_one_site
from scheduler.model.formatters import format_rfc3339_exact
from scheduler.model.kinds.policy import Spread
from scheduler.model.quantities import CPU, PODS, format_amount
from scheduler.placement.divide.disaster_recovery import (
    DEFAULT_PAIR_MILLISECONDS,
    DEFAULT_STANDBY_RATIO,
    DISASTER_RECOVERY_PRESET,
    standby_replicas_of,
)
from scheduler.placement.explain.trial import Trial
from scheduler.placement.filter.fix import Fix, change_workload
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.gates import held_until_seconds

FitsDemand = Callable[[Demand], bool]
QuotaUsage = Mapping[str, int]
"""What is used of a tenant's quota, by resource."""

_SCALE_STEPS = 1000


def lift_scheduling_gates(
    trial: Trial, context: DecisionContext, usage_of: Callable[[Demand], QuotaUsage]
) -> Iterator[Trial]:
    """Lifts all scheduling gates that hold, whatever the sites are: pause, time, hold and quota.

    Args:
        trial: the changes to begin with.
        context: the time and terms of the decision.
        usage_of: what a demand would take of its tenant's quota if that had no limit.
    """
    relaxed = _end_hold(_relax_schedule(_resume(trial), context), context)
    if relaxed.demand.quota_left:
        relaxed = _raise_quota(relaxed, usage_of(relaxed.demand))
    if relaxed is not trial:
        yield relaxed


def _resume(trial: Trial) -> Trial:
    if not trial.demand.paused:
        return trial
    return trial.with_fix(
        change_workload("paused", "true", "false", replace(trial.demand, paused=False))
    )


def _end_hold(trial: Trial, context: DecisionContext) -> Trial:
    """Raises the budget of the month for which work that can wait is held."""
    demand = trial.demand
    if held_until_seconds(demand, context) is None:
        return trial
    change = SuggestedChange(
        kind="tenant.budget",
        target=f"Tenant {demand.tenant}",
        from_="the month's budget",
        to="a larger one",
    )
    return trial.with_fix(Fix(change=change, demand=replace(demand, budget_hold="")))


def _relax_schedule(trial: Trial, context: DecisionContext) -> Trial:
    for bound in ("earliest", "deadline"):
        schedule = trial.demand.schedule
        duration = timedelta(seconds=schedule.duration_seconds or 0)
        was = schedule.earliest if bound == "earliest" else schedule.deadline
        becomes = context.now if bound == "earliest" else context.now + duration
        if was is None or (was <= becomes if bound == "earliest" else was >= becomes):
            continue
        demand = replace(trial.demand, schedule=replace(schedule, **{bound: becomes}))
        trial = trial.with_fix(
            change_workload(
                f"schedule.{bound}",
                format_rfc3339_exact(was),
                format_rfc3339_exact(becomes),
                demand,
            )
        )
    return trial


def _raise_quota(trial: Trial, usage: QuotaUsage) -> Trial:
    demand = trial.demand
    left = demand.quota_left or {}
    needed = {name: usage.get(name, 0) for name in left}
    quota = {name: demand.quota.get(name, 0) for name in left}
    short = [name for name in sorted(left) if needed[name] > left[name]]
    if not short:
        return trial
    change = SuggestedChange(
        kind="tenant.quota",
        target=f"Tenant {demand.tenant}",
        from_=", ".join(f"{name}: {format_amount(name, quota[name])}" for name in short),
        to=", ".join(
            f"{name}: {format_amount(name, quota[name] + needed[name] - left[name])}"
            for name in short
        ),
    )
    wider = {**left, **{name: needed[name] for name in short}}
    return trial.with_fix(Fix(change=change, demand=replace(demand, quota_left=wider)))


def reduce_replicas(trial: Trial, fits: FitsDemand) -> Iterator[Trial]:
    """The most replicas that fit, but not fewer than the spread needs."""
    demand = trial.demand
    least = max((rule.min_groups for rule in demand.spread if rule.required), default=1)
    least = max(least, _MIN_PAIR_REPLICAS) if demand.preset == DISASTER_RECOVERY_PRESET else least

    def fitting(more: int) -> bool:
        return fits(replace(demand, replicas=least - 1 + more))

    most = find_largest(demand.replicas - least, fitting)
    if most > 0:
        most += least - 1
        smaller = replace(demand, replicas=most)
        yield trial.with_fix(change_workload("replicas", str(demand.replicas), str(most), smaller))


def find_largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to a limit that fits, if every smaller one does; 0: none."""
    low, high = 0, max(0, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def reduce_requests(trial: Trial, fits: FitsDemand) -> Iterator[Trial]:
    """The largest request of one resource that fits; if no single one helps, of all alike."""
    if len(trial.demand.unit) != 1:
        return
    requests = trial.demand.unit[0].shape.requests
    found = False
    for name in sorted(requests, key=lambda each: (each not in (CPU, "memory"), each)):
        for relaxed in () if name == PODS else _reduce_one_request(trial, name, fits):
            found = True
            yield relaxed
    if not found:
        yield from _reduce_all_requests(trial, fits)


def _reduce_one_request(trial: Trial, name: str, fits: FitsDemand) -> Iterator[Trial]:
    asked = trial.demand.unit[0].shape.requests[name]
    step = 2**20 if name == "memory" else 1
    demand = trial.demand
    least = find_largest(
        -(-asked // step) - 1, lambda n: fits(_with_requests(demand, {name: n * step}))
    )
    smaller = _with_requests(demand, {name: least * step})
    if least > 0 or (name not in (CPU, "memory") and fits(smaller)):
        becomes = format_amount(name, least * step)
        yield trial.with_fix(
            change_workload(f"requests.{name}", format_amount(name, asked), becomes, smaller)
        )


def _reduce_all_requests(trial: Trial, fits: FitsDemand) -> Iterator[Trial]:
    requests = {n: a for n, a in trial.demand.unit[0].shape.requests.items() if n != PODS}

    def scaled(part: int) -> dict[str, int]:
        return {name: max(1, amount * part // _SCALE_STEPS) for name, amount in requests.items()}

    def trying(amounts: dict[str, int], name: str, step: int) -> Callable[[int], bool]:
        return lambda count: fits(_with_requests(trial.demand, {**amounts, name: count * step}))

    part = find_largest(
        _SCALE_STEPS - 1, lambda part: fits(_with_requests(trial.demand, scaled(part)))
    )
    if part == 0:
        return
    smaller = scaled(part)
    for name in sorted(requests):  # each as large as the others let it be
        step = 2**20 if name == "memory" else 1
        most = find_largest(requests[name] // step, trying(smaller, name, step))
        smaller[name] = max(smaller[name], most * step)
    was, becomes = (
        ", ".join(f"{name} {format_amount(name, amount)}" for name, amount in sorted(each.items()))
        for each in (requests, smaller)
    )
    yield trial.with_fix(
        change_workload("requests", was, becomes, _with_requests(trial.demand, smaller))
    )


def _with_requests(demand: Demand, amounts: dict[str, int]) -> Demand:
    pods = demand.unit[0]
    kept = {**pods.shape.requests, **amounts}
    requests = {name: amount for name, amount in kept.items() if amount > 0}
    return replace(demand, unit=(replace(pods, shape=replace(pods.shape, requests=requests)),))


def loosen_spread(trial: Trial, fits: FitsDemand) -> Iterator[Trial]:
    """Each required level with its narrowest bound that fits, else as a preference.

    The level that keeps numbered pods at one site is not the tenant's, so it is left alone.
    """
    spread = trial.demand.spread
    for index, rule in enumerate(spread):
        if not rule.required or is_kept_at_one_site(trial.demand, rule):
            continue
        loosened = False
        for what, was, becomes, demand in _iter_looser_bounds(trial.demand, index, fits):
            loosened = True
            yield trial.with_fix(
                change_workload(f"spread.{what}", f"{was} (by {rule.by})", str(becomes), demand)
            )
            break
        if not loosened:
            preferred = _with_rule(trial.demand, index, replace(rule, required=False))
            yield trial.with_fix(
                change_workload("spread", f"by {rule.by}, required", "preferred", preferred)
            )


def prefer_spread(trial: Trial) -> Trial | None:
    """All required levels as preferences; None: no level is required."""
    rules = trial.demand.spread
    required = [
        rule for rule in rules if rule.required and not is_kept_at_one_site(trial.demand, rule)
    ]
    if not required:
        return None
    spread = tuple(replace(rule, required=False) if rule in required else rule for rule in rules)
    shown = ", ".join(f"by {rule.by}" for rule in required)
    demand = replace(trial.demand, spread=spread)
    return trial.with_fix(change_workload("spread", f"{shown}, required", "preferred", demand))


def _with_rule(demand: Demand, index: int, rule: Spread) -> Demand:
    spread = demand.spread
    return replace(demand, spread=(*spread[:index], rule, *spread[index + 1 :]))


def _iter_looser_bounds(
    demand: Demand, index: int, fits: FitsDemand
) -> Iterator[tuple[str, int, int, Demand]]:
    """Bounds of a level that fit, one at a time: field, old and new value, and the demand."""
    rule, replicas = demand.spread[index], demand.replicas

    def moved(**bound: int) -> Demand:
        return _with_rule(demand, index, replace(rule, **bound))

    fewer = find_largest(rule.min_groups - 1, lambda count: fits(moved(min_groups=count)))
    if fewer:
        yield "minGroups", rule.min_groups, fewer, moved(min_groups=fewer)
    for what, field, was in (
        ("maxGroups", "max_groups", rule.max_groups),
        ("maxPerGroup", "max_per_group", rule.max_per_group),
    ):
        most = (
            None
            if was is None
            else _find_smallest(was, replicas, _fits_with_bound(moved, field, fits))
        )
        if was is not None and most is not None:
            yield what, was, most, moved(**{field: most})


def _fits_with_bound(
    moved: Callable[..., Demand], field: str, fits: FitsDemand
) -> Callable[[int], bool]:
    return lambda bound: fits(moved(**{field: bound}))


def _find_smallest(above: int, limit: int, fits: Callable[[int], bool]) -> int | None:
    """The smallest number above one that fits, if every larger one up to a limit does."""
    if above >= limit or not fits(limit):
        return None
    return limit - find_largest(limit - above - 1, lambda less: fits(limit - less))


def loosen_pair(trial: Trial, round_trips: Iterable[float], fits: FitsDemand) -> Iterator[Trial]:
    """Two places, three centres: a longer round trip within the pair, or a smaller standby.

    Args:
        trial: the changes to begin with.
        round_trips: the round trips between sites of one metro, in milliseconds.
        fits: whether the engine places a demand.
    """
    demand = trial.demand
    if demand.preset != DISASTER_RECOVERY_PRESET:
        return
    within = demand.preset_options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    longer = sorted({each for each in round_trips if each > within})
    spare = find_largest(
        len(longer) - 1, lambda less: fits(_with_pair_limit(demand, longer[-1 - less]))
    )
    if longer and fits(_with_pair_limit(demand, longer[-1 - spare])):
        becomes = longer[-1 - spare]
        title, relaxed = "presetOptions.pairWithinMilliseconds", _with_pair_limit(demand, becomes)
        yield trial.with_fix(change_workload(title, f"{within:.15g}", f"{becomes:.15g}", relaxed))
    standby = standby_replicas_of(demand)
    most = find_largest(standby, lambda more: fits(_with_standby(demand, more - 1)))
    if most:
        ratio = demand.preset_options.standby_ratio
        was = DEFAULT_STANDBY_RATIO if ratio is None else ratio
        relaxed = _with_standby(demand, most - 1)
        becomes = relaxed.preset_options.standby_ratio or 0.0
        yield trial.with_fix(
            change_workload("presetOptions.standbyRatio", f"{was:g}", f"{becomes:g}", relaxed)
        )


def _with_pair_limit(demand: Demand, milliseconds: float) -> Demand:
    options = replace(demand.preset_options, pair_within_milliseconds=milliseconds)
    return replace(demand, preset_options=options)


def _with_standby(demand: Demand, standby: int) -> Demand:
    """With so many standby replicas: the largest ratio of six decimals that asks no more."""
    ratio = standby * _RATIO_STEPS // demand.replicas / _RATIO_STEPS
    return replace(demand, preset_options=replace(demand.preset_options, standby_ratio=ratio))


_RATIO_STEPS = 1_000_000
_MIN_PAIR_REPLICAS = 2
