"""What runs beside a workload now, by the hub and with the caller's rights; for explanations only.

Who may not list all workloads, or has no hub, is shown no work that could give way: nothing of an
explanation depends on it.
"""

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from scheduler.cli.moving.at_site import with_slices
from scheduler.cli.support.hub_access import HubNotFound, find_kubeconfig
from scheduler.cli.support.offline_input import input_of_objects, work_beside
from scheduler.control.ports.hub import KAPOK_RESOURCES, HubError, Object
from scheduler.hub.client import open_hub
from scheduler.model.demand.preemption import RunningWork

_SECONDS = 10.0
"""An explanation waits no longer for it."""


def work_in_hub(arguments: argparse.Namespace, key: str) -> list[RunningWork]:
    """All work beside a workload; none if the hub cannot be read.

    Args:
        arguments: with `kubeconfig` and `data_dir`.
        key: the workload, as `namespace/name`.
    """
    with suppress(HubError, HubNotFound, TimeoutError, OSError):
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
        objects = asyncio.run(asyncio.wait_for(_all_objects(kubeconfig), _SECONDS))
        return work_beside(input_of_objects(objects), key)
    return []


async def _all_objects(kubeconfig: Path) -> list[Object]:
    async with open_hub(kubeconfig) as client:
        objects = [one for kind in KAPOK_RESOURCES for one in (await client.list(kind)).items]
        return await with_slices(client, objects)
