"""How `placement.identity` applies: what stays at one site, and what is made again at each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.policy import Identity, Placement, Spread
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.autoscalers import autoscaler_of
from scheduler.model.manifests.identities import (
    has_ordinals_start,
    numbered_set_in,
)

AT_ONE_SITE = Spread(by="site", max_groups=1)
"""The level that keeps all replicas at one site; replicas that run at several already stay."""


_SHARED_ORDER: tuple[Identity, ...] = ("PerSite", "Ranges")


class AppliedIdentity(NamedTuple):
    """What applies to a workload; `identity` is None where pods are only counted."""

    identity: Identity | None
    numbered_set: str


def apply_identity(
    manifests: Sequence[Mapping[str, Any]], placement: Placement, shared: Sequence[Placement] = ()
) -> AppliedIdentity:
    """The identity of a workload's pods: as it says, else Whole where pods have numbers.

    Duplicated asks for a whole copy at every site, so nothing is divided there.

    Args:
        manifests: the manifests.
        placement: of the workload and its policy.
        shared: of cluster policies; Whole among them counts before all else, the others only if
            the workload and its policy say nothing.
    """
    numbered = numbered_set_in(manifests)
    asked = [each.identity for each in shared]
    wanted = "Whole" if "Whole" in asked else placement.identity
    if wanted is None:
        wanted = next((one for one in _SHARED_ORDER if one in asked), None)
    if wanted is None and numbered and placement.strategy != "Duplicated":
        wanted = "Whole"
    if wanted in _SHARED_ORDER and not numbered:
        wanted = None
    return AppliedIdentity(wanted, numbered)


def is_kept_at_one_site(demand: Demand, rule: Spread) -> bool:
    """Whether a level is there because of the identity of pods, and not on request."""
    return demand.identity == "Whole" and rule == AT_ONE_SITE


def check_identity(demand: Demand, workload: Workload) -> Iterator[NotAccepted]:
    """Finds rules that ask for several sites, where all replicas stay at one.

    Args:
        demand: the demand.
        workload: the object.
    """
    if demand.identity == "Ranges":
        yield from _check_ranges(demand, workload)
    if demand.identity != "Whole" or demand.replicas <= 1:
        return
    placement = workload.spec.placement
    rule = next((one for one in demand.spread if one.required and one.min_groups > 1), None)
    least = demand.replicas
    capped = next(
        (
            one
            for one in demand.spread
            if one.required and one.max_per_group is not None and one.max_per_group < least
        ),
        None,
    )
    problem = ""
    if demand.strategy == "Duplicated":
        problem = "strategy Duplicated places it at every site"
    elif demand.preset == "two-places-three-centres":
        problem = f"preset {demand.preset} divides it"
    elif rule is not None:
        problem = f"spread by {rule.by} asks for {rule.min_groups} groups"
    elif capped is not None:
        problem = f"spread by {capped.by} allows {capped.max_per_group} of {least} in a group"
    if problem:
        what = demand.numbered_set or demand.key
        is_asked = placement is not None and placement.identity == "Whole"
        why = "spec.placement.identity is Whole" if is_asked else "each of its pods has a number"
        yield NotAccepted(
            reason="spread",
            condition="IdentityNotDivisible",
            message=f"spec.placement: {what} stays at one site, because {why}, and {problem}; "
            "write identity: PerSite for a set of its own at each site, or leave the rule out",
        )


def _check_ranges(demand: Demand, workload: Workload) -> Iterator[NotAccepted]:
    """Finds what cannot have a range of ordinals at each site."""
    what, problem, instead = demand.numbered_set, "", "write identity: PerSite or Whole"
    autoscaler = autoscaler_of(workload.spec.manifests)
    if not has_ordinals_start(workload.spec.manifests):
        problem = "its kind has no spec.ordinals.start, so its numbers begin with 0 at every site"
    elif demand.strategy == "Duplicated":
        problem = "strategy Duplicated places all of it at every site"
    elif demand.preset:
        problem = f"preset {demand.preset} divides it into copies"
    elif demand.mode == "Fresh":
        problem, instead = "mode Fresh would change the ranges of what runs", "write mode: Steady"
    elif autoscaler:
        problem = f"{autoscaler.title} changes its number at a site, into the range of another"
        instead = f"leave {autoscaler.title} out and scale the Workload, or write identity: PerSite"
    elif demand.replicas and not _are_ranges_known(demand):
        sites = format_list(sorted(demand.placed_replicas), _MAX_NAMED_SITES)
        problem = f"it runs at {sites}, and which ordinals run where is not recorded"
        instead = "scale the Workload to 0 replicas first"
    if problem:
        yield NotAccepted(
            reason="spread",
            condition="IdentityNotDivisible",
            message=f"spec.placement.identity: {what} cannot have Ranges: {problem}; {instead}",
        )


_MAX_NAMED_SITES = 8


def _are_ranges_known(demand: Demand) -> bool:
    """Whether each site's range is recorded; of a set at one site it is all of them."""
    sites = demand.placed_replicas.keys()
    return len(sites) <= 1 or sites <= demand.first_ordinals.keys()
