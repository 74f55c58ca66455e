"""Accepts losses on an operator's word, so that the next start goes on with what is left.

Nothing that runs is withdrawn: after the loss of objects or of the Lease, orders that sites report
and the hub does not know are left running until an operator says otherwise (`ORDERS_ANNOTATION`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.control.generation_floor import lift_generations
from scheduler.control.leader_election import (
    EPOCH_ANNOTATION,
    KEEP_ORDERS,
    LEASE_NAME,
    ORDERS_ANNOTATION,
)
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    LEASES,
    NAMESPACE,
    NAMESPACES,
    WORKLOADS,
    Conflict,
    NotFound,
    Object,
)
from scheduler.control.replicas import KEY_ANNOTATION
from scheduler.control.state.ledger_heads import CONFIG_MAP, read_heads
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.hub.in_cluster import usable_kubeconfig
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import LedgerEntry
from scheduler.ledger.storage.places import LedgerPlace, ledger_place
from scheduler.ledger.storage.postgres_url import PostgresUrl
from scheduler.ledger.witnesses import Witnesses
from scheduler.model.decode import NotReadable, decode
from scheduler.model.kinds.workload import Workload
from scheduler.mqtt.keyring import SigningKey, write_public_key
from scheduler.recovery.files import check_data_files
from scheduler.recovery.losses import (
    ADOPTION_KIND,
    ADOPTION_SUBJECT,
    LedgerFacts,
    Loss,
    find_file_losses,
    find_hub_losses,
    find_ledger_cut,
    find_unaccepted_ledger_loss,
    read_ledger_facts,
)
from scheduler.recovery.signing_key import is_key_shared, load_signing_key
from scheduler.runtime.clock import Clock
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    HUB_PUBLIC_KEY_FILE,
    RECEIVED_MARK_FILE,
    DataDirectory,
)
from scheduler.settings import HubSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What was found, and what was accepted.

    Attributes:
        losses: everything that was found missing or replaced.
        accepted: names of the losses that were accepted; with a dry run, that would be.
        hub_key: the public key that agents must trust from now on; empty: unchanged.
    """

    losses: Sequence[Loss]
    accepted: Sequence[str]
    hub_key: str = ""


async def adopt_losses(
    directory: DataDirectory,
    hub_settings: HubSettings,
    lost: Sequence[str],
    *,
    clock: Clock,
    is_dry_run: bool,
    ledger_url: PostgresUrl | None = None,
) -> Adoption:
    """Accepts the named losses of a stopped hub.

    Args:
        directory: the data directory, locked.
        hub_settings: which hub it belongs to.
        lost: names of the losses to accept, of `LOSS_NAMES`.
        clock: for the record of the adoption.
        is_dry_run: find the losses and change nothing.
        ledger_url: where its ledger is, if it is not in the directory.

    Raises:
        DataDirectoryError: a file is damaged; it must be restored or moved away first.
        HubError: the hub cannot be read or written.
    """
    root, is_embedded = directory.path, not hub_settings.kubeconfig
    check_data_files(root)
    place, shares_key = ledger_place(root, ledger_url), is_key_shared(hub_settings)
    ledger = read_ledger_facts(place)
    losses = find_file_losses(root, ledger, is_hub_embedded=is_embedded, is_key_shared=shares_key)
    is_hub_lost = any(loss.name == "objects" for loss in losses)
    has_key = shares_key or (root / HUB_KEY_FILE).exists()
    if is_hub_lost and (is_dry_run or "objects" not in lost):
        # The hub is not opened: that would make the missing database.
        return Adoption(losses=losses, accepted=_accepted(losses, lost))
    async with _opened_hub(root, hub_settings) as client:
        handover = {}
        if not is_hub_lost:
            key = ""
            if has_key and not is_embedded:
                key = str((await load_signing_key(hub_settings, root, client)).public)
            losses += await find_hub_losses(
                client,
                root,
                ledger,
                is_ledger_expected=is_embedded or has_key or ledger_url is not None,
                place=place,
                key=key,
            )
            losses += await _ledger_cut(client, root, place, ledger, is_embedded=is_embedded)
            if "ledger" in lost and not any(loss.name == "ledger" for loss in losses):
                losses += find_unaccepted_ledger_loss(root, place)
            if "ledger" in lost:
                handover = await _find_old_head(client)
        accepted = _accepted(losses, lost)
        if is_dry_run or not accepted:
            return Adoption(losses=losses, accepted=accepted)
        # The record comes first: an accepted loss without a record could never be explained.
        content = {"lost": accepted, "found": [loss.sentence for loss in losses], **handover}
        await _record(root, ledger_url, content, at=clock.now())
        if {"objects", "lease"} & set(accepted):
            await _create_lease(client, ledger)
        hub_key = ""
        if "keys" in accepted:
            hub_key = _adopt_key(await load_signing_key(hub_settings, root, client), root)
            await name_key(client, hub_key)
    if "received" in accepted:
        (root / RECEIVED_MARK_FILE).unlink(missing_ok=True)
    return Adoption(losses=losses, accepted=accepted, hub_key=hub_key)


async def _find_old_head(client: HubClient) -> dict[str, object]:
    """The end of the ledger before, as statuses and sites know it: a new chain names it."""
    witnesses = Witnesses()
    for workload in await _read_workloads(client):
        decision = workload.status.decision
        if decision is not None:
            name = f"{workload.metadata.namespace}/{workload.metadata.name}"
            at = decision.decided_at.isoformat() if decision.decided_at else ""
            witnesses.add_decision(name, decision.id, decision.hash, at)
    with suppress(NotFound):
        newest, by_site = read_heads(await client.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE))
        witnesses.add_heads(newest, witness=CONFIG_MAP, trusted=(), is_outside=False)
        for site, heads in by_site.items():
            witnesses.add_heads(heads, witness=f"site {site}", trusted=(), is_outside=True)
    if not witnesses.anchors:
        return {}
    end = max(witnesses.anchors, key=lambda one: one.seq)
    return {
        "line": f"a new ledger after record {end.seq} of the one before",
        "handover": {"seq": end.seq, "hash": end.hash, "witness": end.witness, "at": end.at},
    }


async def name_key(client: HubClient, public_key: str) -> None:
    """Has the Lease name the key that signs from now on, as replicas compare it.

    Raises:
        HubError: the Lease cannot be written.
    """
    body: Object = {"metadata": {"annotations": {KEY_ANNOTATION: public_key}}}
    with suppress(NotFound):
        await client.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)


def _accepted(losses: Sequence[Loss], lost: Sequence[str]) -> list[str]:
    return [loss.name for loss in losses if loss.name in lost]


@asynccontextmanager
async def _opened_hub(root: Path, settings: HubSettings) -> AsyncIterator[HubClient]:
    if settings.kubeconfig:
        kubeconfig = usable_kubeconfig(settings.kubeconfig)
        async with open_hub(kubeconfig, context=settings.context or None) as client:
            yield client
        return
    options = ApiServerOptions(data_dir=root / "hub", crds=make_crds(), name="hub")
    async with serve(options) as server, open_hub(server.kubeconfig_path) as client:
        yield client


async def _ledger_cut(
    client: HubClient, root: Path, place: LedgerPlace, ledger: LedgerFacts, *, is_embedded: bool
) -> list[Loss]:
    if not ledger.records or (not is_embedded and isinstance(place, Path)):
        return []
    workloads = await _read_workloads(client)
    return find_ledger_cut(root, workloads, is_hub_embedded=is_embedded, place=place)


async def _read_workloads(client: HubClient) -> list[Workload]:
    """The workloads that can be read; those that cannot name no decision that was recorded."""
    found = []
    for item in (await client.list(WORKLOADS)).items:
        with suppress(NotReadable):
            workload = decode(item, allow_unknown=True)
            if isinstance(workload, Workload):
                found.append(workload)
    return found


async def _create_lease(client: HubClient, ledger: LedgerFacts) -> None:
    """Writes a Lease from which the next start continues above every recorded epoch."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    lease: Object = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {
            "name": LEASE_NAME,
            "namespace": NAMESPACE,
            "annotations": {
                EPOCH_ANNOTATION: str(ledger.epoch),
                ORDERS_ANNOTATION: KEEP_ORDERS,
            },
        },
        "spec": {"holderIdentity": "", "leaseTransitions": ledger.epoch},
    }
    for resource, body in ((NAMESPACES, space), (LEASES, lease)):
        try:
            await client.create(resource, body)
        except Conflict:
            continue  # an adoption that was interrupted has made it


async def _record(
    root: Path, url: PostgresUrl | None, content: Mapping[str, object], *, at: datetime
) -> None:
    async with Ledger(root, url=url) as ledger:
        await ledger.append(
            LedgerEntry(
                kind=ADOPTION_KIND, subject=ADOPTION_SUBJECT, epoch=0, at=at, content=content
            )
        )


def _adopt_key(key: SigningKey, root: Path) -> str:
    """Makes the public half that of the present key, which was made if there was none."""
    write_public_key(root / HUB_PUBLIC_KEY_FILE, key)
    return str(key.public)


async def keep_orders_after_restore(folder: Path) -> None:
    """Has a restored hub leave running what was ordered after its backup was made.

    The generations of its orders count on above those that sites may have.

    Args:
        folder: the directory of the stopped embedded hub's own files.

    Raises:
        HubError: the hub cannot be written.
    """
    async with (
        serve(ApiServerOptions(data_dir=folder)) as server,
        open_hub(server.kubeconfig_path) as client,
    ):
        with suppress(NotFound):  # no scheduler has used this hub
            await keep_unknown_orders(client, is_kept=True)
            lease = await client.get(LEASES, LEASE_NAME, NAMESPACE)
            await lift_generations(client, epoch=int(lease["spec"].get("leaseTransitions") or 0))


async def keep_unknown_orders(client: HubClient, *, is_kept: bool) -> None:
    """Says what happens to orders that sites report and the hub does not know.

    A running leader follows within the time in which it renews its Lease.

    Raises:
        HubError: the Lease cannot be written.
    """
    value = KEEP_ORDERS if is_kept else None
    body: Object = {"metadata": {"annotations": {ORDERS_ANNOTATION: value}}}
    await client.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)
