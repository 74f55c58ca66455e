"""Sites that report and are not admitted: a list from which an operator admits them.

The list is written to a ConfigMap, so that `kapok get sites --pending` and plain kubectl read it
from the hub like everything else. It is bounded, because any client of the broker can add to it,
and fair, so that no crowd of names hides a newcomer:

- A newcomer is always listed at once. If the list is full, another entry is removed, chosen at
  random: a sender of many names mostly removes its own, and an agent that is removed is listed
  again with its next message.
- One key has at most four entries, the latest: an agent has a key of its own, so many names with
  one key come from one sender.
"""

import json
import logging
import random
from dataclasses import dataclass, field

from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Hub, HubError
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

CONFIG_MAP = "kapok-pending-sites"
FIELD_MANAGER = "kapok-scheduler"
_MAX_SITES = 400
_MAX_SITES_PER_KEY = 4
_WRITE_SECONDS, _FULL_WRITE_SECONDS = 2.0, 10.0  # a full list is written less often
_FORGET_SECONDS = 600.0


@dataclass(slots=True)
class _UnadmittedSite:
    public_key: str
    first_seen: str
    last_seconds: float


@dataclass(slots=True)
class UnadmittedSites:
    """The sites that wait to be admitted.

    Attributes:
        clock: for `firstSeen`, and to forget sites that stopped reporting.
        faults: handles what fails in a write.
        chance: chooses the entry that a newcomer replaces.
    """

    clock: Clock
    faults: Faults
    chance: random.Random = field(default_factory=random.SystemRandom)
    _sites: dict[str, _UnadmittedSite] = field(default_factory=dict)
    _sites_of_key: dict[str, list[str]] = field(default_factory=dict)
    _is_changed: bool = True

    def record(self, site: str, public_key: str) -> None:
        """Lists a site that reports under this name with this key."""
        known = self._sites.get(site)
        if known and known.public_key == public_key:
            known.last_seconds = self.clock.monotonic()
            return
        self.remove(site)
        self._make_room(public_key)
        now = self.clock.now().isoformat(timespec="seconds")
        self._sites[site] = _UnadmittedSite(public_key, now, self.clock.monotonic())
        self._sites_of_key.setdefault(public_key, []).append(site)
        self._is_changed = True

    def remove(self, site: str) -> None:
        """Removes a site that is admitted now."""
        known = self._sites.pop(site, None)
        if known is None:
            return
        self._is_changed = True
        siblings = self._sites_of_key[known.public_key]
        siblings.remove(site)
        if not siblings:
            del self._sites_of_key[known.public_key]

    def _make_room(self, public_key: str) -> None:
        """Removes an entry if the key, or the list, has as many as it may have."""
        siblings = self._sites_of_key.get(public_key, [])
        if len(siblings) >= _MAX_SITES_PER_KEY:
            self.remove(siblings[0])
        elif len(self._sites) >= _MAX_SITES:
            self.remove(self.chance.choice(list(self._sites)))

    def __contains__(self, site: str) -> bool:
        return site in self._sites

    def __len__(self) -> int:
        return len(self._sites)

    async def run(self, hub: Hub) -> None:
        """Writes the list when it changes; runs until cancelled."""
        while True:
            with self.faults.barrier("pending-sites"):
                self._forget_old()
                if self._is_changed:
                    await self._write(hub)
            is_full = len(self._sites) >= _MAX_SITES
            await self.clock.sleep(_FULL_WRITE_SECONDS if is_full else _WRITE_SECONDS)

    async def _write(self, hub: Hub) -> None:
        self._is_changed, is_written = False, False
        try:
            await hub.apply(CONFIG_MAPS, self._config_map_body(), field_manager=FIELD_MANAGER)
            is_written = True
        except HubError as error:
            _log.warning("pending sites: not written, retrying: %s", error)
        finally:
            self._is_changed |= not is_written

    def _forget_old(self) -> None:
        limit = self.clock.monotonic() - _FORGET_SECONDS
        for site in [name for name, one in self._sites.items() if one.last_seconds < limit]:
            self.remove(site)

    def _config_map_body(self) -> dict[str, object]:
        rows = {
            site: json.dumps({"agentKey": one.public_key, "firstSeen": one.first_seen})
            for site, one in sorted(self._sites.items())
        }
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
            "data": rows,
        }
