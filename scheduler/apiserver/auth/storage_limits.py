"""What each identity keeps on the server: the number and the bytes of its objects.

An object counts for the identity that created it, in all kinds and namespaces, also while others
write to it. What the owner of the hub writes, which includes the scheduler, is never refused, and
what it creates counts for no identity until another one changes it.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from scheduler.apiserver.auth.rbac import OWNER_ROLE, Identity
from scheduler.apiserver.base.errors import GroupResource, forbidden

ObjectLocation = tuple[str, str]
"""The name of a collection and a key in it."""
_writer: ContextVar[str] = ContextVar("writer", default="")
"""The name of the identity whose request is handled; empty if it has no limits."""


def set_writer(identity: Identity) -> None:
    """Sets the identity for whose limits the writes of the present task count."""
    _writer.set("" if identity.role == OWNER_ROLE else identity.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLimits:
    """The limits of each identity but the owner of the hub."""

    max_objects: int = 20_000
    max_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StorageChange:
    """How a write changes what an identity keeps; applied when it is submitted."""

    owner: str
    """The identity for which the object counts afterwards; empty: none."""
    objects: int
    size_bytes: int


class StoredUsage:
    """What the identities keep.

    Args:
        limits: the limits of each identity.
    """

    def __init__(self, limits: StorageLimits) -> None:
        self._limits = limits
        self._owners: dict[ObjectLocation, str] = {}
        self._objects: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

    def load(self, location: ObjectLocation, owner: str, size_bytes: int) -> None:
        """Counts an object that was read from disk."""
        if owner:
            self._owners[location] = owner
            self._add(StorageChange(owner, 1, size_bytes))

    def check(
        self, resource: GroupResource, name: str, location: ObjectLocation, old: int, new: int
    ) -> StorageChange:
        """How a write changes the usage.

        Args:
            resource: the resource of the object.
            name: its name.
            location: where it is kept.
            old: its bytes before; 0 if it is new.
            new: its bytes after; 0 if it is deleted.

        Raises:
            ApiError: 403, the write exceeds a limit of its identity.
        """
        known, writer = self._owners.get(location, ""), _writer.get()
        owner = known or (writer if new else "")
        before = old if known else 0
        change = StorageChange(owner, bool(new) - bool(before), new - before)
        if writer and owner and new > before:
            self._refuse_excess(resource, name, change)
        return change

    def _refuse_excess(self, resource: GroupResource, name: str, change: StorageChange) -> None:
        limits, owner = self._limits, change.owner
        for what, setting, used, added, limit in (
            (
                "objects",
                "max_objects_per_token",
                self._objects.get(owner, 0),
                change.objects,
                limits.max_objects,
            ),
            (
                "bytes",
                "max_bytes_per_token",
                self._bytes.get(owner, 0),
                change.size_bytes,
                limits.max_bytes,
            ),
        ):
            if added > 0 and used + added > limit:
                why = (
                    f"exceeded quota: token {owner}, requested: {what}={added}, "
                    f"used: {what}={used}, limited: {what}={limit}; delete objects that are no "
                    f"longer needed, or raise hub.{setting} in the settings of the scheduler"
                )
                raise forbidden(resource, name, why)

    def apply(self, location: ObjectLocation, change: StorageChange) -> None:
        """Counts a write that is submitted."""
        if not change.owner:
            return
        self._add(change)
        if change.objects < 0:
            self._owners.pop(location, None)
        else:
            self._owners[location] = change.owner

    def revert(self, location: ObjectLocation, change: StorageChange) -> None:
        """Takes back a write that did not reach the disk."""
        self.apply(location, StorageChange(change.owner, -change.objects, -change.size_bytes))

    def _add(self, change: StorageChange) -> None:
        owner = change.owner
        self._objects[owner] = self._objects.get(owner, 0) + change.objects
        self._bytes[owner] = self._bytes.get(owner, 0) + change.size_bytes
