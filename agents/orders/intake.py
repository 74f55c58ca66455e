"""Accepts the hub's messages: which index is the newest, and which contents are missing.

It uses neither network nor clock. A message that cannot be used raises `WireError`, which the
router counts, and leaves everything that was accepted before as it is.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agents.orders.journal import AcceptedIndex, Journal, JournalError
from agents.protocol.bounds import LAST_EPOCH, LAST_SEQUENCE, MAX_EPOCH
from agents.protocol.envelope import sender_key_id, unseal
from agents.protocol.errors import WireError
from agents.protocol.index import (
    DESIRED_INDEX,
    KEPT_AS_IT_IS,
    DesiredIndex,
    IndexEcho,
    IndexEntry,
    digest_of,
)
from agents.protocol.index_delta import (
    INDEX_DELTA,
    MAX_DELTA_BYTES,
    IndexBase,
    IndexDelta,
    apply_delta,
    base_of,
    check_unique_ids,
)
from agents.protocol.keys import TrustedKeys
from agents.protocol.orders import ORDER_CONTENT, OrderContent, unpack_content
from agents.protocol.topics import Topic, order_token, order_topic, site_topic

_log = logging.getLogger(__name__)

_MAX_PENDING_BYTES: Final = 32 * 1024 * 1024


@dataclass(slots=True)
class _HeldBase:
    """One base of deltas at most, and one delta that waits for its base.

    Both are in memory alone: the broker delivers them in every session. What the agent works by is
    the complete index, which is in the journal.

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


@dataclass(slots=True, kw_only=True)
class Intake:
    """The desired state of one site.

    Attributes:
        site: name of this site.
        trusted_keys: keys of the hub.
        journal: keeps the state; what it holds from before a restart is used at once.
        is_reporting_only: this agent applies no orders, so it also takes a first index that a
            broker has retained; see `_is_held_back`.
    """

    site: str
    trusted_keys: TrustedKeys
    journal: Journal
    is_reporting_only: bool = False
    _is_holding_back: bool = field(default=False, init=False)
    _index: DesiredIndex | None = field(default=None, init=False)
    _echo: IndexEcho | None = field(default=None, init=False)
    _held_base: _HeldBase = field(default_factory=_HeldBase, init=False)
    _entries_by_token: dict[str, IndexEntry] = field(default_factory=dict, init=False)
    _token_by_id: dict[str, str] = field(default_factory=dict, init=False)
    _present_digests: set[str] = field(default_factory=set, init=False)
    _parts_by_digest: dict[str, dict[int, bytes]] = field(default_factory=dict, init=False)
    _key_id: str = field(default="", init=False)
    _has_envelope: bool = field(default=False, init=False)
    _newest_by_key: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    _is_resumed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        try:
            self.resume()
        except JournalError as error:
            _log.error("%s; no order is accepted or executed until it can be read", error)

    def resume(self) -> None:
        """Reads what was accepted before the restart, once.

        Raises:
            JournalError: the journal cannot be read, so it is unknown how new an index must be.
        """
        if self._is_resumed:
            return
        self.journal.open()
        accepted = self.journal.accepted_indexes(self.site, max_epoch=MAX_EPOCH)
        self._present_digests = set(self.journal.content_digests())
        self._is_resumed = True
        # A hub that is installed again, or whose counter was repaired, has a new key and counts
        # from the beginning; what it had accepted under a key that is no more trusted is ignored.
        known = [one for one in accepted if one.kid in self.trusted_keys.ids()]
        self._newest_by_key = {one.kid: (one.epoch, one.sequence) for one in known}
        if known:
            self._resume_from(known[0])

    def _resume_from(self, accepted: AcceptedIndex) -> None:
        """Uses the index on disk. One that cannot be decoded is ignored; the hub sends it again."""
        try:
            index = DESIRED_INDEX.decode(accepted.payload)
        except WireError as error:
            _log.warning(
                "the index on disk cannot be decoded: %s; waiting for one from the hub", error
            )
            # The hub may send the very same one again.
            self._newest_by_key[accepted.kid] = (accepted.epoch, accepted.sequence - 1)
            return
        self._adopt_index(index, accepted.digest, accepted.kid)

    @property
    def index(self) -> DesiredIndex | None:
        """The newest index; None before the first."""
        return self._index

    @property
    def echo(self) -> IndexEcho | None:
        """The echo of that index, for the status."""
        return self._echo

    @property
    def wants_full_index(self) -> bool:
        """Whether a delta came that could not be used without the whole index."""
        return self._held_base.is_full_index_wanted

    @property
    def is_holding_back(self) -> bool:
        """Whether only an index that may be old has come, and the hub's next one is awaited."""
        return self._is_holding_back

    def accept_index(self, data: bytes, *, is_retained: bool = False) -> bool:
        """Accepts an index message.

        One that is the base of deltas is held; it counts with a delta only.

        Args:
            data: the message.
            is_retained: the broker had kept it, so it may be of any age.

        Returns:
            True if the site works by a newer index now; False if it is the same as before.

        Raises:
            WireError: the index is not signed by the hub, not for this site, not newer, or
                malformed.
            JournalError: it could not be written to disk, and is not accepted.
        """
        self.resume()
        name = site_topic(self.site, "desired")
        payload = unseal(data, topic=name, trusted=self.trusted_keys)
        index = DESIRED_INDEX.decode(payload)
        self._check_site(index)
        key_id = sender_key_id(data)
        if index.is_base:
            waiting = self._held_base.hold(index, payload, key_id)
            if waiting is None:
                return False
            # A delta is newer than its base, so a base that is not old makes an index that is not.
            return self.accept_delta(waiting, is_retained=is_retained)
        if self._is_held_back(is_retained=is_retained):
            return False
        is_new = self._accept_complete(index, payload, key_id, data)
        if is_new:
            self._held_base.forget()
        return is_new

    def accept_delta(self, data: bytes, *, is_retained: bool = False) -> bool:
        """Accepts a delta message, which makes a complete index of the base that is held.

        Args:
            data: the message.
            is_retained: the broker had kept it, so it may be of any age.

        Returns:
            True if the site works by a newer index now; False if it is the same as before.

        Raises:
            WireError: the delta is not signed by the hub, not for this site, not newer, malformed,
                of another base, or makes another index than the hub has signed.
            JournalError: the index could not be written to disk, and is not accepted.
        """
        self.resume()
        name = site_topic(self.site, "desired/delta")
        payload = unseal(
            data, topic=name, trusted=self.trusted_keys, max_payload_bytes=MAX_DELTA_BYTES
        )
        delta, key_id = INDEX_DELTA.decode(payload), sender_key_id(data)
        self._check_site(delta)
        if self._is_present(delta.digest, key_id, data):
            self._held_base.on_accepted()
            return False
        self._check_newer(delta.version, key_id)
        index, complete = self._held_base.complete(delta, data)
        if self._is_held_back(is_retained=is_retained):
            return False
        is_new = self._accept_complete(index, complete, key_id, data)
        self._held_base.on_accepted()
        return is_new

    def _accept_complete(
        self, index: DesiredIndex, payload: bytes, key_id: str, envelope: bytes
    ) -> bool:
        """Accepts a complete index, whatever it came in; returns whether it is another."""
        digest = digest_of(payload)
        if self._is_present(digest, key_id, envelope):
            return False
        self._check_newer(index.version, key_id)
        check_unique_ids(index.orders)
        version = (index.epoch, index.sequence)
        self.journal.save_index(
            AcceptedIndex(key_id, self.site, *version, digest, payload, envelope=envelope), index
        )
        self._has_envelope = True
        self._adopt_index(index, digest, key_id)
        return True

    def _is_held_back(self, *, is_retained: bool) -> bool:
        """Whether an index is not acted on, because it may be an old one.

        An agent refuses what is older than the newest index that it knows. One that knows none, be
        it new or its disk lost, cannot know an index that its broker has rolled back, which may
        list jobs that have run and replicas that are elsewhere now. What a broker retained has this
        flag in its message (MQTT 5, 3.3.1.3), and the hub publishes its index again to a site
        whose status echoes none: that message has not.
        """
        if not is_retained or self._newest_by_key or self.is_reporting_only:
            return False
        if not self._is_holding_back:
            _log.info(
                "this agent knows no index yet, and one that the broker kept may be old;"
                " waiting for the hub to publish it"
            )
        self._is_holding_back = True
        return True

    def _is_present(self, digest: str, key_id: str, envelope: bytes) -> bool:
        """Whether this is the index that the site works by."""
        if self._echo is None or (digest, key_id) != (self._echo.digest, self._key_id):
            return False
        self._keep_envelope(envelope)
        return True

    def read_proof(self) -> str | None:
        """The message of the newest index, as received: the hub's own signature proves its version.

        It is the delta that made the index, if one did: that too names version and digest.

        Returns:
            The envelope as text; None before the first index, or if a version before accepted it.

        Raises:
            JournalError: the journal cannot be read.
        """
        envelope = self.journal.envelope_of(self._key_id, self.site) if self._index else None
        try:
            return None if envelope is None else envelope.decode()
        except UnicodeDecodeError:  # not what was received: the disk has changed it
            return None

    def _check_site(self, message: DesiredIndex | IndexDelta) -> None:
        if message.site != self.site:
            raise WireError(
                "wrong-site", f"the index is for site {message.site!r}, this is {self.site!r}"
            )

    def _check_newer(self, version: tuple[int, int], key_id: str) -> None:
        """Refuses an index that is not newer than all that it may replace.

        That is the newest index under its own key, and the one that this site works by, whatever
        its key. Only if that one stands at the end of its counter, another trusted key may begin
        afresh: the hub's counter was repaired.

        Raises:
            WireError: "stale", or "too-large" for a version near the end of its counter.
        """
        if version[0] > LAST_EPOCH or version[1] > LAST_SEQUENCE:
            raise WireError(
                "too-large",
                f"index {version} is above {(LAST_EPOCH, LAST_SEQUENCE)}, the last that a hub"
                " may reach; run kapok hub adopt --epoch there",
            )
        newest = self._newest_by_key.get(key_id, (-1, -1))
        if self._index and self._index.epoch <= LAST_EPOCH:
            newest = max(newest, self._index.version)
        if version <= newest:
            raise WireError("stale", f"index {version} is not newer than {newest}")

    def _keep_envelope(self, data: bytes) -> None:
        """Keeps the message of an index that a version before accepted and kept without it."""
        if not self._has_envelope:
            if self.journal.envelope_of(self._key_id, self.site) is None:
                self.journal.save_envelope(self._key_id, self.site, data)
            self._has_envelope = True

    def accept_part(self, parsed_topic: Topic, data: bytes) -> OrderContent | None:
        """Accepts one part of a content.

        Returns:
            The content if it is complete now; None while parts are missing, or if the index does
            not ask for this part.

        Raises:
            WireError: the part is not signed by the hub, or the complete content is not the one
                that the index names.
            JournalError: the content could not be written to disk, and is not accepted.
        """
        self.resume()
        entry = self._entries_by_token.get(parsed_topic.token or "")
        if (
            entry is None
            or entry.digest in self._present_digests
            or parsed_topic.part >= entry.parts
        ):
            return None
        name = order_topic(self.site, entry.id, parsed_topic.part)
        part = unseal(data, topic=name, trusted=self.trusted_keys)
        parts = self._parts_by_digest.setdefault(entry.digest, {})
        parts[parsed_topic.part] = part
        if len(parts) < entry.parts:
            self._limit_pending_parts()
            return None
        # In any case the parts are of no more use: they are saved, wrong, or fetched again.
        del self._parts_by_digest[entry.digest]
        whole = [parts[number] for number in range(entry.parts)]
        content = unpack_content(entry, whole, site=self.site)
        self.journal.save_content(entry.digest, ORDER_CONTENT.encode(content))
        self._present_digests.add(entry.digest)
        return content

    def content_of(self, entry: IndexEntry) -> OrderContent | None:
        """The content of an index entry; None if it is missing.

        One on disk that cannot be decoded is missing too, and is fetched again.
        """
        if entry.digest not in self._present_digests:
            return None
        data = self.journal.content_of(entry.digest)
        try:
            if data is not None:
                return ORDER_CONTENT.decode(data)
        except WireError as error:
            _log.warning("the content of %s on disk cannot be decoded: %s", entry.id, error)
        self._present_digests.discard(entry.digest)
        return None

    def missing_entries(self) -> tuple[IndexEntry, ...]:
        """The index entries whose content is missing; those that stay as they are have none."""
        entries = self._index.orders if self._index else ()
        present = self._present_digests
        return tuple(
            entry
            for entry in entries
            if entry.digest not in present and entry.digest != KEPT_AS_IT_IS
        )

    def missing_topics_of(self, entry: IndexEntry) -> tuple[str, ...]:
        """The topics of the missing parts of a content."""
        received_parts = self._parts_by_digest.get(entry.digest, {})
        return tuple(
            order_topic(self.site, entry.id, part)
            for part in range(entry.parts)
            if part not in received_parts
        )

    def _adopt_index(self, index: DesiredIndex, digest: str, key_id: str) -> None:
        known = self._token_by_id
        tokens = {one.id: known.get(one.id) or order_token(one.id) for one in index.orders}
        entries = {tokens[entry.id]: entry for entry in index.orders}
        wanted = frozenset(entry.digest for entry in index.orders)
        parts_by_digest = {
            digest: parts for digest, parts in self._parts_by_digest.items() if digest in wanted
        }
        # Nothing below fails before all of it is done.
        self._index, self._key_id, self._is_holding_back = index, key_id, False
        self._newest_by_key[key_id] = index.version
        self._echo = IndexEcho(epoch=index.epoch, sequence=index.sequence, digest=digest)
        self._entries_by_token, self._token_by_id = entries, tokens
        self._parts_by_digest = parts_by_digest
        self._present_digests &= wanted
        try:
            self.journal.delete_contents_except(wanted)
        except JournalError as error:
            _log.warning("old contents stay on disk until the next index: %s", error)

    def _limit_pending_parts(self) -> None:
        """Drops the largest incomplete contents, so that a small machine's memory suffices."""
        sizes = {
            digest: _total_bytes(parts.values()) for digest, parts in self._parts_by_digest.items()
        }
        while sum(sizes.values()) > _MAX_PENDING_BYTES:
            largest = max(sizes, key=lambda digest: sizes[digest])
            del self._parts_by_digest[largest], sizes[largest]


def _total_bytes(parts: Iterable[bytes]) -> int:
    return sum(len(part) for part in parts)
