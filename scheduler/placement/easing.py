"""What a workload could ask less of, when the sites that admit it do not suffice.

Each easing offers the smallest step of its kind: the most replicas, the largest request, the
narrowest bound that does fit, found by trying.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import ceil

from msgspec.structs import replace

from scheduler.model.decision import Change
from scheduler.model.demand import Demand
from scheduler.model.policy import Spread
from scheduler.model.quantities import CPU, PODS, written
from scheduler.model.tenant import GRAMS_PER_KILOGRAM, BudgetLeft, Spend
from scheduler.placement.moment import Moment
from scheduler.placement.trial import Step, Trial
from scheduler.placement.two_places import DEFAULT_PAIR_MILLISECONDS, DEFAULT_STANDBY_RATIO, PRESET

Fits = Callable[[Demand], bool]
_PARTS = 1000
_MOST_STEPS = 8


Usage = Mapping[str, int]


def hindrances(
    trial: Trial, moment: Moment, usage_of: Callable[[Demand], Usage]
) -> Iterator[Trial]:
    """Pause, time and quota, which hold whatever the sites say: all that bind are lifted.

    Args:
        trial: where to begin.
        moment: of the decision.
        usage_of: what a demand would take of its tenant's quota if that did not bind.
    """
    eased = _in_time(_resumed(trial), moment)
    if eased.demand.quota_left:
        eased = _more_quota(eased, usage_of(eased.demand))
    if eased is not trial:
        yield eased


def _resumed(trial: Trial) -> Trial:
    if not trial.demand.paused:
        return trial
    return _changed(trial, "paused", "true", "false", replace(trial.demand, paused=False))


def _in_time(trial: Trial, moment: Moment) -> Trial:
    for bound in ("earliest", "deadline"):
        schedule = trial.demand.schedule
        runs = timedelta(seconds=schedule.duration_seconds or 0)
        was = schedule.earliest if bound == "earliest" else schedule.deadline
        becomes = moment.now if bound == "earliest" else moment.now + runs
        if was is None or (was <= becomes if bound == "earliest" else was >= becomes):
            continue
        demand = replace(trial.demand, schedule=replace(schedule, **{bound: becomes}))
        trial = _changed(trial, f"schedule.{bound}", _told(was), _told(becomes), demand)
    return trial


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _more_quota(trial: Trial, usage: Usage) -> Trial:
    demand = trial.demand
    left = demand.quota_left or {}
    needed = {name: usage.get(name, 0) for name in left}
    quota = {name: demand.quota.get(name, 0) for name in left}
    short = [name for name in sorted(left) if needed[name] > left[name]]
    if not short:
        return trial
    change = Change(
        kind="tenant.quota",
        target=f"Tenant {demand.tenant}",
        from_=", ".join(f"{name}: {written(name, quota[name])}" for name in short),
        to=", ".join(
            f"{name}: {written(name, quota[name] + needed[name] - left[name])}" for name in short
        ),
    )
    wider = {**left, **{name: needed[name] for name in short}}
    return trial.after(Step(change, demand=replace(demand, quota_left=wider)))


def larger_budget(trial: Trial, spend: Spend | None) -> Iterator[Trial]:
    """The budget that would just do, to a hundredth, where what would be placed costs more."""
    demand = trial.demand
    left, budget = demand.budget_left, demand.budget
    if left is None or spend is None:
        return
    changes: dict[str, tuple[float, float]] = {}
    for name, per_unit in (("cny_per_hour", 1), ("kgco2e_per_hour", GRAMS_PER_KILOGRAM)):
        field = "gco2_per_hour" if per_unit != 1 else name
        was, rest, asked = getattr(budget, name), getattr(left, field), getattr(spend, field)
        if was is not None and asked > rest:
            changes[name] = (
                was,
                ceil((was + (asked - rest) / per_unit) * _HUNDREDTHS) / _HUNDREDTHS,
            )
    if not changes:
        return
    change = Change(
        kind="tenant.budget",
        target=f"Tenant {demand.tenant}",
        from_=", ".join(f"{_CAMEL[name]}: {was:g}" for name, (was, _) in changes.items()),
        to=", ".join(f"{_CAMEL[name]}: {becomes:g}" for name, (_, becomes) in changes.items()),
    )
    raised = {name: becomes - was for name, (was, becomes) in changes.items()}
    wider = BudgetLeft(
        cny_per_hour=_plus(left.cny_per_hour, raised.get("cny_per_hour", 0.0)),
        gco2_per_hour=_plus(
            left.gco2_per_hour, raised.get("kgco2e_per_hour", 0.0) * GRAMS_PER_KILOGRAM
        ),
    )
    yield trial.after(Step(change, demand=replace(demand, budget_left=wider)))


_HUNDREDTHS = 100
_CAMEL = {"cny_per_hour": "cnyPerHour", "kgco2e_per_hour": "kgco2ePerHour"}


def _plus(left: float | None, more: float) -> float | None:
    return None if left is None else left + more


def _changed(trial: Trial, what: str, was: str, becomes: str, demand: Demand) -> Trial:
    change = Change(kind=f"workload.{what}", target=demand.key, from_=was, to=becomes)
    return trial.after(Step(change, demand=demand))


def fewer_replicas(trial: Trial, fits: Fits) -> Iterator[Trial]:
    """The most replicas that do fit."""
    demand = trial.demand
    most = _most(demand.replicas - 1, lambda count: fits(replace(demand, replicas=count)))
    if most > 0:
        smaller = replace(demand, replicas=most)
        yield _changed(trial, "replicas", str(demand.replicas), str(most), smaller)


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to a limit that fits, if every smaller one does; 0: none."""
    low, high = 0, max(0, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def smaller_requests(trial: Trial, fits: Fits) -> Iterator[Trial]:
    """The largest request of one resource that does fit; if no single one helps, of all alike."""
    if len(trial.demand.unit) != 1:
        return
    requests = trial.demand.unit[0].shape.requests
    found = False
    for name in sorted(requests, key=lambda each: (each not in (CPU, "memory"), each)):
        for eased in () if name == PODS else _of_one(trial, name, fits):
            found = True
            yield eased
    if not found:
        yield from _of_all(trial, fits)


def _of_one(trial: Trial, name: str, fits: Fits) -> Iterator[Trial]:
    asked = trial.demand.unit[0].shape.requests[name]
    step = 2**20 if name == "memory" else 1
    demand = trial.demand
    least = _most(-(-asked // step) - 1, lambda n: fits(_asking(demand, {name: n * step})))
    smaller = _asking(demand, {name: least * step})
    if least > 0 or (name not in (CPU, "memory") and fits(smaller)):
        becomes = written(name, least * step)
        yield _changed(trial, f"requests.{name}", written(name, asked), becomes, smaller)


def _of_all(trial: Trial, fits: Fits) -> Iterator[Trial]:
    requests = {n: a for n, a in trial.demand.unit[0].shape.requests.items() if n != PODS}

    def scaled(part: int) -> dict[str, int]:
        return {name: max(1, amount * part // _PARTS) for name, amount in requests.items()}

    def trying(amounts: dict[str, int], name: str, step: int) -> Callable[[int], bool]:
        return lambda count: fits(_asking(trial.demand, {**amounts, name: count * step}))

    part = _most(_PARTS - 1, lambda part: fits(_asking(trial.demand, scaled(part))))
    if part == 0:
        return
    smaller = scaled(part)
    for name in sorted(requests):  # each as large as the others let it be
        step = 2**20 if name == "memory" else 1
        most = _most(requests[name] // step, trying(smaller, name, step))
        smaller[name] = max(smaller[name], most * step)
    was, becomes = (
        ", ".join(f"{name} {written(name, amount)}" for name, amount in sorted(each.items()))
        for each in (requests, smaller)
    )
    yield _changed(trial, "requests", was, becomes, _asking(trial.demand, smaller))


def _asking(demand: Demand, amounts: dict[str, int]) -> Demand:
    pods = demand.unit[0]
    kept = {**pods.shape.requests, **amounts}
    requests = {name: amount for name, amount in kept.items() if amount > 0}
    return replace(demand, unit=(replace(pods, shape=replace(pods.shape, requests=requests)),))


def looser_spread(trial: Trial, fits: Fits) -> Iterator[Trial]:
    """Each required level with its narrowest bound that fits, else as a wish."""
    spread = trial.demand.spread
    for place, rule in enumerate(spread):
        if not rule.required:
            continue
        loosened = False
        for what, was, becomes, looser in _looser(rule, trial.demand.replicas):
            demand = _with_rule(trial.demand, place, looser)
            if fits(demand):
                loosened = True
                title = f"spread.{what}"
                yield _changed(trial, title, f"{was} (by {rule.by})", str(becomes), demand)
                break
        if not loosened:
            wish = _with_rule(trial.demand, place, replace(rule, required=False))
            yield _changed(trial, "spread", f"by {rule.by}, required", "preferred", wish)


def _with_rule(demand: Demand, place: int, rule: Spread) -> Demand:
    spread = demand.spread
    return replace(demand, spread=(*spread[:place], rule, *spread[place + 1 :]))


def _looser(rule: Spread, replicas: int) -> Iterator[tuple[str, int, int, Spread]]:
    least, most, each = rule.min_groups, rule.max_groups, rule.max_per_group
    for fewer in range(least - 1, max(0, least - 1 - _MOST_STEPS), -1):
        yield "minGroups", least, fewer, replace(rule, min_groups=fewer)
    for more in range(1, _MOST_STEPS + 1) if most is not None else ():
        yield (
            "maxGroups",
            most or 0,
            (most or 0) + more,
            replace(rule, max_groups=(most or 0) + more),
        )
    if each is not None:
        for more in sorted({each + 1, each + 2, each * 2, replicas}):
            if more > each:
                yield "maxPerGroup", each, more, replace(rule, max_per_group=more)


def looser_pair(trial: Trial, fits: Fits) -> Iterator[Trial]:
    """Two places, three centres: a longer round trip within the pair, or a smaller standby."""
    demand = trial.demand
    if demand.preset != PRESET:
        return
    options = demand.preset_options
    within = options.pair_within_milliseconds or DEFAULT_PAIR_MILLISECONDS
    for factor in (2, 4, 8, 16):
        wider = replace(options, pair_within_milliseconds=within * factor)
        if fits(replace(demand, preset_options=wider)):
            title, becomes = "presetOptions.pairWithinMilliseconds", f"{within * factor:g}"
            eased = replace(demand, preset_options=wider)
            yield _changed(trial, title, f"{within:g}", becomes, eased)
            break
    ratio = options.standby_ratio
    share = DEFAULT_STANDBY_RATIO if ratio is None else ratio
    for tenth in range(9, -1, -1):
        smaller = replace(options, standby_ratio=share * tenth / 10)
        if fits(replace(demand, preset_options=smaller)):
            title, becomes = "presetOptions.standbyRatio", f"{share * tenth / 10:g}"
            eased = replace(demand, preset_options=smaller)
            yield _changed(trial, title, f"{share:g}", becomes, eased)
            break
