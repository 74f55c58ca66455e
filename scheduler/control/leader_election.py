"""Leader election: one scheduler holds a Lease, and each change of holder begins a new epoch.

Every status and every index holds the epoch. A validation rule of the CRD and every agent refuse a
lower one, so that a former leader can do no harm. As in client-go, clocks of different machines are
never compared: a lease has expired when it was seen unchanged for its whole duration.
"""

import logging
from dataclasses import dataclass, field

from scheduler.control.ports.hub import (
    LEASES,
    NAMESPACE,
    NAMESPACES,
    Busy,
    Conflict,
    Hub,
    HubError,
    NotFound,
    Object,
    Refused,
)
from scheduler.control.replicas import ReplicaIdentity, StandbyRefused
from scheduler.model.formatters import format_rfc3339_micros
from scheduler.model.kinds.workload import LAST_EPOCH
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

LEASE_NAME = "kapok-scheduler"
EPOCH_ANNOTATION = "kapok.dev/epoch"
ORDERS_ANNOTATION = "kapok.dev/unknown-orders"
"""Annotation of the Lease: what happens to orders that sites report and the hub does not know."""
KEEP_ORDERS = "Keep"
"""They are left running: the hub has lost its objects, and may only have forgotten them."""


_MAX_LEASE_TRANSITIONS = 2**31 - 1


class EpochExhausted(Exception):
    """The Lease stands at the end of the epochs: no leader can begin another one."""

    def __init__(self, epoch: int) -> None:
        super().__init__(
            f"the Lease {NAMESPACE}/{LEASE_NAME} has epoch {epoch} and no leader goes above"
            f" {LAST_EPOCH}: stop all schedulers, and run `kapok hub adopt --epoch` with the"
            " --data-dir and --config of `kapok up`"
        )


class LeaseHeld(Exception):
    """A scheduler that runs holds the Lease."""


class LeadershipLost(Exception):
    """Another scheduler took the lease, or it was not renewed in time: no more decisions."""


@dataclass(slots=True, kw_only=True)
class Leadership:
    """Acquires, renews and releases the lease.

    Attributes:
        hub: holds the Lease.
        clock: for waiting and measuring.
        faults: handles a Lease that cannot be read.
        identity: names this process, unique per process.
        duration_seconds: how long the lease is valid after a renewal.
        renew_seconds: how often it is renewed.
        is_sole_candidate: no other scheduler can hold the lease, because this one holds the lock of
            the data directory; the lease is taken at once.
        replica: what replicas must share; None: it is not compared.
        epoch: the epoch of this leader; 0 before the lease is acquired.
        keeps_unknown_orders: orders that the hub does not know are left running, because an
            operator has accepted the loss of its objects. Read with every renewal.
    """

    hub: Hub
    clock: Clock
    faults: Faults
    identity: str
    duration_seconds: float = 15.0
    renew_seconds: float = 4.0
    is_sole_candidate: bool = False
    replica: ReplicaIdentity | None = None
    epoch: int = 0
    keeps_unknown_orders: bool = False
    _last_renewal_seen: tuple[str, float] = field(default=("", 0.0))
    _holder: str = ""
    _logged_holder: str = ""

    async def acquire(self) -> int:
        """Waits until this scheduler holds the lease.

        Returns:
            The new epoch, higher than all before.

        Raises:
            EpochExhausted: there is no higher one.
            StandbyRefused: this scheduler has another key or ledger than the one that leads.
        """
        await self._create_namespace()
        while True:
            with self.faults.barrier("lease", passing=(HubError, EpochExhausted, StandbyRefused)):
                try:
                    if await self._try_acquire():
                        return self.epoch
                    self._log_holder()
                except (Conflict, Busy) as error:
                    _log.info("lease: %s", error)
            await self.clock.sleep(self.renew_seconds / 2)

    async def renew_until_lost(self) -> None:
        """Renews until cancelled.

        Raises:
            LeadershipLost: another scheduler holds it, or it was not renewed in time.
        """
        renewed_at = self.clock.monotonic()
        while True:
            await self.clock.sleep(self.renew_seconds)
            with self.faults.barrier("lease", passing=(LeadershipLost,)):
                if await self._is_renewed():
                    renewed_at = self.clock.monotonic()
            if self.clock.monotonic() - renewed_at > self.duration_seconds:
                raise LeadershipLost("lease: not renewed in time")

    async def _is_renewed(self) -> bool:
        """Renews the lease; False when that has to be tried again.

        Raises:
            LeadershipLost: another scheduler holds it.
        """
        try:
            await self._renew(self.epoch)
        except Conflict as error:
            lease = await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)
            holder = (lease.get("spec") or {}).get("holderIdentity")
            if holder != self.identity:
                raise LeadershipLost(f"lease: now held by {holder}") from error
            return False
        except HubError as error:
            _log.warning("lease: not renewed, retrying: %s", error)
            return False
        return True

    async def release(self) -> None:
        """Releases the lease, so that the next scheduler need not wait until it expires."""
        try:
            await self._renew(self.epoch, holder="")
        except HubError as error:
            _log.info("lease: not released: %s", error)

    async def raise_epoch_above(self, epoch: int) -> int:
        """Begins a new epoch above a proven one: the hub was restored from a backup.

        Returns:
            The new epoch; the present one if that is higher, or there is none so high.
        """
        if self.epoch <= epoch < LAST_EPOCH:
            await self._renew(epoch + 1)
            self.epoch = epoch + 1
        return self.epoch

    async def take_for_repair(self) -> int:
        """Takes the Lease without beginning an epoch, so that no scheduler decides meanwhile.

        Returns:
            The epoch of the Lease, which may be the end of all epochs; 0 if there is no Lease.

        Raises:
            LeaseHeld: a scheduler renews it.
            HubError: the hub refuses, or does not answer.
        """
        await self._create_namespace()
        first_seen: str | None = None
        while True:
            try:
                lease = await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)
            except NotFound:
                await self.hub.create(LEASES, self._lease_body(epoch=0, version=None))
                return 0
            if self.is_sole_candidate or self._is_expired(lease):
                await self._patch_lease(_epoch_of(lease), lease)
                return _epoch_of(lease)
            first_seen = first_seen or self._last_renewal_seen[0]
            if self._last_renewal_seen[0] != first_seen:
                raise LeaseHeld(f"{self._holder} holds the Lease and renews it: stop it first")
            await self.clock.sleep(self.renew_seconds / 2)

    async def set_epoch(self, epoch: int) -> None:
        """Writes the epoch that the next leader counts on from, and renews the Lease.

        Raises:
            HubError: the Lease was taken, or the hub does not answer.
        """
        await self._renew(epoch)
        self.epoch = epoch

    async def _create_namespace(self) -> None:
        try:
            await self.hub.create(
                NAMESPACES,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            )
        except (Conflict, Refused):
            return  # it exists; or this account may not create it, and an administrator does

    async def _try_acquire(self) -> bool:
        try:
            lease = await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)
        except NotFound:
            await self.hub.create(LEASES, self._lease_body(epoch=1, version=None))
            self.epoch = 1
            return True
        if not self.is_sole_candidate and not self._is_expired(lease):
            if self.replica:
                self.replica.check_standby(lease)
            return False
        if self.replica and not self.is_sole_candidate:
            self.replica.check_key(lease)
        epoch = _epoch_of(lease) + 1
        if epoch > LAST_EPOCH:
            raise EpochExhausted(epoch - 1)
        self._read_orders_annotation(lease)
        await self._patch_lease(epoch, lease)
        self.epoch = epoch
        return True

    async def _patch_lease(self, epoch: int, lease: Object) -> None:
        version = lease["metadata"]["resourceVersion"]
        await self.hub.merge_patch(
            LEASES, LEASE_NAME, self._lease_body(epoch, version), namespace=NAMESPACE
        )

    def _read_orders_annotation(self, lease: Object) -> None:
        annotations = lease["metadata"].get("annotations") or {}
        self.keeps_unknown_orders = annotations.get(ORDERS_ANNOTATION) == KEEP_ORDERS

    def _log_holder(self) -> None:
        if self._holder != self._logged_holder:
            _log.info(
                "waiting for the lease %s/%s: held by %s", NAMESPACE, LEASE_NAME, self._holder
            )
            self._logged_holder = self._holder

    def _is_expired(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        self._holder = str(spec.get("holderIdentity") or "")
        if not self._holder:
            return True
        mark, now = str(spec.get("renewTime")), self.clock.monotonic()
        if self._last_renewal_seen[0] != mark:
            self._last_renewal_seen = (mark, now)
            return False
        return now - self._last_renewal_seen[1] > float(spec.get("leaseDurationSeconds") or 15)

    async def _renew(self, epoch: int, *, holder: str | None = None) -> None:
        """Renews the lease; `Conflict` when another client wrote since it was read."""
        lease = await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)
        if (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            raise Conflict("lease: held by another scheduler")
        self._read_orders_annotation(lease)
        body = self._lease_body(epoch, lease["metadata"]["resourceVersion"])
        if holder is not None:
            body["spec"]["holderIdentity"] = holder
        await self.hub.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)

    def _lease_body(self, epoch: int, version: str | None) -> Object:
        now = format_rfc3339_micros(self.clock.now())
        metadata: Object = {
            "name": LEASE_NAME,
            "namespace": NAMESPACE,
            "annotations": {EPOCH_ANNOTATION: str(epoch)},
        }
        if self.replica:
            metadata["annotations"] |= self.replica.annotations
        if version:
            metadata["resourceVersion"] = version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(self.duration_seconds),
                "leaseTransitions": min(epoch, _MAX_LEASE_TRANSITIONS),
                "renewTime": now,
            },
        }


def _epoch_of(lease: Object) -> int:
    """The highest epoch of a Lease; an edited annotation never lowers it.

    A number above 32 bits in the annotation is none that a leader has written.
    """
    annotations = lease["metadata"].get("annotations") or {}
    noted = str(annotations.get(EPOCH_ANNOTATION) or "")
    is_number = noted.isdecimal() and len(noted) <= len(str(_MAX_LEASE_TRANSITIONS))
    epoch = int(noted) if is_number else 0
    transitions = (lease.get("spec") or {}).get("leaseTransitions") or 0
    return max(int(transitions), epoch if epoch <= _MAX_LEASE_TRANSITIONS else 0)
