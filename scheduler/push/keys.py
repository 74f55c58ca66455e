"""Admits the keys of the push process of `kapok up`: it is this hub's own.

A push process of another machine proves nothing by running: its keys are admitted by people, with
`kapok admit`. This one runs in the data directory of the hub, so the hub reads the keys from there.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scheduler.control.ports.hub import SITES, Conflict, HubError
from scheduler.hub.client import HubClient
from scheduler.model.kinds.site import Site
from scheduler.mqtt.keyring import canonical_public_key
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

_PUBLIC_KEY_FILE: Final = "agent.pub"
_MAX_KEY_BYTES: Final = 256
_MAX_KEYS: Final = 4  # of Delivery.agent_keys
_INTERVAL_SECONDS: Final = 1.0


@dataclass(slots=True, kw_only=True)
class PushKeys:
    """Keeps the keys of the push process in the Sites of mode Push, and in no others.

    Attributes:
        sites: the Sites by name, as the informer has them.
        folder: has a folder for each site of the push process, with the site's public key.
        client: of the hub.
        clock: for the interval.
    """

    sites: Mapping[str, Site]
    folder: Path
    client: HubClient
    clock: Clock
    _said: set[str] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            for name in list(self.sites):
                await self._admit(name)
            await self.clock.sleep(_INTERVAL_SECONDS)

    async def _admit(self, name: str) -> None:
        site = self.sites.get(name)
        key = self._key_of(name) if site is not None else ""
        if site is None or not key:
            return
        keys = keys_with(site, key)
        if keys is None:
            if name not in self._said:
                self._said.add(name)
                _log.warning("site %s: spec.delivery.agentKeys is full; remove a key of it", name)
            return
        self._said.discard(name)
        if keys == tuple(site.spec.delivery.agent_keys):
            return
        patch = {
            # With the version, a change that another client makes meanwhile is a conflict.
            "metadata": {"resourceVersion": site.metadata.resource_version},
            "spec": {"delivery": {"agentKeys": list(keys)}},
        }
        try:
            await self.client.merge_patch(SITES, name, patch)
            verb = "admitted" if key in keys else "removed"
            _log.info("site %s: the key of the push process is %s", name, verb)
        except Conflict:
            return  # the next round has what another client wrote
        except HubError as error:
            _log.warning("site %s: its key is not written: %s", name, error)

    def _key_of(self, name: str) -> str:
        """The public key of a site's agent in the push process; empty: it has had none yet."""
        try:
            with (self.folder / name / _PUBLIC_KEY_FILE).open("rb") as file:
                return canonical_public_key(file.read(_MAX_KEY_BYTES).decode().strip())
        except (OSError, ValueError):
            return ""


def keys_with(site: Site, key: str) -> tuple[str, ...] | None:
    """The keys that a Site should have; None: there is no room.

    Args:
        site: the Site.
        key: that of its agent in the push process, which only a Site of mode Push admits.
    """
    present = tuple(site.spec.delivery.agent_keys)
    if site.spec.delivery.mode != "Push":
        return tuple(one for one in present if one != key)
    if key in present:
        return present
    return (*present, key) if len(present) < _MAX_KEYS else None
