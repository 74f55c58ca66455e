"""What would satisfy the rules about rights at one site: changes to grants, tenants, and the law.

Whether such a change should be made is the authority's business.
"""

from datetime import UTC, datetime, timedelta
from typing import cast

from msgspec.structs import replace

from scheduler.model.decision import Change
from scheduler.model.demand.facts import Grant
from scheduler.model.kinds.fields import NetworkZone
from scheduler.model.kinds.rights import SiteGrantSpec, rule_for
from scheduler.placement.explain.fix_nodes import vendor_there
from scheduler.placement.explain.trial import Ill, Step, of_workload
from scheduler.placement.filter.rules import is_valid, valid_grants

_A_YEAR = timedelta(days=365)
_POOL_FROM_LEVEL = 4


def _the_grant(ill: Ill) -> Grant | None:
    """The grant that is changed: the first that holds now, else the first."""
    return next(iter((*valid_grants(ill.facts, ill.case.moment), *ill.facts.grants)), None)


def _granted(ill: Ill, what: str, was: str, becomes: str, **changed: object) -> Step | None:
    grant = _the_grant(ill)
    if grant is None:
        return None
    better = replace(grant, spec=replace(grant.spec, **changed))
    grants = tuple(better if each is grant else each for each in ill.facts.grants)
    change = Change(kind=f"grant.{what}", target=f"SiteGrant {grant.name}", from_=was, to=becomes)
    return Step(change, facts=replace(ill.facts, grants=grants), grant=grant.name, granted=changed)


def first_grant(ill: Ill) -> Step | None:
    """A grant for a site that has none, with what the workload needs and no more."""
    demand, facts = ill.demand, ill.facts
    spec = SiteGrantSpec(
        sites=(facts.name,),
        data_class=demand.data_class or "general-1",
        protection_level=demand.protection_level,
        network_zones=cast("tuple[NetworkZone, ...]", demand.network_zones),
        jurisdiction=facts.spec.location.province,
        dedicated_pool=demand.protection_level >= _POOL_FROM_LEVEL,
        allow_list=(demand.key,) if demand.allow_list_only else (),
    )
    told = [spec.data_class, f"level {spec.protection_level}", *spec.network_zones]
    change = Change(
        kind="grant.sites",
        target=f"a SiteGrant for {facts.name}",
        to=", ".join([*told, spec.jurisdiction]).rstrip(", "),
    )
    return Step(change, facts=replace(facts, grants=(Grant(name="(new)", spec=spec),)))


def valid_dates(ill: Ill) -> Step | None:
    """A grant that holds now."""
    grant = _the_grant(ill)
    if grant is None or is_valid(grant, ill.case.moment):
        return None
    now = ill.case.moment.now
    begins, ends = grant.spec.valid_from, grant.spec.valid_until
    if begins is not None and begins > now:
        return _granted(ill, "validFrom", _told(begins), _told(now), valid_from=now)
    later = now + _A_YEAR
    return _granted(ill, "validUntil", _told(ends), _told(later), valid_until=later)


def _told(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def data_class(ill: Ill) -> Step | None:
    """A grant of the class, or a tenant that may bring it."""
    wanted, grant = ill.demand.data_class, _the_grant(ill)
    if wanted is None or grant is None:
        return None
    if ill.demand.class_not_allowed:
        change = Change(kind="tenant.classes", target=f"Tenant {ill.demand.tenant}", to=wanted)
        return Step(change, demand=replace(ill.demand, class_not_allowed=False))
    return _granted(ill, "dataClass", grant.spec.data_class, wanted, data_class=wanted)


def data_class_missing(ill: Ill) -> Step | None:
    """A workload that says what data it touches; public data is what needs least."""
    return of_workload(
        ill, "dataClass", "", "general-1", replace(ill.demand, data_class="general-1")
    )


def level(ill: Ill) -> Step | None:
    """A certificate of the level."""
    wanted, grant = ill.demand.protection_level, _the_grant(ill)
    was = "" if grant is None else str(grant.spec.protection_level)
    return _granted(ill, "protectionLevel", was, str(wanted), protection_level=wanted)


def zones(ill: Ill) -> Step | None:
    """The zones that are missing."""
    grant = _the_grant(ill)
    had = () if grant is None else grant.spec.network_zones
    wanted = tuple(sorted({*had, *ill.demand.network_zones}))
    return _granted(ill, "networkZones", ", ".join(had), ", ".join(wanted), network_zones=wanted)


def pool(ill: Ill) -> Step | None:
    """A dedicated pool."""
    return _granted(ill, "dedicatedPool", "false", "true", dedicated_pool=True)


def allow_list(ill: Ill) -> Step | None:
    """A list that names the workload."""
    grant, key = _the_grant(ill), ill.demand.key
    had = () if grant is None else grant.spec.allow_list
    return _granted(ill, "allowList", ", ".join(had), key, allow_list=(*had, key))


def jurisdiction(ill: Ill) -> Step | None:
    """Lists that admit the place; or, for data that stays in its province, that province."""
    grant, demand = _the_grant(ill), ill.demand
    place = "" if grant is None else grant.spec.jurisdiction
    if not place:
        return None
    if demand.same_province and not demand.home:
        return of_workload(ill, "jurisdictions", "", place, replace(demand, home=place))
    law = rule_for(None, demand.data_class or "core").jurisdictions
    lists = [each if each == law else (*each, place) for each in demand.jurisdictions]
    if lists == list(demand.jurisdictions):
        return None
    was = ", ".join(next(each for each in demand.jurisdictions if each != law))
    return of_workload(
        ill, "jurisdictions", was, f"{was}, {place}", replace(demand, jurisdictions=tuple(lists))
    )


def cpu_vendor(ill: Ill) -> Step | None:
    """Lists that permit a vendor which the site has: the workload's, then the grant's."""
    demand, grant = ill.demand, _the_grant(ill)
    if grant is None:
        return None
    vendor = vendor_there(ill, (*demand.cpu_vendors, grant.spec.cpu_vendors))
    if not vendor:
        return None
    closed = [each for each in demand.cpu_vendors if vendor not in each]
    if closed:
        wider = tuple(each if vendor in each else (*each, vendor) for each in demand.cpu_vendors)
        was = ", ".join(closed[0])
        return of_workload(
            ill, "cpuVendors", was, f"{was}, {vendor}", replace(demand, cpu_vendors=wider)
        )
    had = grant.spec.cpu_vendors
    more = (*had, vendor)
    return _granted(ill, "cpuVendors", ", ".join(had), ", ".join(more), cpu_vendors=more)
