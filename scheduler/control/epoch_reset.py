"""Sets the epoch by hand: above that of sites that cannot prove theirs, or back from the end.

The epoch is in three places: in the Lease, in the status of every workload, and at every agent, as
the newest index that it accepted under a key of the hub. The first two are written here, while the
Lease is held and no scheduler decides; for the third a lower epoch needs a new key. The Lease is
written last, so that an interrupted run is repeated whole.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.generation_floor import GenerationLift, lift_generations
from scheduler.control.leader_election import Leadership
from scheduler.control.ports.hub import WORKLOADS, Conflict, Hub, HubError, NotFound, Object
from scheduler.model.kinds.workload import LAST_EPOCH, MAX_KEPT_EPOCH
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 5


class EpochNotSettable(Exception):
    """The epoch cannot be set; the message says which one can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReset:
    """What was changed.

    Attributes:
        epoch: the next leader counts on from here.
        epoch_before: the epoch of the Lease before.
        has_new_key: the hub signs with a new key from now on.
        statuses: number of statuses that were set to `epoch`.
        refused: statuses that the hub would not have changed, with its words, by workload.
        generations: number of workloads whose next order gets a generation above that of sites.
    """

    epoch: int
    epoch_before: int
    has_new_key: bool
    statuses: int
    refused: dict[str, str]
    generations: int = 0


@dataclass(slots=True, kw_only=True)
class LeaseKeeper:
    """Renews the Lease while a repair writes many objects.

    Attributes:
        leadership: holds the Lease.
        clock: monotonic time.
    """

    leadership: Leadership
    clock: Clock
    _renewed_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._renewed_seconds = self.clock.monotonic()

    async def renew_when_due(self) -> None:
        """Renews the Lease if it is time.

        Raises:
            HubError: the Lease was taken, or the hub does not answer.
        """
        now = self.clock.monotonic()
        if now - self._renewed_seconds > self.leadership.renew_seconds:
            await self.leadership.set_epoch(self.leadership.epoch)
            self._renewed_seconds = now


@dataclass(slots=True, kw_only=True)
class EpochResetter:
    """Sets the epoch of a hub on which no scheduler runs.

    Attributes:
        hub: holds the Lease and the workloads.
        leadership: holds the Lease meanwhile.
        replace_key: gives the hub a new signing key.
        clock: for renewing the Lease on a large hub.
    """

    hub: Hub
    leadership: Leadership
    replace_key: Callable[[], None]
    clock: Clock
    _keeper: LeaseKeeper = field(init=False)

    async def run(self, wanted: int | None) -> EpochReset:
        """Sets the epoch.

        Args:
            wanted: the new epoch; None: the lowest that the hub accepts, if it stands at the end.

        Raises:
            EpochNotSettable: there is nothing to repair, or the hub accepts no such epoch.
            LeaseHeld: a scheduler runs.
            HubError: the hub refuses the Lease or does not answer; nothing was decided meanwhile.
        """
        before = await self.leadership.take_for_repair()
        self._keeper = LeaseKeeper(leadership=self.leadership, clock=self.clock)
        self.leadership.epoch = before
        epoch = before
        try:
            workloads = (await self.hub.list(WORKLOADS)).items
            epoch, changed, has_new_key = _plan(wanted, before, workloads)
            refused: dict[str, str] = {}
            for workload in changed:
                await self._set_status(workload, epoch, refused)
            if changed and len(refused) == len(changed):
                name, words = next(iter(refused.items()))
                raise EpochNotSettable(
                    f"the hub changes no status ({name}: {words}); apply manifests/crds of this"
                    " version to it, then run this again"
                )
            lifted = GenerationLift()
            if wanted is not None and epoch >= before:  # the sites are ahead of this hub
                lifted = await lift_generations(
                    self.hub, epoch=before, before_each=self._keeper.renew_when_due
                )
                refused |= lifted.refused
            if has_new_key:
                self.replace_key()
            await self.leadership.set_epoch(epoch)
        finally:
            await self.leadership.release()
        return EpochReset(
            epoch=epoch,
            epoch_before=before,
            has_new_key=has_new_key,
            statuses=len(changed) - len(refused.keys() - lifted.refused.keys()),
            generations=lifted.workloads,
            refused=refused,
        )

    async def _set_status(self, workload: Object, epoch: int, refused: dict[str, str]) -> None:
        """Removes the epoch of one status, and sets it; the hub accepts no lower one directly."""
        meta = workload["metadata"]
        name, namespace = meta["name"], meta.get("namespace")
        for attempt in range(_MAX_ATTEMPTS):
            await self._keeper.renew_when_due()
            try:
                if attempt:
                    workload = await self.hub.get(WORKLOADS, name, namespace)
                for value in (None, epoch):
                    patch = {
                        "metadata": {"resourceVersion": workload["metadata"]["resourceVersion"]},
                        "status": {"epoch": value},
                    }
                    workload = await self.hub.merge_patch(
                        WORKLOADS, name, patch, namespace=namespace, subresource="status"
                    )
            except Conflict:
                continue
            except NotFound:
                return
            except HubError as error:
                refused[f"{namespace}/{name}"] = str(error)
            return
        refused[f"{namespace}/{name}"] = "other clients write it all the time"


def _plan(
    wanted: int | None, before: int, workloads: list[Object]
) -> tuple[int, list[Object], bool]:
    """The new epoch, the workloads whose status gets it, and whether it needs a new key."""
    epochs = [_epoch_in(one) for one in workloads]
    kept = [epoch for epoch in epochs if epoch <= MAX_KEPT_EPOCH]
    lowest = max([1, *kept, *([before] if before <= MAX_KEPT_EPOCH else [])])
    highest = max([before, *epochs])
    if wanted is None and highest <= MAX_KEPT_EPOCH:
        raise EpochNotSettable(
            f"nothing to repair: the epoch is {highest} and far from its end, {LAST_EPOCH};"
            " write --epoch N to begin at another one"
        )
    epoch = lowest if wanted is None else wanted
    if not max([1, *kept]) <= epoch < LAST_EPOCH:
        raise EpochNotSettable(
            f"--epoch {epoch}: the hub accepts {max([1, *kept])} to {LAST_EPOCH - 1}, because"
            f" the status of some workload has that epoch and gives up only one above"
            f" {MAX_KEPT_EPOCH}"
        )
    changed = [one for one, found in zip(workloads, epochs, strict=True) if found > epoch]
    return epoch, changed, epoch <= highest


def _epoch_in(workload: Object) -> int:
    """The epoch of a workload's status; 0 if it has none."""
    epoch = (workload.get("status") or {}).get("epoch")
    return epoch if isinstance(epoch, int) else 0
