"""Sites that report and are not admitted: a list from which an operator admits them.

The list is written to a ConfigMap, so that `kapok get sites --pending` and plain kubectl read it
from the hub like everything else. It is bounded, because any client of the broker can add to it.
"""

import json
import logging
from dataclasses import dataclass, field

from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Hub, HubError
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

CONFIG_MAP = "kapok-pending-sites"
FIELD_MANAGER = "kapok-scheduler"
_MAX_SITES = 200
_WRITE_SECONDS = 2.0
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
    """

    clock: Clock
    faults: Faults
    _sites: dict[str, _UnadmittedSite] = field(default_factory=dict)
    _is_changed: bool = True

    def record(self, site: str, public_key: str) -> None:
        """Lists a site that reports under this name with this key."""
        known = self._sites.get(site)
        if known and known.public_key == public_key:
            known.last_seconds = self.clock.monotonic()
        elif known or len(self._sites) < _MAX_SITES:
            now = self.clock.now().isoformat(timespec="seconds")
            self._sites[site] = _UnadmittedSite(public_key, now, self.clock.monotonic())
            self._is_changed = True

    def remove(self, site: str) -> None:
        """Removes a site that is admitted now."""
        self._is_changed = self._sites.pop(site, None) is not None or self._is_changed

    def __len__(self) -> int:
        return len(self._sites)

    async def run(self, hub: Hub) -> None:
        """Writes the list when it changes; runs until cancelled."""
        while True:
            with self.faults.barrier("pending-sites"):
                self._forget_old()
                if self._is_changed:
                    await self._write(hub)
            await self.clock.sleep(_WRITE_SECONDS)

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
