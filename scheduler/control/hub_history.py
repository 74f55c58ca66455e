"""Whether the hub goes on from the state that was known, or was put back to an earlier one.

After a restore of its store (etcd from a snapshot) objects that were created since are missing from
every list, as if they had been deleted. The Lease shows it: its version only grows while a
scheduler renews it, also where the restored store counts its versions on from far above. A Lease
with a lower version, or none where there was one, means that the store was restored. Then no
deletion that only a list shows counts: what sites run of it stays, as after `kapok hub adopt`.
"""

from dataclasses import dataclass
from typing import Final

from scheduler.control.ports.hub import Object

GENERATIONS_ANNOTATION: Final = "kapok.dev/generations"
"""Annotation of the Lease: what the next leader does with generations before it plans orders."""
LIFT_GENERATIONS: Final = "Lift"
"""It lifts them above those that sites may have of the time that the hub has lost."""

RESTORED: Final = (
    "lease: its version went back, so the hub was restored to an earlier state; orders that it does"
    " not know run on at their sites until `kapok hub adopt --unknown-orders withdraw`"
)


@dataclass(slots=True)
class HubHistory:
    """What was seen of the Lease, and so of the hub's past.

    Attributes:
        version: the newest version of the Lease that was read or written; 0: none.
        epoch: the highest epoch that it had.
        is_restored: a restore was seen, and the Lease does not say so yet.
        must_list: a restore was seen, and the objects of the hub were not listed since.
    """

    version: int = 0
    epoch: int = 0
    is_restored: bool = False
    must_list: bool = False

    def note(self, lease: Object, known: int, epoch: int) -> None:
        """Takes in the Lease as the hub has it.

        Args:
            lease: as it was read.
            known: `version` when it was asked for; a write may have been answered since.
            epoch: which it has.
        """
        version = _version_of(lease)
        if version is None:  # it is compared only where it is a number
            return
        if version < known:
            self.note_restore()
        self.version = max(self.version, version)
        self.epoch = max(self.epoch, epoch)

    def note_missing(self) -> None:
        """Takes in that there is no Lease."""
        if self.version:
            self.note_restore()

    def note_restore(self) -> None:
        """Notes that the hub was restored."""
        self.is_restored = self.must_list = True

    def note_taken(self, lease: Object, epoch: int) -> None:
        """Takes in the Lease as this scheduler has written it; it says now what was noted."""
        self.version, self.is_restored = _version_of(lease) or 0, False
        self.epoch = max(self.epoch, epoch)


def _version_of(lease: Object) -> int | None:
    text = str(lease["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else None
