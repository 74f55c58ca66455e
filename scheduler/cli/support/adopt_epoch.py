"""`kapok hub adopt --epoch`: repairs the counter of leaders, which orders all indexes for sites."""

import os
from collections.abc import Mapping

from scheduler.control.epoch_reset import EpochResetter
from scheduler.control.leader_election import Leadership
from scheduler.mqtt.keyring import load_or_make_key, replace_key, write_public_key
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.data_dir import HUB_KEY_FILE, HUB_PUBLIC_KEY_FILE, DataDirectory
from scheduler.runtime.faults import Faults
from scheduler.services import open_hub_client
from scheduler.settings import Settings

LOWEST = -1
"""Stands for no number: the lowest epoch that the hub accepts."""


async def adopt_epoch(
    wanted: int, settings: Settings, directory: DataDirectory
) -> Mapping[str, object]:
    """Sets the epoch of the hub, and makes a new key if agents need one to follow.

    Args:
        wanted: the epoch; `LOWEST` for the lowest that the hub accepts.
        settings: which hub it is.
        directory: its data directory, locked.

    Raises:
        EpochNotSettable: agents or the hub would refuse it.
        HubError: the hub cannot be read or written.
        LeaseHeld: a scheduler runs.
    """
    clock = SystemClock()
    key_path = directory.path / HUB_KEY_FILE
    async with open_hub_client(settings, directory, on_hub_fault=_ignore_fault) as (_, client):
        resetter = EpochResetter(
            hub=client,
            leadership=Leadership(
                hub=client,
                clock=clock,
                faults=Faults(clock=clock, count=_ignore_fault),
                identity=f"kapok-hub-adopt-{os.getpid()}",
                is_sole_candidate=not settings.hub.kubeconfig,
            ),
            replace_key=lambda: _replace_key(directory),
            clock=clock,
        )
        done = await resetter.run(None if wanted == LOWEST else wanted)
    return {
        "epoch": done.epoch,
        "epochBefore": done.epoch_before,
        "statuses": done.statuses,
        "refusedStatuses": done.refused,
        "newKey": done.has_new_key,
        "hubKey": str(load_or_make_key(key_path).public) if key_path.exists() else None,
        "next": _next_step(has_new_key=done.has_new_key),
    }


def _replace_key(directory: DataDirectory) -> None:
    key = replace_key(directory.path / HUB_KEY_FILE)
    write_public_key(directory.path / HUB_PUBLIC_KEY_FILE, key)


def _next_step(*, has_new_key: bool) -> str:
    if has_new_key:
        return "write hubKey into hub_keys of every agent in place of the old key, and start kapok"
    return "start kapok"


def _ignore_fault(_where: str) -> None:
    """Faults of the embedded hub are in its log; there are no metrics here."""
