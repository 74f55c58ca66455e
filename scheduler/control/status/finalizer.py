"""The finalizer of Workloads: the object stays until its orders are withdrawn. Pure.

The hub sets it: the embedded one by `keep_finalizer`, a real one by
`manifests/admission/withdraw-finalizer.yaml`; a test compares both.
"""

from scheduler.control.ports.hub import Object

FINALIZER = "kapok.dev/withdraw"


def has_finalizer(workload: Object) -> bool:
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
