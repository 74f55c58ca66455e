"""Reads the operator's word on evictions from the hub, and writes there what holds them back."""

import logging
from dataclasses import dataclass, field

from scheduler.control.failover.freeze_word import (
    EVICTIONS_MAP,
    FREEZE_MAP,
    NO_WORD,
    evictions_body,
    freeze_body,
    read_word,
)
from scheduler.control.failover.storm_gate import StormGate
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Conflict, Hub, HubError, NotFound
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_READ_SECONDS = 0.5
"""An operator waits for the answer; a watch would need rights to list what others keep there."""
_FIELD_MANAGER = "kapok"
_NOT_WRITTEN = ("healthyRatio", "excusedSites")
"""What changes with every site is not worth a write to the hub, and would soon be untrue there;
/api/v1/evictions has it."""


@dataclass(slots=True, kw_only=True)
class FreezeSync:
    """Keeps the gate and the two ConfigMaps in step.

    Attributes:
        hub: holds the ConfigMaps.
        gate: takes in the word, and says what holds evictions back.
        clock: for the intervals.
        faults: handles what fails.
    """

    hub: Hub
    gate: StormGate
    clock: Clock
    faults: Faults
    _written: tuple[dict[str, object], str] | None = field(default=None, init=False)
    _has_failed: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Reads and writes twice a second; runs until cancelled."""
        while True:
            with self.faults.barrier("freeze"):
                await self.sync()
            await self.clock.sleep(_READ_SECONDS)

    async def sync(self) -> None:
        """Reads the word and writes the state, if it is another one.

        While the hub does not answer, the last word holds; before the first, nothing is evicted.
        """
        try:
            await self._read()
            await self._write()
        except HubError as error:
            if not self._has_failed:
                _log.warning("freeze of evictions: the hub is not read or written: %s", error)
            self._has_failed = True
        else:
            self._has_failed = False

    async def _read(self) -> None:
        try:
            body = await self.hub.get(CONFIG_MAPS, FREEZE_MAP, NAMESPACE)
        except NotFound:
            # RBAC cannot name what is created: so operators need no right to create ConfigMaps.
            try:
                body = await self.hub.create(CONFIG_MAPS, freeze_body(NO_WORD))
            except Conflict:
                body = await self.hub.get(CONFIG_MAPS, FREEZE_MAP, NAMESPACE)
        word = read_word(body)
        is_new = self.gate.word not in (None, word)
        self.gate.on_word(word)
        if is_new:
            verb, why = ("freezes" if word.is_frozen else "thaws"), word.why or "no reason given"
            _log.warning("%s %s evictions: %s", word.by or "an operator", verb, why)

    async def _write(self) -> None:
        if self.gate.word is None:
            return
        word_id = self.gate.word.id
        stable = {key: value for key, value in self.gate.shown().items() if key not in _NOT_WRITTEN}
        if self._written == (stable, word_id):
            return
        body = evictions_body(stable, word_id)
        await self.hub.apply(CONFIG_MAPS, body, field_manager=_FIELD_MANAGER)
        self._written = (stable, word_id)


SUBJECT = (NAMESPACE, EVICTIONS_MAP)
"""The object that Events about storms are about."""
