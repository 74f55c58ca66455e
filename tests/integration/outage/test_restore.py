"""The hub's store is restored under a leader that runs: nothing that it has forgotten is withdrawn.

The restored hub is a second server with a backup of the first one's objects, at the same address.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scheduler.apiserver.backup import DATABASE_NAME, backup, restore
from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.generation_floor import GENERATIONS_LIFTED_BY
from scheduler.control.hub_history import GENERATIONS_ANNOTATION
from scheduler.control.leader_election import KEEP_ORDERS, LEASE_NAME, ORDERS_ANNOTATION
from scheduler.control.ports.hub import LEASES, NAMESPACE, WORKLOADS
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.hub_process.options import EPOCH_FENCE
from scheduler.ledger.ledger import Ledger
from scheduler.recovery.adopt import keep_unknown_orders
from tests.support.api_client import Client
from tests.support.proxied_hub import KEY, ProxiedHub, Scheduler, proxied_hub, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

UNKNOWN = "kapok_unknown_orders"


@asynccontextmanager
async def restored(hub: ProxiedHub) -> AsyncIterator[HubClient]:
    """The hub with the objects of the backup, behind the same proxy."""
    options = ApiServerOptions(
        data_dir=hub.folder / "restored",
        crds=make_crds(),
        name="restored",
        status_checks={WORKLOADS.kind: EPOCH_FENCE},
    )
    async with serve(options) as running, open_hub(running.kubeconfig_path) as client:
        hub.proxy.turn_to(Client.of(running.kubeconfig_path))
        hub.client = client
        yield client


async def make_ledger(hub: ProxiedHub) -> None:
    """Beside the key that the site trusts; a key alone would mean that the ledger was lost."""
    folder = hub.folder / "one"
    folder.mkdir(mode=0o700)
    (folder / "hub.key").write_bytes(KEY.raw())
    (folder / "hub.key").chmod(0o600)
    async with Ledger(folder):
        pass


def back_up(hub: ProxiedHub, *, is_bumped: bool) -> None:
    """Makes the store of the restored hub.

    Args:
        hub: the hub.
        is_bumped: its revision goes on from far above, as by `etcdutl --bump-revision`.
    """
    folder = hub.folder / "restored"
    folder.mkdir(mode=0o700)
    if is_bumped:
        backup(hub.folder / "hub", hub.folder / "backup.db")
        restore(folder, hub.folder / "backup.db")
    else:
        backup(hub.folder / "hub", folder / DATABASE_NAME)


async def runs(hub: ProxiedHub, name: str) -> bool:
    return any(f"/{name}/" in one for one in hub.site.contents)


async def renewed_at(hub: ProxiedHub) -> str:
    return str((await hub.client.get(LEASES, LEASE_NAME, NAMESPACE))["spec"]["renewTime"])


async def is_renewed(hub: ProxiedHub, since: str) -> bool:
    return await renewed_at(hub) != since


async def names_unknown(scheduler: Scheduler, name: str) -> bool:
    text = await scheduler.page("readyz")
    return text.startswith("ok\n") and f"/{name}/" in text and "--unknown-orders withdraw" in text


async def knows_all(scheduler: Scheduler) -> bool:
    return (await scheduler.page("readyz")) == "ok\n" and await scheduler.metric(UNKNOWN) == 0


@pytest.mark.parametrize("is_bumped", [False, True])
async def test_what_a_restored_hub_has_forgotten_runs_on_until_an_operator_says_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_bumped: bool
) -> None:
    """Also when versions go on from far above, so that every watch is answered by 410."""
    caplog.set_level(logging.INFO)
    async with proxied_hub(tmp_path) as hub:
        await make_ledger(hub)
        scheduler = hub.start()
        await hub.create("kept")
        await until(lambda: hub.is_placed("kept"))
        await until(lambda: runs(hub, "kept"))
        epoch = await hub.lease_epoch()
        back_up(hub, is_bumped=is_bumped)
        await hub.create("forgotten")
        await until(lambda: runs(hub, "forgotten"))
        generation = (await hub.status("kept"))["placement"]["generation"]
        if is_bumped:  # then the Lease alone shows it, which is renewed after the backup
            before = await renewed_at(hub)
            await until(lambda: is_renewed(hub, before))
            hub.proxy.faults.expired_watches = 9
        async with restored(hub) as client:
            await until(lambda: names_unknown(scheduler, "forgotten"))
            assert await scheduler.metric(UNKNOWN) == 1
            assert await runs(hub, "forgotten")
            assert await runs(hub, "kept")
            assert all(
                any("/forgotten/" in order for order in listed) for listed in hub.site.listed[-1:]
            ), "no index that lacks it was published"
            assert await hub.lease_epoch() > epoch
            lifted = (await hub.status("kept"))["placement"]["generation"]
            assert lifted == generation + GENERATIONS_LIFTED_BY
            lease = await client.get(LEASES, LEASE_NAME, NAMESPACE)
            annotations = lease["metadata"]["annotations"]
            assert annotations[ORDERS_ANNOTATION] == KEEP_ORDERS
            assert GENERATIONS_ANNOTATION not in annotations
            assert any("its version went back" in one for one in caplog.messages)
            assert any("does not know orders" in one for one in caplog.messages)
            await keep_unknown_orders(client, is_kept=False)
            await until(lambda: knows_all(scheduler))
            await until(lambda: _withdrawn(hub, "forgotten"))
            assert await runs(hub, "kept")
            for one in hub.schedulers:
                one.task.cancel()


async def _withdrawn(hub: ProxiedHub, name: str) -> bool:
    return not await runs(hub, name)
