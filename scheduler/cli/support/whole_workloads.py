"""Reads workloads with the slices of their placements, as the scheduler sees them."""

from scheduler.control.ports.hub import WORKLOADS, Object
from scheduler.control.state.placement_slices import PlacementSlices
from scheduler.hub.client import HubClient


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
