"""Reads workloads as the scheduler sees them, and which of them are at a site.

The placement of a workload on many sites stands in slices beside it; what is read here has them.
"""

from scheduler.control.ports.hub import WORKLOADS, Object
from scheduler.control.state.placement_slices import PlacementSlices
from scheduler.control.status.migration import shares_in
from scheduler.hub.client import HubClient
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


async def read_whole_workload(client: HubClient, name: str, namespace: str) -> Object:
    """One workload.

    Raises:
        HubError: the hub refused, or could not do it.
        NotFound: there is no such workload.
    """
    return await PlacementSlices(client).filled(await client.get(WORKLOADS, name, namespace))


async def list_whole_workloads(client: HubClient) -> list[Object]:
    """All workloads.

    Raises:
        HubError: the hub refused, or could not do it.
    """
    return await with_slices(client, (await client.list(WORKLOADS)).items)


async def with_slices(client: HubClient, objects: list[Object]) -> list[Object]:
    """Objects of any kind; of workloads with the slices of their placements.

    Raises:
        HubError: the hub refused, or could not do it.
    """
    slices = PlacementSlices(client)
    return [await slices.filled(one) for one in objects]
