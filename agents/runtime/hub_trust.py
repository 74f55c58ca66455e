"""Which keys of the hub this agent trusts: those of its settings, then those it has learned.

What was learned is on the disk. It is about the settings that it was learned under: when a person
writes other keys into them, it no longer counts.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.protocol.errors import WireError
from agents.protocol.hub_trust.key_set import HUB_KEY_SET, HubKeySet
from agents.protocol.keys import TrustedKeys
from agents.runtime.data_dir import write_durably

_log = logging.getLogger(__name__)

HUB_KEYS_FILE: Final = "hub-keys.json"
_MAX_FILE_BYTES: Final = 64 * 1024


@dataclass(slots=True, kw_only=True)
class HubTrust:
    """The keys of the hub that this agent trusts.

    Attributes:
        data_dir: where what is learned is kept.
        configured: the keys of the settings.
        roots: the keys of the offline root; with any, a set without their certificate is refused.
        learned: the newest set; None: none yet.
    """

    data_dir: Path
    configured: tuple[str, ...]
    roots: TrustedKeys
    learned: HubKeySet | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.learned = self._read()

    @property
    def trusted(self) -> TrustedKeys:
        """The keys that count now."""
        return TrustedKeys.parse(self.learned.keys if self.learned else self.configured)

    def accept(self, announced: HubKeySet) -> bool:
        """Takes a set that a trusted key has announced; returns whether it is a new one.

        Raises:
            WireError: the set is empty, has what is no key, or no root has certified it.
            OSError: it cannot be written, and does not count.
        """
        if self.learned and announced.sequence <= self.learned.sequence:
            return False
        if not announced.keys:
            raise WireError("malformed", "a set of no keys", "hubKeys")
        TrustedKeys.parse(announced.keys)
        if self.roots.ids() and not announced.is_certified(self.roots):
            raise WireError("signature", "the hub's root has not certified this set", "hubKeys")
        tree = {"under": list(self.configured), "set": HUB_KEY_SET.to_json(announced)}
        write_durably(self.data_dir / HUB_KEYS_FILE, json.dumps(tree).encode())
        self.learned = announced
        _log.info("the hub signs with %s from now on", ", ".join(announced.keys))
        return True

    def _read(self) -> HubKeySet | None:
        """What was learned before; None if there is nothing, or it is about other settings."""
        try:
            with (self.data_dir / HUB_KEYS_FILE).open("rb") as file:
                tree = json.loads(file.read(_MAX_FILE_BYTES))
            if tree["under"] != list(self.configured):
                return None
            found = HUB_KEY_SET.from_json(tree["set"])
            TrustedKeys.parse(found.keys)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            _log.warning("%s cannot be read: %s; the settings' keys count", HUB_KEYS_FILE, error)
            return None
        return found if found.keys else None
