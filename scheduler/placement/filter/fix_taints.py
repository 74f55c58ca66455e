"""Fixes that tolerate a taint, and no other one."""

from msgspec.structs import replace

from scheduler.model.demand.demand import any_tolerates
from scheduler.model.kinds.fields import Taint, Toleration
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.retention import is_evicted_by_taint


def toleration_of(taint: Taint) -> Toleration:
    """A toleration of this taint only, without a limit in time."""
    return Toleration(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)


def tolerate_site_taints(refused: RefusedSite) -> Fix:
    """Tolerations of the site's taints that keep the workload away, and of nothing else."""
    taints = [each for each in refused.facts.spec.taints if _is_blocking(refused, each)]
    shown = ", ".join(f"{each.key}={each.value}:{each.effect}" for each in taints)
    kept = tuple(  # a toleration with a limit in seconds would still bind
        each
        for each in refused.demand.site_tolerations
        if not any(each.tolerates(one) for one in taints)
    )
    added = tuple(toleration_of(each) for each in taints)
    return change_workload(
        "siteTolerations",
        "",
        shown,
        replace(refused.demand, site_tolerations=(*kept, *added)),
    )


def _is_blocking(refused: RefusedSite, taint: Taint) -> bool:
    if taint.effect == "PreferNoSchedule":
        return False
    alone = replace(refused.facts, spec=replace(refused.facts.spec, taints=(taint,)))
    return not any_tolerates(refused.demand.site_tolerations, taint) or (
        taint.effect == "NoExecute" and is_evicted_by_taint(alone, refused.demand, refused.context)
    )
