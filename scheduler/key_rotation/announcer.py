"""Announces which keys sign for the hub, until each agent has said that it knows.

The announcement is signed by the present key and, as long as it is valid, by the key before, for
agents that were away while the keys changed.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agents.protocol.envelope import seal
from agents.protocol.hub_requests import HUB_REQUEST, WANT_STATUS, HubRequest
from agents.protocol.hub_trust.key_set import HubKeySet
from agents.protocol.keys import PublicKey, SigningKey
from agents.protocol.topics import site_topic
from scheduler.key_rotation.key_files import (
    WAITING_FILE,
    KeyState,
    drop_retired,
    read_key_state,
)
from scheduler.mqtt.outbox import Outbox
from scheduler.pki.files import write_file
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_REPEAT_SECONDS = 10.0
_MAX_PER_ROUND = 200


@dataclass(slots=True, kw_only=True)
class KeyAnnouncer:
    """Announces the hub's keys.

    Attributes:
        root: the data directory.
        signing: signs now.
        outbox: messages to publish.
        sites: names of the sites that have agents.
        epoch: of this leader; 0: it does not lead, and announces nothing.
        clock: for pauses.
    """

    root: Path
    signing: SigningKey
    outbox: Outbox
    sites: Callable[[], Iterable[str]]
    epoch: Callable[[], int]
    clock: Clock
    state: KeyState = field(init=False)
    _known: dict[str, frozenset[str]] = field(default_factory=dict, init=False)
    _told_seconds: dict[str, float] = field(default_factory=dict, init=False)
    _waiting: list[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.state = read_key_state(self.root, self.signing.public)

    @property
    def public_keys(self) -> tuple[str, ...]:
        """The keys that a machine which joins now should trust."""
        announced = self.state.announced
        if announced is not None and self.state.is_certified:
            return announced.keys
        return (str(self.signing.public),)

    @property
    def root_keys(self) -> tuple[str, ...]:
        """The key of the offline root, if there is one."""
        return (str(self.state.root),) if self.state.root else ()

    def note_trusted(self, site: str, key_ids: Iterable[str]) -> None:
        """What an agent says it trusts; it is about its own trust alone."""
        self._known[site] = frozenset(key_ids)

    async def run(self) -> None:
        """Looks at the files and announces, until cancelled."""
        while True:
            self.state = read_key_state(self.root, self.signing.public)
            drop_retired(self.root, self.state)
            announced = self.state.announced
            if announced is not None and self.state.is_certified and self.epoch():
                self._announce(announced)
            await self.clock.sleep(_LOOK_SECONDS)

    def _announce(self, announced: HubKeySet) -> None:
        wanted = frozenset(PublicKey.parse(key).kid for key in announced.keys)
        waiting = sorted(one for one in self.sites() if self._known.get(one) != wanted)
        now, told = self.clock.monotonic(), 0
        for site in waiting:
            due = self._told_seconds.get(site, float("-inf")) + _REPEAT_SECONDS <= now
            if due and told < _MAX_PER_ROUND:
                self._told_seconds[site] = now
                self._tell(site, announced)
                told += 1
        if waiting != self._waiting:
            write_file(self.root / WAITING_FILE, "\n".join(waiting).encode(), mode=0o644)
            self._waiting = waiting

    def _tell(self, site: str, announced: HubKeySet) -> None:
        request = HubRequest(
            site=site, epoch=self.epoch(), wants=(WANT_STATUS,), hub_keys=announced
        )
        topic, data = site_topic(site, "hub"), HUB_REQUEST.encode(request)
        for key in filter(None, (self.signing, self.state.previous)):
            sealed = seal(data, topic=topic, key=key)
            self.outbox.put_request(topic, sealed, kind=f"hub keys {key.public.kid}")
