"""Makes the changes of a scenario to a copy of the fleet, and says what has to leave which site."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.site import Drain, Intensity
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import (
    SITE_PRICE_KEYS,
    TERM_PRICE_KEYS,
    AddCopies,
    AddSites,
    Change,
    ChangeGrants,
    ChangeIntensity,
    ChangePolicies,
    ChangePrice,
    DrainSite,
    LoseBroker,
    LoseSites,
    MakeChange,
    ScaleLoad,
    ScenarioError,
    ShedPower,
    ThawEvictions,
)
from scheduler.whatif.scenario.new_sites import copies_of, grants_by_site, new_sites
from scheduler.whatif.scenario.words import nearest, refuse_contradictions

MAX_SITES = 20_000
_THAW = "add the word thaw to see what follows"

UsedAt = Callable[[str], Mapping[str, int]]
"""Site → what placed workloads request there; millicores for cpu, whole units for all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheddingRequest:
    """What a grid asks, with the sites that it is about.

    Attributes:
        change: the request.
        sites: the sites; they take no new work.
        freeze: why nothing moves; empty: evictions are allowed.
    """

    change: ShedPower
    sites: tuple[str, ...]
    freeze: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFleet:
    """A copy after a scenario.

    Attributes:
        copy: the copy.
        drained: sites that are emptied.
        lost: sites that are silent from now on.
        freeze: why nothing is evicted; empty: evictions are allowed.
        is_broker_lost: no site is reached; all of them run on.
        load: every workload has this many times its replicas.
        added: sites that the scenario adds.
        shedding: what a grid asks.
        notes: what the answer assumes, for people.
    """

    copy: FleetCopy
    drained: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    freeze: str = ""
    is_broker_lost: bool = False
    load: float = 1.0
    added: frozenset[str] = frozenset()
    shedding: tuple[SheddingRequest, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> frozenset[str]:
        """The sites at which nothing is to be any more."""
        return self.drained if self.is_broker_lost else self.lost | self.drained


@dataclass(slots=True)
class _Draft:
    """What the changes have made so far."""

    copy: FleetCopy
    used_at: UsedAt
    drained: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    added: list[str] = field(default_factory=list)
    shedding: list[SheddingRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load: float = 1.0
    is_thawed: bool = False
    is_broker_lost: bool = False

    def facts_of(self, name: str, verb: str) -> SiteFacts:
        """The facts of a site.

        Raises:
            ScenarioError: there is no such site.
        """
        for one in self.copy.facts:
            if one.name == name:
                return one
        names = [one.name for one in self.copy.facts]
        raise ScenarioError(f"{verb}: there is no site {name!r}{nearest(name, names)}")


def apply_changes(
    copy: FleetCopy, changes: Sequence[Change], used_at: UsedAt = lambda _site: {}
) -> ChangedFleet:
    """The copy after all changes. New sites, grants and policies come before losses and drains.

    Args:
        copy: the copy; it stays as it is.
        changes: the scenario.
        used_at: what placed workloads request at a site.

    Raises:
        ScenarioError: a name does not exist, or two changes contradict.
    """
    refuse_contradictions(changes)
    draft = _Draft(copy, used_at)
    for one in sorted(changes, key=_is_late):
        _apply(draft, one)
    both = sorted(draft.drained & draft.lost)
    if both:
        raise ScenarioError(f"{both[0]} is drained and lost; a lost site cannot be drained")
    present = {one.name for one in copy.facts if not one.is_silent}
    fallen = draft.lost & present
    if draft.is_broker_lost:
        draft.lost = {one.name for one in copy.facts}
    freeze = _freeze_of(draft, len(fallen), len(present))
    now = copy.objects.now
    silent = [lost_facts(one, now) for one in draft.copy.facts if one.name in draft.lost]
    return ChangedFleet(
        copy=draft.copy.with_facts(silent),
        drained=frozenset(draft.drained),
        lost=frozenset(draft.lost),
        freeze=freeze,
        is_broker_lost=draft.is_broker_lost,
        load=draft.load,
        added=frozenset(draft.added),
        shedding=tuple(_with_freeze(draft, one) for one in draft.shedding),
        notes=tuple(draft.notes),
    )


def _is_late(change: Change) -> bool:
    return isinstance(change, DrainSite | LoseSites | LoseBroker | ShedPower)


def _apply(draft: _Draft, change: Change) -> None:
    """Makes one change to the draft."""
    match change:
        case DrainSite() | LoseSites() | LoseBroker() | ShedPower():
            _leave(draft, change)
        case AddCopies() | AddSites():
            _add(draft, change)
        case ChangeGrants():
            _change_grants(draft, change)
        case ChangePolicies():
            _change_policies(draft, change)
        case ChangePrice():
            _change_price(draft, change)
        case ChangeIntensity():
            _change_intensity(draft, change)
        case ScaleLoad(factor=factor):
            draft.load = factor
        case ThawEvictions():
            draft.is_thawed = True
        case MakeChange():
            pass  # `made_change` finds it, by running the engine


def _leave(draft: _Draft, change: DrainSite | LoseSites | LoseBroker | ShedPower) -> None:
    if isinstance(change, ShedPower):
        _shed(draft, change)
    elif isinstance(change, DrainSite):
        facts = draft.facts_of(change.site, "drain")
        spec = msgspec.structs.replace(facts.spec, drain=facts.spec.drain or Drain())
        draft.copy = draft.copy.with_facts([msgspec.structs.replace(facts, spec=spec)])
        draft.drained.add(change.site)
    elif isinstance(change, LoseSites):
        draft.lost |= _sites_lost(draft, change)
    else:
        draft.is_broker_lost = True


def _shed(draft: _Draft, change: ShedPower) -> None:
    """The sites of a request take no new work while it lasts."""
    if change.kind == "site":
        concerned = [draft.facts_of(change.place, "grid")]
    else:
        concerned = _of_zone(draft, change.place, "grid")
    for before in draft.shedding:
        both = sorted({one.name for one in concerned} & set(before.sites))
        if both:
            raise ScenarioError(
                f"grid: {both[0]} is asked twice, by {before.change.text} and by {change.text}; "
                "requests that overlap are asked one by one"
            )
    draft.copy = draft.copy.with_facts(
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, cordon=True))
        for one in concerned
    )
    names = tuple(sorted(one.name for one in concerned))
    draft.shedding.append(SheddingRequest(change=change, sites=names))


def _with_freeze(draft: _Draft, request: SheddingRequest) -> SheddingRequest:
    """The request with why nothing moves.

    Raises:
        ScenarioError: a site of it is emptied or lost besides.
    """
    gone = sorted((draft.drained | draft.lost) & set(request.sites))
    if gone and not draft.is_broker_lost:
        raise ScenarioError(f"grid: {gone[0]} is drained or lost besides; ask about one of them")
    if draft.is_broker_lost:
        return replace(request, freeze="there is no session with the broker")
    return request if draft.is_thawed else replace(request, freeze=draft.copy.objects.freeze)


def _of_zone(draft: _Draft, zone: str, verb: str) -> list[SiteFacts]:
    """The sites of a grid zone.

    Raises:
        ScenarioError: there are none.
    """
    concerned = [one for one in draft.copy.facts if one.spec.energy.grid_zone == zone]
    if not concerned:
        zones = sorted(filter(None, {one.spec.energy.grid_zone for one in draft.copy.facts}))
        raise ScenarioError(f"{verb}: no site has the grid zone {zone!r}{nearest(zone, zones)}")
    return concerned


def _add(draft: _Draft, change: AddCopies | AddSites) -> None:
    if isinstance(change, AddSites):
        facts = new_sites(draft.copy, change.facts, draft.notes)
    else:
        like = draft.facts_of(change.site, "add")
        facts = copies_of(draft.copy, like, change.copies, draft.used_at(change.site))
        draft.notes.append(
            f"a site like {change.site} counts as empty: it has what is free there and what placed "
            "workloads request there, spread evenly over its nodes"
        )
    if len(draft.copy.facts) + len(facts) > MAX_SITES:
        raise ScenarioError(f"add: a fleet has at most {MAX_SITES} sites here")
    draft.copy = draft.copy.with_facts(facts)
    draft.added += [one.name for one in facts]


def _sites_lost(draft: _Draft, change: LoseSites) -> set[str]:
    """The names of the sites that are lost.

    Raises:
        ScenarioError: there are none.
    """
    if change.kind == "site":
        return {draft.facts_of(change.value, "lose").name}
    found: dict[str, set[str]] = {}
    for one in draft.copy.facts:
        found.setdefault(domain_of(one, change.kind), set()).add(one.name)
    if change.value not in found:
        known = sorted(filter(None, found))
        raise ScenarioError(
            f"lose: no site has the {change.kind} {change.value!r}{nearest(change.value, known)}"
        )
    return found[change.value]


def domain_of(facts: SiteFacts, kind: str) -> str:
    """The province, city or provider of a site; empty: not known."""
    if kind == "provider":
        return facts.spec.provider
    place = facts.spec.location
    return place.province if kind == "province" else place.city


def lost_facts(facts: SiteFacts, now: datetime) -> SiteFacts:
    """The facts of a site that was lost just now."""
    lost = Condition(type="Ready", status="False", reason="Lost", last_transition_time=now)
    others = tuple(one for one in facts.status.conditions if one.type != "Ready")
    status = msgspec.structs.replace(facts.status, conditions=(*others, lost))
    return msgspec.structs.replace(facts, status=status)


def _freeze_of(draft: _Draft, fallen: int, present: int) -> str:
    """Why nothing is evicted after the loss; "" if evictions are allowed."""
    if draft.is_broker_lost:
        return (
            "there is no session with the broker: no site is reached, so nothing moves and nothing "
            "new starts; the sites run on by the orders that they have"
        )
    ratio, present_freeze = draft.copy.objects.max_silent_ratio, draft.copy.objects.freeze
    if draft.is_thawed or not fallen:
        return ""
    if present_freeze:
        return f"evictions are frozen already: {present_freeze}; {_THAW}"
    if fallen <= ratio * present:
        return ""
    return (
        f"{fallen} of {present} sites fall silent together, more than failover.storm."
        f"max_silent_ratio ({ratio:g}): nothing is replaced before an operator runs kapok thaw; "
        f"{_THAW}"
    )


def _change_grants(draft: _Draft, change: ChangeGrants) -> None:
    objects = draft.copy.objects
    by_name = {one.metadata.name: one for one in objects.grants}
    concerned: set[str] = set()
    for one in change.grants:
        before = by_name.get(one.metadata.name)
        concerned.update(one.spec.sites, before.spec.sites if before else ())
        by_name[one.metadata.name] = one
    names = {one.name for one in draft.copy.facts}
    unknown = sorted({site for one in change.grants for site in one.spec.sites} - names)
    if unknown:
        raise ScenarioError(f"grant: there is no site {unknown[0]!r}{nearest(unknown[0], names)}")
    grants = tuple(by_name.values())
    of_site = grants_by_site(grants, concerned)
    draft.copy = draft.copy.with_objects(grants=grants).with_facts(
        msgspec.structs.replace(one, grants=of_site[one.name])
        for one in draft.copy.facts
        if one.name in concerned
    )


def _change_policies(draft: _Draft, change: ChangePolicies) -> None:
    objects = draft.copy.objects
    named = {one.metadata.key: one for one in (*objects.policies, *change.policies)}
    shared = {
        one.metadata.name: one for one in (*objects.cluster_policies, *change.cluster_policies)
    }
    draft.copy = draft.copy.with_objects(
        policies=tuple(named.values()), cluster_policies=tuple(shared.values())
    )


def _change_price(draft: _Draft, change: ChangePrice) -> None:
    if change.key in TERM_PRICE_KEYS:
        terms = draft.copy.objects.terms
        changed = msgspec.structs.replace(terms, **{TERM_PRICE_KEYS[change.key]: change.value})
        draft.copy = draft.copy.with_objects(terms=changed)
        return
    sites: Iterable[SiteFacts] = draft.copy.facts
    if change.site:
        sites = [draft.facts_of(change.site, "price")]
    draft.copy = draft.copy.with_facts([_with_price(one, change) for one in sites])


def _with_price(facts: SiteFacts, change: ChangePrice) -> SiteFacts:
    """The facts with another price; a flat price of electricity replaces a tariff by the hour."""
    prices = msgspec.structs.replace(
        facts.spec.prices, **{SITE_PRICE_KEYS[change.key]: change.value}
    )
    if change.key == "energyCnyPerKwh":
        prices = msgspec.structs.replace(prices, tariff=())
    return msgspec.structs.replace(facts, spec=msgspec.structs.replace(facts.spec, prices=prices))


def _change_intensity(draft: _Draft, change: ChangeIntensity) -> None:
    concerned = _of_zone(draft, change.zone, "intensity")
    now = draft.copy.objects.now
    measured = Intensity(gco2_per_kwh=change.gco2_per_kwh, origin="assumed", observed_at=now)
    draft.copy = draft.copy.with_facts([_with_intensity(one, measured) for one in concerned])


def _with_intensity(facts: SiteFacts, intensity: Intensity) -> SiteFacts:
    """The facts with another intensity, which holds for all hours to come."""
    energy = msgspec.structs.replace(facts.spec.energy, forecast=None)
    return msgspec.structs.replace(
        facts,
        spec=msgspec.structs.replace(facts.spec, energy=energy),
        status=msgspec.structs.replace(facts.status, intensity=intensity),
        kept_forecast=None,
    )
