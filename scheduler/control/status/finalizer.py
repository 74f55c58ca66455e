"""The finalizer of Workloads: the object stays until its orders are withdrawn. Pure.

The hub sets it: the embedded one by `keep_finalizer`, a real one by
`manifests/admission/withdraw-finalizer.yaml`; a test compares both.
"""

from collections.abc import Mapping
from typing import Any

from scheduler.control.ports.hub import Object
from scheduler.model.kinds.workload import Workload

FINALIZER = "kapok.dev/withdraw"


def has_finalizer(workload: Mapping[str, Any]) -> bool:
    """Whether an object stays until its orders are withdrawn."""
    return FINALIZER in (workload["metadata"].get("finalizers") or ())


def keep_finalizer(workload: Object) -> None:
    """Sets the finalizer of a written object in place, unless that is being deleted."""
    meta = workload["metadata"]
    finalizers = meta.get("finalizers") or []
    # A malformed list is refused after this.
    if meta.get("deletionTimestamp") or not isinstance(finalizers, list):
        return
    if FINALIZER not in finalizers:
        meta["finalizers"] = [*finalizers, FINALIZER]


def finalizer_patch(workload: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that sets the finalizer of exactly this version of an object."""
    meta = workload["metadata"]
    finalizers = sorted({*(meta.get("finalizers") or ()), FINALIZER})
    return {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}}


def removal_patch(workload: Workload) -> dict[str, Any]:
    """The merge patch that lets the hub delete exactly this version of an object."""
    meta = workload.metadata
    finalizers = [one for one in meta.finalizers if one != FINALIZER]
    return {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
