"""Records in the ledger what held evictions back, and when they were allowed again.

A record holds all that is in force from its time on. A freeze that no person imposed is recorded
as soon as a site is silent: before that it holds nothing back, and each start has one.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from scheduler.control.failover.freeze_word import NO_WORD, FreezeWord
from scheduler.control.failover.storm_gate import StormGate
from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.model.storm import StormState
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_MAX_PENDING = 256
_MAX_SILENT_NAMES = 100
_OPERATOR, _FLEET, _LINK = "operator", "fleet", "link"


class _InForce(NamedTuple):
    """What makes another record: who froze, which domains are held, the operator's last word."""

    freeze: str = ""
    held: tuple[tuple[str, str, bool], ...] = ()
    word: str = ""


@dataclass(slots=True, kw_only=True)
class FreezeRecord:
    """Appends a record whenever something else holds evictions back.

    Attributes:
        recorder: appends to the ledger.
        gate: knows what holds evictions back.
        clock: for the times.
        faults: handles what fails.
        epoch: gives the leader's epoch.
    """

    recorder: DecisionRecorder
    gate: StormGate
    clock: Clock
    faults: Faults
    epoch: Callable[[], int]
    _last: _InForce | None = field(default=None, init=False)
    _pending: deque[tuple[datetime, dict[str, Any]]] = field(default_factory=deque, init=False)
    _has_failed: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Looks and appends once a second; runs until cancelled."""
        while True:
            with self.faults.barrier("freeze record"):
                await self.sync()
            await self.clock.sleep(_LOOK_SECONDS)

    async def sync(self) -> None:
        """Notes what is in force now, and appends what is not recorded yet."""
        if self._last is None:
            self._last = _in_force_of(self.recorder.last_evictions() or {})
        self.note()
        await self._append()

    def on_change(self, _before: StormState, _after: StormState) -> None:
        """Notes a change of the gate."""
        self.note()

    def note(self) -> None:
        """Notes what is in force, if it is not what was noted last."""
        if self._last is None or self.gate.word is None:
            return
        silent = self._silent()
        now = self._in_force(has_silent=bool(silent))
        if now == self._last:
            return
        is_word = now.word != self._last.word
        self._last = now
        if len(self._pending) >= _MAX_PENDING:
            self._pending.pop()  # the newest says what is in force, the oldest when it began
        self._pending.append((self.clock.now(), self._content(now, silent, is_word=is_word)))

    def _in_force(self, *, has_silent: bool) -> _InForce:
        freeze, word = self.gate.state.freeze, self.gate.word or NO_WORD
        kind = ""
        if freeze is not None:
            kind = freeze.reason if freeze.reason in (_OPERATOR, _FLEET) else _LINK
            was_frozen = self._last is not None and bool(self._last.freeze)
            if kind == _LINK and not has_silent and not was_frozen:
                kind = ""
        held = tuple((*one.domain, one.until_seconds is not None) for one in self.gate.state.held)
        return _InForce(kind, held, _id_of(word))

    def _silent(self) -> list[str]:
        return sorted(name for name, one in self.gate.sites.states.items() if one.health.is_absent)

    def _content(self, now: _InForce, silent: list[str], *, is_word: bool) -> dict[str, Any]:
        shown, word = self.gate.shown(), self.gate.word or NO_WORD
        is_frozen = bool(now.freeze)
        content: dict[str, Any] = {
            "line": self._line(now, is_word=is_word),
            "frozen": is_frozen,
            "held": shown["held"],
            "evictionsPerSecond": shown["evictionsPerSecond"],
            "sites": len(self.gate.sites.states),
            "silentSites": len(silent),
            "silent": silent[:_MAX_SILENT_NAMES],
        }
        if is_frozen:
            content |= {key: shown[key] for key in ("reason", "since", "why", "by")}
        if _id_of(word):
            content["word"] = word.to_data()
        return content

    def _line(self, now: _InForce, *, is_word: bool) -> str:
        freeze, word, parts = self.gate.state.freeze, self.gate.word or NO_WORD, list[str]()
        if is_word and _id_of(word):
            verb = "freezes" if word.is_frozen else "thaws"
            why = word.why or "no reason given"
            parts.append(f"{word.by or 'an operator'} {verb} evictions: {why}")
        if now.freeze and freeze is not None and not (is_word and freeze.reason == _OPERATOR):
            parts.append(f"nothing is evicted: {freeze.why}")
        for one in self.gate.shown_domains():
            until = one["until"]
            end = f"until {until}" if until else "until more other sites report"
            parts.append(f"the {one['kind']} {one['name']} is held {end}")
        if not now.freeze and not parts:
            rate = self.gate.state.per_second
            parts.append(
                "replicas of silent sites may be replaced again"
                + (f", at most {rate:g} a second" if rate else "")
            )
        return "; ".join(parts)

    async def _append(self) -> None:
        while self._pending:
            at, content = self._pending[0]
            try:
                await self.recorder.record_evictions(epoch=self.epoch(), at=at, content=content)
            except NotRecorded as error:
                if not self._has_failed:
                    _log.warning("what holds evictions back is not recorded yet: %s", error)
                self._has_failed = True
                return
            self._has_failed = False
            self._pending.popleft()


def _id_of(word: FreezeWord) -> str:
    """The id of an operator's word; "": it is what the leader made the object with."""
    return word.id if word.is_frozen or word.since or word.by else ""


def _in_force_of(content: Mapping[str, Any]) -> _InForce:
    """What the newest record says is in force; what it cannot say is recorded once more."""
    freeze = ""
    if content.get("frozen"):
        reason = str(content.get("reason", ""))
        freeze = reason if reason in (_OPERATOR, _FLEET) else _LINK
    held = content.get("held")
    domains = [
        (str(one.get("kind")), str(one.get("name")), one.get("until") is not None)
        for one in (held if isinstance(held, list) else ())
        if isinstance(one, Mapping)
    ]
    word = content.get("word")
    return _InForce(
        freeze, tuple(domains), str(word.get("id", "")) if isinstance(word, Mapping) else ""
    )
