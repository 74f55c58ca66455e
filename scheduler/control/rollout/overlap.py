"""Refuses a rollout of which two groups select the same site; only the sites show that.

It is looked at with every decision, so a label that is written later is found as well. What runs
then stays as it is, and the refusal names both groups and the site.
"""

from scheduler.control.state.objects import HubObjects
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.site import Site, labels_of_site
from scheduler.model.kinds.workload import Workload
from scheduler.placement.rollout.groups import find_overlap


def overlap_refusal(workload: Workload, objects: HubObjects) -> NotAccepted | None:
    """Why the groups of a rollout are refused; None: each site is in one of them.

    Args:
        workload: the object.
        objects: the hub's objects, which have the labels of all sites.
    """
    rollout = workload.spec.rollout
    if rollout is None or sum(one.site_selector is not None for one in rollout.groups) < 2:  # noqa: PLR2004 - two overlap
        return None
    labels = {name: _labels_of(site) for name, site in objects.sites.items()}
    found = find_overlap(rollout.groups, labels)
    if not found:
        return None
    return NotAccepted(
        reason="invalid",
        condition="InvalidRollout",
        message=f"spec.rollout: {found}; each site is in one group",
    )


def _labels_of(site: Site) -> dict[str, str]:
    return labels_of_site(site.metadata.name, site.metadata.labels, site.spec)
