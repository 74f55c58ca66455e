"""Which workloads are at a site, by their statuses. Pure."""

from scheduler.control.ports.hub import Object
from scheduler.control.status.migration import shares_in
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.workload import Workload


def read_workload(body: Object) -> Workload | None:
    """A workload of the hub; None: another kind, or one that cannot be read."""
    if body.get("kind", "Workload") != "Workload":
        return None
    try:
        return decode_as(body, Workload, allow_unknown=True)
    except NotReadable:
        return None


def workloads_at(objects: list[Object], name: str) -> dict[str, Workload]:
    """The workloads that stay at a site or are leaving it, by `namespace/name`."""
    found: dict[str, Workload] = {}
    for body in objects:
        workload = read_workload(body)
        if workload is None or workload.status.phase == "Completed":
            continue
        share = shares_in(workload.status.placement.groups).get(name)
        if share is not None and (share.replicas or share.leaving):
            found[workload.metadata.key] = workload
    return found


def staying_replicas(workload: Workload) -> dict[str, int]:
    """The replicas that stay, by site."""
    shares = shares_in(workload.status.placement.groups)
    return {site: one.replicas for site, one in shares.items() if one.replicas}
