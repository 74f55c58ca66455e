"""What would satisfy the rules about rights at one site: changes to grants, tenants, and the law.

Whether such a change should be made is the authority's business.
"""

from datetime import UTC, datetime, timedelta
from typing import cast

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.facts import Grant
from scheduler.model.kinds.fields import (
    MIN_LEVEL_WITH_DEDICATED_POOL,
    NEVER_SCHEDULED_CLASS,
    NetworkZone,
)
from scheduler.model.kinds.rights import SiteGrantSpec, data_class_rule_of
from scheduler.placement.explain.fix_nodes import choose_vendor
from scheduler.placement.explain.trial import RefusedSite, TrialStep, change_workload
from scheduler.placement.filter.rules import is_grant_valid, valid_grants

_GRANT_EXTENSION = timedelta(days=365)


def _grant_to_change(refused: RefusedSite) -> Grant | None:
    """The grant that is changed: the first that holds now, else the first."""
    return next(
        iter((*valid_grants(refused.facts, refused.state.context), *refused.facts.grants)), None
    )


def _change_grant(
    refused: RefusedSite, field: str, was: str, becomes: str, **changes: object
) -> TrialStep | None:
    grant = _grant_to_change(refused)
    if grant is None:
        return None
    changed_grant = replace(grant, spec=replace(grant.spec, **changes))
    grants = tuple(changed_grant if each is grant else each for each in refused.facts.grants)
    change = SuggestedChange(
        kind=f"grant.{field}", target=f"SiteGrant {grant.name}", from_=was, to=becomes
    )
    return TrialStep(
        change,
        facts=replace(refused.facts, grants=grants),
        grant_name=grant.name,
        changed_grant=changes,
    )


def fix_missing_grant(refused: RefusedSite) -> TrialStep | None:
    """A grant for a site that has none, with what the workload needs and no more."""
    demand, facts = refused.demand, refused.facts
    spec = SiteGrantSpec(
        sites=(facts.name,),
        data_class=demand.data_class or "general-1",
        protection_level=demand.protection_level,
        network_zones=cast("tuple[NetworkZone, ...]", demand.network_zones),
        jurisdiction=facts.spec.location.province,
        dedicated_pool=demand.protection_level >= MIN_LEVEL_WITH_DEDICATED_POOL,
        allow_list=(demand.key,) if demand.allow_list_only else (),
    )
    shown = [spec.data_class, f"level {spec.protection_level}", *spec.network_zones]
    change = SuggestedChange(
        kind="grant.sites",
        target=f"a SiteGrant for {facts.name}",
        to=", ".join([*shown, spec.jurisdiction]).rstrip(", "),
    )
    return TrialStep(change, facts=replace(facts, grants=(Grant(name="(new)", spec=spec),)))


def fix_grant_dates(refused: RefusedSite) -> TrialStep | None:
    """A grant that holds now."""
    grant = _grant_to_change(refused)
    if grant is None or is_grant_valid(grant, refused.state.context):
        return None
    now = refused.state.context.now
    begins, ends = grant.spec.valid_from, grant.spec.valid_until
    if begins is not None and begins > now:
        return _change_grant(
            refused, "validFrom", _format_rfc3339(begins), _format_rfc3339(now), valid_from=now
        )
    later = now + _GRANT_EXTENSION
    return _change_grant(
        refused, "validUntil", _format_rfc3339(ends), _format_rfc3339(later), valid_until=later
    )


def _format_rfc3339(instant: datetime | None) -> str:
    return "" if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def fix_data_class(refused: RefusedSite) -> TrialStep | None:
    """A grant of the class, or a tenant that may bring it."""
    wanted, grant = refused.demand.data_class, _grant_to_change(refused)
    if wanted is None or grant is None:
        return None
    if refused.demand.class_not_allowed:
        change = SuggestedChange(
            kind="tenant.classes", target=f"Tenant {refused.demand.tenant}", to=wanted
        )
        return TrialStep(change, demand=replace(refused.demand, class_not_allowed=False))
    return _change_grant(refused, "dataClass", grant.spec.data_class, wanted, data_class=wanted)


def fix_data_class_missing(refused: RefusedSite) -> TrialStep | None:
    """A workload that says what data it touches; public data is what needs least."""
    return change_workload(
        refused, "dataClass", "", "general-1", replace(refused.demand, data_class="general-1")
    )


def fix_protection_level(refused: RefusedSite) -> TrialStep | None:
    """A certificate of the level."""
    wanted, grant = refused.demand.protection_level, _grant_to_change(refused)
    was = "" if grant is None else str(grant.spec.protection_level)
    return _change_grant(refused, "protectionLevel", was, str(wanted), protection_level=wanted)


def fix_network_zones(refused: RefusedSite) -> TrialStep | None:
    """The zones that are missing."""
    grant = _grant_to_change(refused)
    had = () if grant is None else grant.spec.network_zones
    wanted = tuple(sorted({*had, *refused.demand.network_zones}))
    return _change_grant(
        refused, "networkZones", ", ".join(had), ", ".join(wanted), network_zones=wanted
    )


def fix_dedicated_pool(refused: RefusedSite) -> TrialStep | None:
    """A dedicated pool."""
    return _change_grant(refused, "dedicatedPool", "false", "true", dedicated_pool=True)


def fix_allow_list(refused: RefusedSite) -> TrialStep | None:
    """A list that names the workload."""
    grant, key = _grant_to_change(refused), refused.demand.key
    had = () if grant is None else grant.spec.allow_list
    return _change_grant(refused, "allowList", ", ".join(had), key, allow_list=(*had, key))


def fix_jurisdiction(refused: RefusedSite) -> TrialStep | None:
    """Lists that admit the place; or, for data that stays in its province, that province."""
    grant, demand = _grant_to_change(refused), refused.demand
    place = "" if grant is None else grant.spec.jurisdiction
    if not place:
        return None
    if demand.same_province and not demand.home:
        return change_workload(refused, "jurisdictions", "", place, replace(demand, home=place))
    law = data_class_rule_of(None, demand.data_class or NEVER_SCHEDULED_CLASS).jurisdictions
    lists = [each if each == law else (*each, place) for each in demand.jurisdictions]
    if lists == list(demand.jurisdictions):
        return None
    was = ", ".join(next(each for each in demand.jurisdictions if each != law))
    return change_workload(
        refused,
        "jurisdictions",
        was,
        f"{was}, {place}",
        replace(demand, jurisdictions=tuple(lists)),
    )


def fix_cpu_vendor(refused: RefusedSite) -> TrialStep | None:
    """Lists that permit a vendor which the site has: the workload's, then the grant's."""
    demand, grant = refused.demand, _grant_to_change(refused)
    if grant is None:
        return None
    vendor = choose_vendor(refused, (*demand.cpu_vendors, grant.spec.cpu_vendors))
    if not vendor:
        return None
    closed = [each for each in demand.cpu_vendors if vendor not in each]
    if closed:
        wider = tuple(each if vendor in each else (*each, vendor) for each in demand.cpu_vendors)
        was = ", ".join(closed[0])
        return change_workload(
            refused, "cpuVendors", was, f"{was}, {vendor}", replace(demand, cpu_vendors=wider)
        )
    had = grant.spec.cpu_vendors
    more = (*had, vendor)
    return _change_grant(refused, "cpuVendors", ", ".join(had), ", ".join(more), cpu_vendors=more)
