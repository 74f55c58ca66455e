"""`kapok hub adopt --epoch`: repairs the counter of leaders, which orders all indexes for sites."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from scheduler.control.epoch_reset import EpochResetter, LeaseKeeper
from scheduler.control.generation_floor import lift_generations
from scheduler.control.leader_election import Leadership
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import LedgerEntry
from scheduler.ledger_settings import read_ledger_url
from scheduler.mqtt.keyring import replace_key, write_public_key
from scheduler.recovery.adopt import keep_unknown_orders, name_key
from scheduler.recovery.losses import ADOPTION_KIND, ADOPTION_SUBJECT
from scheduler.recovery.signing_key import (
    is_key_shared,
    load_signing_key,
    replace_key_in_secret,
)
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.data_dir import HUB_KEY_FILE, HUB_PUBLIC_KEY_FILE, DataDirectory
from scheduler.runtime.faults import Faults
from scheduler.services import open_hub_client
from scheduler.settings import HubSettings, Settings

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
        LedgerError: a shared ledger does not answer; run it again.
    """
    clock, root = SystemClock(), directory.path
    async with open_hub_client(settings, directory, on_hub_fault=_ignore_fault) as (_, client):
        leadership = Leadership(
            hub=client,
            clock=clock,
            faults=Faults(clock=clock, count=_ignore_fault),
            identity=f"kapok-hub-adopt-{os.getpid()}",
            is_sole_candidate=not settings.hub.kubeconfig,
        )
        resetter = EpochResetter(
            hub=client,
            leadership=leadership,
            replace_key=lambda: _replace_key(settings.hub, directory),
            clock=clock,
        )
        done = await resetter.run(None if wanted == LOWEST else wanted)
        if done.has_new_key and settings.hub.signing_key_secret:
            await replace_key_in_secret(client, settings.hub.signing_key_secret)
        has_key = is_key_shared(settings.hub) or (root / HUB_KEY_FILE).exists()
        key = await load_signing_key(settings.hub, root, client) if has_key else None
        if done.has_new_key and key is not None:
            await name_key(client, str(key.public))
        await _record_epoch(done.epoch, settings, root, clock.now())
    return {
        "epoch": done.epoch,
        "epochBefore": done.epoch_before,
        "statuses": done.statuses,
        "refusedStatuses": done.refused,
        "generationsLifted": done.generations,
        "newKey": done.has_new_key,
        "hubKey": str(key.public) if key else None,
        "next": _next_step(settings.hub, has_new_key=done.has_new_key),
    }


async def adopt_generations(
    settings: Settings, directory: DataDirectory, *, is_dry_run: bool
) -> Mapping[str, object]:
    """Lifts the generations of orders above those that sites may have.

    What sites report and the restored hub does not know is left running, as after `kapok hub
    restore`, until an operator has it withdrawn.

    Args:
        settings: which hub it is.
        directory: its data directory, locked.
        is_dry_run: count the workloads, and change nothing.

    Raises:
        HubError: the hub cannot be read or written.
        LeaseHeld: a scheduler runs.
    """
    clock = SystemClock()
    async with open_hub_client(settings, directory, on_hub_fault=_ignore_fault) as (_, client):
        leadership = Leadership(
            hub=client,
            clock=clock,
            faults=Faults(clock=clock, count=_ignore_fault),
            identity=f"kapok-hub-adopt-{os.getpid()}",
            is_sole_candidate=not settings.hub.kubeconfig,
        )
        if is_dry_run:
            lift = await lift_generations(client, epoch=0, is_dry_run=True)
        else:
            leadership.epoch = await leadership.take_for_repair()
            try:
                keeper = LeaseKeeper(leadership=leadership, clock=clock)
                lift = await lift_generations(
                    client, epoch=leadership.epoch, before_each=keeper.renew_when_due
                )
            finally:
                await leadership.release()
            await keep_unknown_orders(client, is_kept=True)
    return {"generationsLifted": lift.workloads, "refusedStatuses": lift.refused}


def _replace_key(settings: HubSettings, directory: DataDirectory) -> None:
    if not is_key_shared(settings):
        key = replace_key(directory.path / HUB_KEY_FILE)
        write_public_key(directory.path / HUB_PUBLIC_KEY_FILE, key)


async def _record_epoch(epoch: int, settings: Settings, root: Path, at: datetime) -> None:
    """Has a shared ledger accept the new epoch, which may be below that of its newest record."""
    url = read_ledger_url(settings.ledger)
    if url is None:
        return
    content = {"line": f"the operator sets the epoch to {epoch}", "epoch": epoch}
    entry = LedgerEntry(
        kind=ADOPTION_KIND, subject=ADOPTION_SUBJECT, epoch=epoch, at=at, content=content
    )
    async with Ledger(root, url=url) as ledger:
        await ledger.append(entry)


def _next_step(settings: HubSettings, *, has_new_key: bool) -> str:
    if has_new_key and settings.signing_key_file:
        return (
            f"put a new key into {settings.signing_key_file}, write its public half into hub_keys"
            " of every agent in place of the old key, and start kapok"
        )
    if has_new_key:
        return "write hubKey into hub_keys of every agent in place of the old key, and start kapok"
    return "start kapok"


def _ignore_fault(_where: str) -> None:
    """Faults of the embedded hub are in its log; there are no metrics here."""
