"""Leader election: one scheduler holds a Lease, and each change of holder begins a new epoch.

Every status and every index holds the epoch. A validation rule of the CRD and every agent refuse a
lower one, so that a former leader can do no harm. As in client-go, clocks of different machines are
never compared: a lease has expired when it was seen unchanged for its whole duration.

A leader writes only while its lease lasts longer than a request may take (`may_write`). When that
ends, because the hub is away or refuses the renewal, it steps down and tries to take the lease
again, with the same epoch if no other scheduler has held it meanwhile. It does so too when the
hub was restored to an earlier state (`HubHistory`), and begins a new epoch above all it has seen.
"""

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.hub_history import (
    GENERATIONS_ANNOTATION,
    LIFT_GENERATIONS,
    RESTORED,
    HubHistory,
)
from scheduler.control.ports.hub import (
    LEASES,
    NAMESPACE,
    NAMESPACES,
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
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

LEASE_NAME = "kapok-scheduler"
EPOCH_ANNOTATION = "kapok.dev/epoch"
ORDERS_ANNOTATION = "kapok.dev/unknown-orders"
"""Annotation of the Lease: what happens to orders that sites report and the hub does not know."""
KEEP_ORDERS = "Keep"
"""They are left running: the hub has lost its objects, and may only have forgotten them."""

MAX_LEASE_SECONDS = 300
"""The longest lease that the settings allow. A number that was edited bars no one for longer."""
_MAX_LEASE_TRANSITIONS = 2**31 - 1
_POLL_SECONDS = 0.4
"""A free or expired lease is taken this much later at the latest."""
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 5.0
_RENEWALS_PER_DURATION = 15 / 4  # 4 s of 15 s
_REQUESTS_PER_DURATION = 3  # a third of it is kept for a request that is under way: 5 s of 15 s


def request_timeout_of(duration_seconds: float) -> float:
    """How long a request of a leader may take, in seconds, with a lease of this duration."""
    return duration_seconds / _REQUESTS_PER_DURATION


def _make_jitter() -> random.Random:
    return random.Random()  # noqa: S311 - jitter, nothing secret


def _make_backoff(duration_seconds: float, jitter: random.Random) -> JitteredBackoff:
    return JitteredBackoff(
        first_seconds=_FIRST_PAUSE_SECONDS,
        max_seconds=min(_MAX_PAUSE_SECONDS, duration_seconds),
        min_seconds=0.1,
        jitter=jitter,
    )


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
        is_sole_candidate: no other scheduler can hold the lease, because this one holds the lock of
            the data directory; the lease is taken at once.
        replica: what replicas must share; None: it is not compared.
        jitter: random numbers for pauses.
        epoch: the epoch of this leader; 0 while it does not lead.
        keeps_unknown_orders: orders that the hub does not know are left running, because an
            operator has accepted the loss of its objects. Read with every renewal.
        must_lift_generations: the hub was restored, and the generations of orders were not raised
            since above those that sites may have.
        history: what was seen of the Lease.
        holder: who was seen last to hold the lease; "": no scheduler.
    """

    hub: Hub
    clock: Clock
    faults: Faults
    identity: str
    duration_seconds: float = 15.0
    is_sole_candidate: bool = False
    replica: ReplicaIdentity | None = None
    jitter: random.Random = field(default_factory=_make_jitter)
    epoch: int = 0
    keeps_unknown_orders: bool = False
    must_lift_generations: bool = False
    history: HubHistory = field(default_factory=HubHistory)
    holder: str = field(default="", init=False)
    _last_renewal_seen: tuple[str, float] = ("", 0.0)
    _lease_duration_seconds: float = 15.0
    _logged_holder: str = ""
    _has_namespace: bool = False
    _renewed_seconds: float = float("-inf")
    _backoff: JitteredBackoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = _make_backoff(self.duration_seconds, self.jitter)

    @property
    def renew_seconds(self) -> float:
        """How often the lease is renewed."""
        return self.duration_seconds / _RENEWALS_PER_DURATION

    def may_write(self) -> bool:
        """Whether the lease lasts until the end of a request that is sent now."""
        return self._writable_seconds() > 0

    def _writable_seconds(self) -> float:
        """How much longer requests may be sent; measured since the last renewal was sent."""
        if not self.epoch or self.history.is_restored:
            return 0.0
        until = (
            self._renewed_seconds
            + self.duration_seconds
            - request_timeout_of(self.duration_seconds)
        )
        return until - self.clock.monotonic()

    async def acquire(self) -> int:
        """Waits until this scheduler holds the lease, whatever the hub answers meanwhile.

        Returns:
            The epoch: higher than all before, or the last one of this scheduler if no other one
            has led since.

        Raises:
            EpochExhausted: there is no higher one.
            StandbyRefused: this scheduler has another key or ledger than the one that leads.
        """
        while True:
            pause = _POLL_SECONDS
            with self.faults.barrier("lease", passing=(EpochExhausted, StandbyRefused)):
                try:
                    await self._create_namespace()
                    if await self._try_acquire():
                        self._backoff.reset()
                        return self.epoch
                    self._backoff.reset()
                    self._log_holder()
                    pause = self._pause_while_held()
                except Conflict as error:
                    _log.info("lease: %s", error)
                except HubError as error:
                    _log.debug("lease: %s", error)
                    pause = self._backoff.next_seconds(error.retry_after_seconds)
            await self.clock.sleep(pause)

    def _pause_while_held(self) -> float:
        """Until the next look at a lease that another scheduler holds: at its end, or before."""
        ends_seconds = self._last_renewal_seen[1] + self._lease_duration_seconds
        left = ends_seconds - self.clock.monotonic()
        return min(_POLL_SECONDS, max(0.01, left + 0.001))

    async def renew_until_lost(self) -> None:
        """Renews until cancelled.

        Raises:
            LeadershipLost: another scheduler holds it, or it was not renewed in time.
        """
        pause = self.renew_seconds
        try:
            while True:
                await self.clock.sleep(max(0.0, min(pause, self._writable_seconds())))
                self._check_time_left()
                pause = self.renew_seconds
                with self.faults.barrier("lease", passing=(LeadershipLost,)):
                    pause = await self._renew_or_pause()
        except LeadershipLost:
            self.epoch = 0
            raise

    def _check_time_left(self) -> None:
        if self.history.is_restored:
            raise LeadershipLost(RESTORED)
        if not self.may_write():
            raise LeadershipLost("lease: not renewed in time")

    async def _renew_or_pause(self) -> float:
        """Renews the lease.

        Returns:
            The pause before the next renewal, or before the next attempt.

        Raises:
            LeadershipLost: another scheduler holds it.
        """
        error: Exception
        try:
            # A request that hangs must not hide that the lease runs out.
            async with asyncio.timeout(self._writable_seconds()):
                return await self._renew_or_lose()
        except TimeoutError as timed_out:
            error, asked = timed_out, 0.0
        except HubError as failed:
            error, asked = failed, failed.retry_after_seconds
        _log.debug("lease: not renewed: %s", error)
        return min(self.renew_seconds, self._backoff.next_seconds(asked))

    async def _renew_or_lose(self) -> float:
        try:
            await self._renew(self.epoch)
        except Conflict as error:
            lease = await self._read_lease()
            holder = (lease.get("spec") or {}).get("holderIdentity")
            if holder != self.identity:
                words = f"now held by {holder}" if holder else "released by another client"
                raise LeadershipLost(f"lease: {words}") from error
            return 0.0
        self._backoff.reset()
        return self.renew_seconds

    async def release(self) -> None:
        """Releases the lease, so that the next scheduler need not wait until it expires."""
        epoch, self.epoch = self.epoch, 0
        if not epoch:
            return
        try:
            await self._renew(epoch, holder="")
        except (HubError, LeadershipLost) as error:
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

    async def check_history(self) -> None:
        """Looks whether the hub was restored, before what a list lacks counts as deleted.

        A leader that finds so writes and publishes nothing any more.

        Raises:
            HubError: the hub does not answer, so that it is not known.
        """
        if self.epoch:
            with suppress(NotFound):  # it is noted
                await self._read_lease()

    async def note_generations_lifted(self) -> None:
        """Writes to the Lease that no generation will be used twice.

        Raises:
            HubError: the hub does not take it.
        """
        body: Object = {"metadata": {"annotations": {GENERATIONS_ANNOTATION: None}}}
        await self.hub.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)
        self.must_lift_generations = False

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
                raise LeaseHeld(f"{self.holder} holds the Lease and renews it: stop it first")
            await self.clock.sleep(self.renew_seconds / 2)

    async def set_epoch(self, epoch: int) -> None:
        """Writes the epoch that the next leader counts on from, and renews the Lease.

        Raises:
            HubError: the Lease was taken, or the hub does not answer.
        """
        await self._renew(epoch)
        self.epoch = epoch

    async def _create_namespace(self) -> None:
        if self._has_namespace:
            return
        # It exists; or this account may not create it, and an administrator does.
        with suppress(Conflict, Refused):
            await self.hub.create(
                NAMESPACES,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            )
        self._has_namespace = True

    async def _try_acquire(self) -> bool:
        began_seconds = self.clock.monotonic()
        try:
            lease = await self._read_lease()
        except NotFound:
            epoch = self.history.epoch + 1 if self.history.is_restored else 1
            body = self._lease_body(epoch, version=None)
            self._read_annotations(body)
            self.history.note_taken(await self.hub.create(LEASES, body), epoch)
            return self._begin(epoch, began_seconds)
        is_ours = (lease.get("spec") or {}).get("holderIdentity") == self.identity
        if not (is_ours or self.is_sole_candidate or self._is_expired(lease)):
            if self.replica:
                self.replica.check_standby(lease)
            self.history.is_restored &= not _keeps_orders(lease)  # its holder has seen it, too
            return False
        if self.replica and not self.is_sole_candidate:
            self.replica.check_key(lease)
        # No other scheduler has led since: the Lease would name it.
        epoch = max(1, _epoch_of(lease) + (0 if is_ours else 1))
        if self.history.is_restored:  # sites have indexes of the time that the hub has lost
            epoch = max(self.history.epoch, _epoch_of(lease)) + 1
        if epoch > LAST_EPOCH:
            raise EpochExhausted(_epoch_of(lease))
        self._read_annotations(lease)
        if self.history.is_restored:
            _log.warning("%s", RESTORED)
        self.history.note_taken(await self._patch_lease(epoch, lease), epoch)
        return self._begin(epoch, began_seconds)

    def _begin(self, epoch: int, began_seconds: float) -> bool:
        self.epoch, self._renewed_seconds, self.holder = epoch, began_seconds, self.identity
        return True

    async def _read_lease(self) -> Object:
        """Reads the Lease, and notes whether it is an earlier one than was seen already."""
        known = self.history.version
        try:
            lease = await self.hub.get(LEASES, LEASE_NAME, NAMESPACE)
        except NotFound:
            self.history.note_missing()
            raise
        self.history.note(lease, known, _epoch_of(lease))
        return lease

    async def _patch_lease(self, epoch: int, lease: Object) -> Object:
        version = lease["metadata"]["resourceVersion"]
        return await self.hub.merge_patch(
            LEASES, LEASE_NAME, self._lease_body(epoch, version), namespace=NAMESPACE
        )

    def _read_annotations(self, lease: Object) -> None:
        annotations = lease["metadata"].get("annotations") or {}
        lifts = annotations.get(GENERATIONS_ANNOTATION) == LIFT_GENERATIONS
        self.keeps_unknown_orders = _keeps_orders(lease) or self.history.is_restored
        self.must_lift_generations = lifts or self.history.is_restored

    def _log_holder(self) -> None:
        if self.holder != self._logged_holder:
            _log.info("waiting for the lease %s/%s: held by %s", NAMESPACE, LEASE_NAME, self.holder)
            self._logged_holder = self.holder

    def _is_expired(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        if not self.holder:
            return True
        self._lease_duration_seconds = _duration_of(spec)
        mark, now = f"{self.holder} {spec.get('renewTime')}", self.clock.monotonic()
        if self._last_renewal_seen[0] != mark:
            self._last_renewal_seen = (mark, now)
            return False
        return now - self._last_renewal_seen[1] > self._lease_duration_seconds

    async def _renew(self, epoch: int, *, holder: str | None = None) -> None:
        """Renews the lease; `Conflict` when another client wrote since it was read."""
        began_seconds = self.clock.monotonic()
        lease = await self._read_lease()
        if self.history.is_restored:
            raise LeadershipLost(RESTORED)
        if (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            raise Conflict("lease: held by another scheduler")
        self._read_annotations(lease)
        body = self._lease_body(epoch, lease["metadata"]["resourceVersion"])
        if holder is not None:
            body["spec"]["holderIdentity"] = holder
        renewed = await self.hub.merge_patch(LEASES, LEASE_NAME, body, namespace=NAMESPACE)
        self.history.note(renewed, 0, epoch)
        self._renewed_seconds = began_seconds

    def _lease_body(self, epoch: int, version: str | None) -> Object:
        now = format_rfc3339_micros(self.clock.now())
        metadata: Object = {
            "name": LEASE_NAME,
            "namespace": NAMESPACE,
            "annotations": {EPOCH_ANNOTATION: str(epoch)},
        }
        if self.replica:
            metadata["annotations"] |= self.replica.annotations
        if self.history.is_restored:
            metadata["annotations"] |= {
                ORDERS_ANNOTATION: KEEP_ORDERS,
                GENERATIONS_ANNOTATION: LIFT_GENERATIONS,
            }
        if version:
            metadata["resourceVersion"] = version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": math.ceil(self.duration_seconds),
                "leaseTransitions": min(epoch, _MAX_LEASE_TRANSITIONS),
                "renewTime": now,
            },
        }


def _duration_of(spec: Mapping[str, Any]) -> float:
    """How long a lease of another scheduler lasts, within what the settings allow of it."""
    return min(float(spec.get("leaseDurationSeconds") or 15), MAX_LEASE_SECONDS)


def _keeps_orders(lease: Object) -> bool:
    annotations = lease["metadata"].get("annotations") or {}
    return bool(annotations.get(ORDERS_ANNOTATION) == KEEP_ORDERS)


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
