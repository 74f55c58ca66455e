"""Rights at the hub that are finer than the verbs of RBAC on a kind. Pure.

Who may write a workload may not for that reason lower the class of its data or raise its priority,
and who may write a grant needs a verb of its own. The embedded hub checks it by this module, a real
one by `manifests/admission/finer-rights.yaml`; a test compares both.
"""

from functools import partial
from typing import Final

from scheduler.apiserver.write.access_checks import AccessCheck, NeededRight
from scheduler.control.ports.hub import GRANTS, SCHEMES, WORKLOADS, Object
from scheduler.model.kinds.fields import DATA_CLASSES

CLASS_POLICY: Final = "kapok-data-class"
PRIORITY_POLICY: Final = "kapok-priority"
GRANT_POLICY: Final = "kapok-grant"
UNLABELLED: Final = "unlabelled"
"""The name for `lower` when the class is taken away."""
CLASS_MESSAGE: Final = (
    "spec.dataClass was lowered: this needs the verb lower on dataclasses.kapok.dev in the"
    " namespace, as in ClusterRole kapok-data-officer"
)
PRIORITY_MESSAGE: Final = (
    "spec.priority was raised above 0, or spec.preemption set: this needs the verb use on"
    " priorities.kapok.dev in the namespace, as in ClusterRole kapok-priority-user"
)
GRANT_MESSAGE: Final = (
    "grants and data classes are the authority's: this needs the verb grant on the resource, as in"
    " ClusterRole kapok-authority"
)
_RANKS: Final = {name: rank for rank, name in enumerate(DATA_CLASSES, start=1)}


def class_need(old: Object | None, new: Object | None) -> NeededRight | None:
    """What a write of a Workload needs that lowers its class, or takes it away."""
    if old is None or new is None or _rank_of(new) >= _rank_of(old):
        return None
    becomes = new.get("spec", {}).get("dataClass", UNLABELLED)
    return NeededRight(verb="lower", resource="dataclasses", name=becomes, message=CLASS_MESSAGE)


def priority_need(old: Object | None, new: Object | None) -> NeededRight | None:
    """What a write of a Workload needs that gives it a priority above 0, or a higher one.

    The same holds for the word that others may end for it, whatever its priority is.
    """
    if new is None:
        return None
    is_raised = _priority_of(new) > max(0, _priority_of(old))
    if not is_raised and (not _preempts(new) or _preempts(old)):
        return None
    name = str(_priority_of(new))
    return NeededRight(verb="use", resource="priorities", name=name, message=PRIORITY_MESSAGE)


def grant_need(plural: str, old: Object | None, new: Object | None) -> NeededRight:
    """What each write of a SiteGrant or DataClassScheme needs."""
    name = (new or old or {})["metadata"]["name"]
    return NeededRight(verb="grant", resource=plural, name=name, message=GRANT_MESSAGE)


def _rank_of(workload: Object) -> int:
    """The rank of its class; 0 without one."""
    return _RANKS.get(workload.get("spec", {}).get("dataClass"), 0)


def _priority_of(workload: Object | None) -> int:
    return int((workload or {}).get("spec", {}).get("priority", 0))


def _preempts(workload: Object | None) -> bool:
    return bool((workload or {}).get("spec", {}).get("preemption", "Never") != "Never")


ACCESS_CHECKS: Final = {
    (WORKLOADS.group, WORKLOADS.kind): (
        AccessCheck(policy=CLASS_POLICY, find_need=class_need),
        AccessCheck(policy=PRIORITY_POLICY, find_need=priority_need),
    ),
    **{
        (one.group, one.kind): (
            AccessCheck(policy=GRANT_POLICY, find_need=partial(grant_need, one.plural)),
        )
        for one in (GRANTS, SCHEMES)
    },
}
"""What the embedded hub checks, by group and kind."""
