"""Fixes that change a grant. Whether such a change should be made is the authority's business."""

from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.facts import Grant
from scheduler.placement.filter.fix import Fix, RefusedSite
from scheduler.placement.filter.rules import valid_grants


def grant_to_change(refused: RefusedSite) -> Grant | None:
    """The grant that a fix changes: the first that is valid now, else the first; None: no grant."""
    return next(iter((*valid_grants(refused.facts, refused.context), *refused.facts.grants)), None)


def change_grant(
    refused: RefusedSite, field: str, was: str, becomes: str, **changes: object
) -> Fix | None:
    """A change to `grant_to_change`; None: the site has no grant.

    Args:
        refused: the site.
        field: the field of `SiteGrant.spec`, as it is written in YAML.
        was: its value now, as `kapok explain` shows it.
        becomes: its value after the change.
        changes: the changed fields of `SiteGrantSpec`.
    """
    grant = grant_to_change(refused)
    if grant is None:
        return None
    changed_grant = replace(grant, spec=replace(grant.spec, **changes))
    grants = tuple(changed_grant if each is grant else each for each in refused.facts.grants)
    change = SuggestedChange(
        kind=f"grant.{field}", target=f"SiteGrant {grant.name}", from_=was, to=becomes
    )
    return Fix(
        change=change,
        facts=replace(refused.facts, grants=grants),
        grant_name=grant.name,
        changed_grant=changes,
    )
