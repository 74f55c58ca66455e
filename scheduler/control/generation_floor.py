"""Lifts the number from which the generations of orders count on, for a hub that was restored.

Sites may have orders of a generation that the restored hub has not reached yet. When it reaches it
with another content, what a site says of that generation would be about the content that the hub
has lost: a job that ended then would count as the end of the new one. Above what any site has, no
generation is used twice. The orders that stand keep theirs, so nothing is sent again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from scheduler.control.ports.hub import WORKLOADS, Conflict, Hub, HubError, NotFound, Object

GENERATIONS_LIFTED_BY = 2**20
"""A workload gets fewer orders than this in the time by which a backup is old: one a minute for two
years. Agents and the hub count to 2**53."""

_MAX_GENERATION = 2**52
_MAX_ATTEMPTS = 5


@dataclass(slots=True)
class GenerationLift:
    """What was raised.

    Attributes:
        workloads: number of workloads.
        refused: workloads that the hub did not change, with its words.
    """

    workloads: int = 0
    refused: dict[str, str] = field(default_factory=dict)


async def lift_generations(
    hub: Hub,
    *,
    epoch: int,
    is_dry_run: bool = False,
    before_each: Callable[[], Awaitable[None]] | None = None,
) -> GenerationLift:
    """Lifts the generation of every workload that was placed; no scheduler may run meanwhile.

    An interrupted run is repeated whole: raised twice is as good.

    Args:
        hub: holds the workloads.
        epoch: of the Lease: a hub with the fence takes no status below it.
        is_dry_run: count the workloads, and change nothing.
        before_each: is awaited before each write, to keep the Lease.

    Raises:
        HubError: the workloads cannot be listed.
    """
    lift = GenerationLift()
    async for page in hub.list_pages(WORKLOADS):
        for workload in page.items:
            if not _generation_of(workload):
                continue
            if before_each is not None:
                await before_each()
            if is_dry_run or await _lift(hub, workload, epoch, lift.refused):
                lift.workloads += 1
    return lift


async def _lift(hub: Hub, workload: Object, epoch: int, refused: dict[str, str]) -> bool:
    meta = workload["metadata"]
    name, namespace = meta["name"], meta.get("namespace")
    for attempt in range(_MAX_ATTEMPTS):
        try:
            if attempt:
                workload = await hub.get(WORKLOADS, name, namespace)
            raised = _generation_of(workload) + GENERATIONS_LIFTED_BY
            if raised > _MAX_GENERATION:
                refused[f"{namespace}/{name}"] = f"its generation is at the end, {_MAX_GENERATION}"
                return False
            patch = {
                "metadata": {"resourceVersion": workload["metadata"]["resourceVersion"]},
                "status": {
                    "epoch": max(epoch, _epoch_of(workload)),
                    "placement": {"generation": raised},
                },
            }
            await hub.merge_patch(WORKLOADS, name, patch, namespace=namespace, subresource="status")
        except Conflict:
            continue
        except NotFound:
            return False
        except HubError as error:
            refused[f"{namespace}/{name}"] = str(error)
            return False
        return True
    refused[f"{namespace}/{name}"] = "other clients write it all the time"
    return False


def _generation_of(workload: Object) -> int:
    placement = (workload.get("status") or {}).get("placement") or {}
    generation = placement.get("generation")
    return generation if isinstance(generation, int) else 0


def _epoch_of(workload: Object) -> int:
    epoch = (workload.get("status") or {}).get("epoch")
    return epoch if isinstance(epoch, int) else 0
