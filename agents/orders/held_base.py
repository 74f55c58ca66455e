"""The base of deltas that the agent has received, and a delta that came before its base.

Both are kept in memory alone: the broker retains them, and delivers them in every session. What the
agent works by is the complete index, which is in the journal.
"""

from dataclasses import dataclass, field

from agents.protocol.errors import WireError
from agents.protocol.index import DesiredIndex
from agents.protocol.index_delta import (
    INDEX_DELTA,
    IndexBase,
    IndexDelta,
    apply_delta,
    base_of,
    check_unique_ids,
)


@dataclass(slots=True)
class HeldBase:
    """One base at most, and one delta that waits for its base.

    Attributes:
        is_full_index_wanted: a delta came whose base is not here, or that makes another index of it
            than the hub has signed; the status asks for the whole index.
    """

    is_full_index_wanted: bool = False
    _base: IndexBase | None = field(default=None, init=False)
    _key_id: str = field(default="", init=False)
    _waiting: tuple[IndexDelta, bytes] | None = field(default=None, init=False)

    def hold(self, index: DesiredIndex, payload: bytes, key_id: str) -> bytes | None:
        """Holds a base instead of the one before.

        Returns:
            The message of the delta that waited for it, if there is one.

        Raises:
            WireError: "stale": a newer one under the same key is here; "malformed": an order is
                listed twice.
        """
        base = base_of(index, payload)
        if self._base is not None and self._key_id == key_id:
            if base.digest == self._base.digest:
                return None
            if index.version <= self._base.index.version:
                raise WireError(
                    "stale",
                    f"base {index.version} is not newer than {self._base.index.version}",
                )
        check_unique_ids(index.orders)
        self._base, self._key_id, self.is_full_index_wanted = base, key_id, False
        waiting = self._waiting
        return waiting[1] if waiting and waiting[0].base == base.digest else None

    def complete(self, delta: IndexDelta, data: bytes) -> tuple[DesiredIndex, bytes]:
        """The complete index that a delta makes of the base, and its encoded bytes.

        Args:
            delta: the delta.
            data: the message that it came in; kept if its base is not here yet.

        Raises:
            WireError: as `apply_delta`; nothing has changed, but the whole index is asked for.
        """
        try:
            return self._apply(delta)
        except WireError as error:
            self.is_full_index_wanted = True
            is_newest = self._waiting is None or delta.version > self._waiting[0].version
            if error.reason == "unknown-base" and is_newest:
                self._waiting = (delta, data)
            raise

    def _apply(self, delta: IndexDelta) -> tuple[DesiredIndex, bytes]:
        if self._base is None:
            raise WireError("unknown-base", f"there is no base here; the delta is of {delta.base}")
        return apply_delta(self._base, delta)

    def on_accepted(self) -> None:
        """Ends the wait of a delta: what makes a complete index was accepted."""
        self._waiting, self.is_full_index_wanted = None, False

    def forget(self) -> None:
        """Drops the base too: an index was accepted that is no base."""
        self.on_accepted()
        self._base = None


def decode_delta(payload: bytes, *, site: str) -> IndexDelta:
    """Decodes a delta for a site.

    Raises:
        WireError: it is too large, malformed, or for another site.
    """
    delta = INDEX_DELTA.decode(payload)
    if delta.site != site:
        raise WireError("wrong-site", f"the delta is for site {delta.site!r}, this is {site!r}")
    return delta
