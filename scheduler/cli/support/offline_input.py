"""Input of offline decisions: reads all objects from files, and decides the workloads in order.

`kapok place` and `kapok explain -f` decide the workloads one after the other, by priority, then
age, then name; each sees the capacity that the ones before it left. Running workloads have their
sites in `status.placement`; groups in phase Placing have no node yet and count as in flight.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import fsum, isfinite
from typing import Any

import msgspec

from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from scheduler.control.preemption.running_work import running_work
from scheduler.model.decision import Decision
from scheduler.model.decode import NotReadable, decode
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import InFlight, site_facts_of
from scheduler.model.demand.preemption import RunningWork
from scheduler.model.demand.tenancy import QuotaUsage, tenant_of
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.fields import NAME_PATTERN
from scheduler.model.kinds.kinds import (
    API_GROUP,
    ClusterPlacementPolicy,
    DataClassScheme,
    PlacementPolicy,
    Site,
    SiteGrant,
    Tenant,
    Workload,
)
from scheduler.model.kinds.tenant import Budget, Spend
from scheduler.model.kinds.tenant_quotas import LendingBook
from scheduler.model.kinds.tenant_tree import tenant_tree
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus
from scheduler.model.quantities import NotAQuantity
from scheduler.placement.choose import choose
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import in_flight_pods

NO_TENANT_NOTE = "no-tenant"
"""The note of an answer that was decided without tenancy."""
NO_TENANT_SENTENCE = (
    "note: no-tenant: there is no Tenant in the input, so no quota, budget, priority or class "
    "limit of a tenant was checked; a hub refuses a namespace that no Tenant lists"
)
"""The same for people."""


class OfflineInputError(ValueError):
    """The files cannot be decided on; the message names the object and the problem."""


@dataclass
class OfflineInput:
    """All Kapok objects of a set of files, by kind."""

    sites: list[Site] = field(default_factory=list)
    grants: list[SiteGrant] = field(default_factory=list)
    schemes: list[DataClassScheme] = field(default_factory=list)
    tenants: list[Tenant] = field(default_factory=list)
    policies: list[PlacementPolicy] = field(default_factory=list)
    cluster_policies: list[ClusterPlacementPolicy] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)

    @property
    def has_tenancy(self) -> bool:
        """Whether the files hold a Tenant. If so, every namespace needs one, as on a hub."""
        return bool(self.tenants)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the answers leave out: `no-tenant` without a Tenant in the files."""
        return () if self.has_tenancy else (NO_TENANT_NOTE,)

    @property
    def scheme(self) -> DataClassScheme | None:
        """The scheme named `default`, else the first one; None: use the built-in one."""
        named = [each for each in self.schemes if each.metadata.name == "default"]
        return next(iter([*named, *self.schemes]), None)


@dataclass(frozen=True)
class OfflineDecision:
    """One workload with its decision.

    Attributes:
        workload: the workload.
        demand: what it asks, or why it is not accepted.
        decision: None for a workload that is not accepted.
    """

    workload: Workload
    demand: Demand | NotAccepted
    decision: Decision | None


def read_offline_input(names: Sequence[str]) -> OfflineInput:
    """Reads files, folders, or stdin for "-".

    Raises:
        OfflineInputError: a file or an object cannot be read.
    """
    inputs = OfflineInput()
    seen: set[tuple[str, str]] = set()
    try:
        for raw in read_objects(names):
            if not str(raw["apiVersion"]).startswith(f"{API_GROUP}/"):
                continue  # an export of a whole hub is valid input; other kinds are ignored
            title = f"{raw['kind']} {raw['metadata']['name']}"
            _check_names(raw["metadata"], title)
            _check_finite(raw, title)
            each = decode(_with_namespace(raw))
            identity = (str(raw["kind"]), each.metadata.key)  # type: ignore[attr-defined]
            if identity in seen:
                raise OfflineInputError(f"duplicate object {' '.join(identity)}; keep one of them")
            seen.add(identity)
            _list_for(inputs, each).append(each)
    except (ManifestFileError, NotReadable) as error:
        raise OfflineInputError(str(error)) from error
    return inputs


def input_of_objects(objects: Iterable[dict[str, Any]]) -> OfflineInput:
    """What a hub holds, as input; objects that do not decode are left out, as the hub does."""
    inputs = OfflineInput()
    for raw in objects:
        with suppress(NotReadable):
            each = decode(raw, allow_unknown=True)
            _list_for(inputs, each).append(each)
    return inputs


def _check_names(metadata: dict[str, Any], title: str) -> None:
    """Refuses names that the API server would refuse: they become paths, topics and file names."""
    for part, pattern, most in (("name", NAME_PATTERN, 253), ("namespace", _NAMESPACE_PATTERN, 63)):
        name = metadata.get(part)
        if name in (None, "") and part == "namespace":
            continue  # it is in `default`
        if not isinstance(name, str) or len(name) > most or not re.fullmatch(pattern, name):
            raise OfflineInputError(
                f"{title[:80]}: invalid metadata.{part} {str(name)[:80]!r}: "
                f"use at most {most} lower-case letters, digits, '-'"
                + (" and '.'" if part == "name" else "")
                + ("" if isinstance(name, str) else "; put it in quotes, it is not text as written")
            )


_NAMESPACE_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def _with_namespace(raw: dict[str, Any]) -> dict[str, Any]:
    """Puts namespaced objects without a namespace into `default`, as kubectl does."""
    metadata = raw["metadata"]
    if raw["kind"] in ("Workload", "PlacementPolicy") and metadata.get("namespace") in (None, ""):
        return {**raw, "metadata": {**metadata, "namespace": "default"}}
    return raw


def _check_finite(value: object, path: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise OfflineInputError(
            f"{path}: {value} is not a finite number; leave the field out if it is unknown"
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            # The title of the object, then the dotted path: "Site m1: status.freeCpu".
            _check_finite(inner, f"{path}: {key}" if ": " not in path else f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_finite(inner, f"{path}[{index}]")


def _list_for(inputs: OfflineInput, each: object) -> list[Any]:
    lists: dict[type, list[Any]] = {
        Site: inputs.sites,
        SiteGrant: inputs.grants,
        DataClassScheme: inputs.schemes,
        Tenant: inputs.tenants,
        PlacementPolicy: inputs.policies,
        ClusterPlacementPolicy: inputs.cluster_policies,
        Workload: inputs.workloads,
    }
    return lists[type(each)]


def fleet_of(inputs: OfflineInput) -> Fleet:
    """The fleet that the files describe, before any decision.

    Raises:
        OfflineInputError: a quantity in a site's status cannot be read.
    """
    in_flight = _in_flight_by_site(inputs)
    fleet = Fleet()
    try:
        for site in inputs.sites:
            name = site.metadata.name
            fleet.upsert(site_facts_of(site, inputs.grants, in_flight=in_flight.get(name, ())))
    except NotAQuantity as error:
        raise OfflineInputError(str(error)) from error
    return fleet


def _in_flight_by_site(inputs: OfflineInput) -> dict[str, list[InFlight]]:
    found: dict[str, list[InFlight]] = {}
    for workload in inputs.workloads:
        demand = _demand_for(inputs, workload, None)
        if isinstance(demand, NotAccepted):
            continue
        for placed in demand.placed:
            if placed.phase == "Placing" and placed.replicas:
                pods = in_flight_pods(demand, placed.replicas, new_site=True)
                found.setdefault(placed.site, []).extend(pods)
    return found


def decide_all(
    inputs: OfflineInput, fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> Iterator[OfflineDecision]:
    """Decides every workload in order.

    Each decision is yielded before it changes the fleet, so that the caller can explain it from the
    fleet that it saw; then the fleet and `inputs` take it over.
    """
    for workload in sorted(inputs.workloads, key=_sort_key):
        demand = _demand_for(
            inputs, workload, _quota_usage(inputs, workload, fleet, decision_context(now, terms))
        )
        if isinstance(demand, NotAccepted):
            yield OfflineDecision(workload, demand, None)
            continue
        decision = choose(demand, fleet, now=now, terms=terms)
        if decision.phase == "Waiting" and demand.preemption == "LowerPriority":
            demand, decision = _with_victims(inputs, fleet, demand, decision, terms)
        decided = OfflineDecision(workload, demand, decision)
        yield decided
        follow(inputs, fleet, decided)


def _with_victims(
    inputs: OfflineInput, fleet: Fleet, demand: Demand, waiting: Decision, terms: Terms
) -> tuple[Demand, Decision]:
    """The decision with what ends for a workload that waits for room, if anything does."""
    others = (one.victim for one in work_beside(inputs, demand.key))
    lower = tuple(one for one in others if one.priority < demand.priority)
    asked = msgspec.structs.replace(demand, victims=lower)
    found = choose(asked, fleet, now=waiting.decided_at, terms=terms) if lower else waiting
    return (demand, waiting) if found.preemption is None else (asked, found)


def work_beside(inputs: OfflineInput, key: str) -> list[RunningWork]:
    """What is placed beside a workload, and could give way to it or ends by itself."""

    def demand_of_running(workload: Workload) -> Demand | NotAccepted:
        return _demand_for(inputs, workload, None)

    return list(running_work(inputs.workloads, demand_of_running, beside=key))


def decide_one(
    inputs: OfflineInput,
    fleet: Fleet,
    workload: Workload,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    evicted: Iterable[str] = (),
) -> OfflineDecision:
    """Decides one workload, and changes nothing.

    Args:
        inputs: all objects.
        fleet: the sites.
        workload: the workload.
        now: the time of the decision.
        terms: limits and prices.
        evicted: sites whose replicas are to be replaced.
    """
    usage = _quota_usage(inputs, workload, fleet, decision_context(now, terms))
    demand = _demand_for(inputs, workload, usage, evicted)
    if isinstance(demand, NotAccepted):
        return OfflineDecision(workload, demand, None)
    return OfflineDecision(workload, demand, choose(demand, fleet, now=now, terms=terms))


def follow(inputs: OfflineInput, fleet: Fleet, decided: OfflineDecision) -> None:
    """Takes a decision over into the fleet and the objects, so that later ones see it."""
    if isinstance(decided.demand, NotAccepted) or decided.decision is None:
        return
    fleet.assume(decided.demand, decided.decision)
    place = inputs.workloads.index(decided.workload)
    inputs.workloads[place] = _with_placement(decided.workload, decided.decision)


def _sort_key(workload: Workload) -> tuple[int, float, str]:
    created = workload.metadata.creation_timestamp
    created_at = float("inf") if created is None else created.timestamp()  # unknown counts as new
    return (-workload.spec.priority, created_at, workload.metadata.key)


def _demand_for(
    inputs: OfflineInput,
    workload: Workload,
    usage: QuotaUsage | None,
    evicted: Iterable[str] = (),
) -> Demand | NotAccepted:
    return demand_of(
        workload,
        scheme=inputs.scheme,
        tenants=inputs.tenants if inputs.has_tenancy else None,
        policies=inputs.policies,
        cluster_policies=inputs.cluster_policies,
        others=inputs.workloads,
        usage=usage,
        evicted=evicted,
    )


def _quota_usage(
    inputs: OfflineInput, workload: Workload, fleet: Fleet, context: DecisionContext
) -> QuotaUsage | None:
    """What other workloads use of the tenant's quota and budget, and what its cohort can lend."""
    tenant = tenant_of(workload, inputs.tenants)
    if tenant is None:
        return None
    tree = tenant_tree(inputs.tenants)
    is_limited = bool(tenant.spec.quota or tenant.spec.parent)
    if not is_limited and tenant.spec.budget == Budget():
        return None
    others = _other_demands_by_tenant(inputs, workload)

    def used_by(one: Tenant) -> dict[str, int]:
        total: Counter[str] = Counter()
        for demand in others.get(one.metadata.name, ()):
            held = demand.placed_replicas
            daemon_pods = daemon_pods_at(demand, fleet, held)
            total.update(
                demand.quota_usage(sum(held.values()), len(held), daemon_pods) if held else {}
            )
        return dict(total)

    spends = [
        spend_of(demand, fleet, context, demand.placed_replicas)
        for demand in (
            others.get(tenant.metadata.name, ()) if tenant.spec.budget != Budget() else ()
        )
    ]
    return QuotaUsage(
        book=LendingBook(tree, used_by),
        spent=Spend(
            cny_per_hour=fsum(each.cny_per_hour for each in spends),
            gco2_per_hour=fsum(each.gco2_per_hour for each in spends),
        ),
    )


def _other_demands_by_tenant(inputs: OfflineInput, workload: Workload) -> dict[str, list[Demand]]:
    found: dict[str, list[Demand]] = {}
    for other in inputs.workloads:
        tenant = tenant_of(other, inputs.tenants)
        if other is workload or tenant is None or not other.status.placement.groups:
            continue
        demand = _demand_for(inputs, other, None)
        if isinstance(demand, Demand):
            found.setdefault(tenant.metadata.name, []).append(demand)
    return found


def _with_placement(workload: Workload, decision: Decision) -> Workload:
    running = {
        (site, one.replicas): one
        for one in workload.status.placement.groups
        if one.phase == "Running"
        for site in one.sites
    }
    groups = []
    for each in decision.assignment:
        group = PlacementGroup(sites=(each.site,), replicas=each.replicas)
        before = running.get((each.site, each.replicas))
        if before is not None:  # since when it runs is still known
            group = msgspec.structs.replace(group, phase=before.phase, since=before.since)
        groups.append(group)
    status = msgspec.structs.replace(
        workload.status,
        placement=PlacementStatus(groups=tuple(groups)),
        last_group=decision.group,
        plan=decision.plan,
    )
    return msgspec.structs.replace(workload, status=status)
