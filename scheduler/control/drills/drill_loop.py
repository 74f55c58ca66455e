"""Treats a site as lost for a while: what it sends is not taken in, and nothing is sent to it.

All else is as it always is: the site falls silent by its health, failover replaces what its rules
allow, and when the drill ends the site is back with its next report. What runs there runs on until
then. The drill stands in the hub, so it ends by itself whatever is killed: on time, by an
operator's word, or with its Site. Report and times are recorded in the ledger.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from scheduler.control.clock_events import ClockEvents
from scheduler.control.drills.drill_word import (
    DRILL_MAP,
    DRILL_STATE_MAP,
    DrillState,
    DrillWord,
    RefusedWord,
    drill_state_body,
    drill_word_body,
    read_drill_state,
    read_drill_word,
)
from scheduler.control.drills.recovery_meter import RecoveryMeter
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.failover.gate import EvictionGate
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Conflict, Hub, HubError, NotFound
from scheduler.control.ports.ledger import DecisionRecorder
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.control.sites.sites import Sites
from scheduler.model.drills.drill import Drill, DrillRefusal, SiteToLose, why_no_drill
from scheduler.model.drills.report import EndedBy, begun_line, drill_report
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Condition
from scheduler.model.site_health import deadlines_of
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

CONDITION: Final = "Drill"
_READ_SECONDS, _MEASURE_SECONDS = 1.0, 0.25
"""A drill that runs is measured more often than a word is looked for."""
_WRITE_SECONDS = 5.0
"""Between two writes of what is measured, while nothing begins or ends."""
_MAX_WORD_AGE_SECONDS = 60.0
"""A word that waited longer, as no scheduler led, would lose a site when no operator expects it."""
_FIELD_MANAGER = "kapok"
_BEGAN, _ENDED = "began", "ended"
_NOTHING: Final = DrillState()


@dataclass(slots=True, kw_only=True)
class DrillLoop:
    """Follows the words of operators, measures the drill that runs, and ends it.

    Attributes:
        hub: holds the ConfigMaps.
        sites: the health of sites.
        meter: measures what failover does.
        gate: whether evictions are allowed.
        clock_events: marks a site as silent that was so under the leader before.
        recorder: appends to the ledger.
        events: writes Events about the Site.
        on_end: called with the site of a drill that ended, so that it is asked and served again.
        epoch: gives the leader's epoch.
        clock: the time.
        faults: handles what fails in a round.
    """

    hub: Hub
    sites: Sites
    meter: RecoveryMeter
    gate: EvictionGate
    clock_events: ClockEvents
    recorder: DecisionRecorder
    events: EventRecorder
    on_end: Callable[[str], None]
    epoch: Callable[[], int]
    clock: Clock
    faults: Faults
    _state: DrillState | None = field(default=None, init=False)
    _taken_in: str = field(default="", init=False)
    _begun_seconds: float = field(default=0.0, init=False)
    _read_at_seconds: float = field(default=float("-inf"), init=False)
    _written: tuple[DrillState, str] | None = field(default=None, init=False)
    _written_at_seconds: float = field(default=float("-inf"), init=False)
    _unrecorded: deque[tuple[datetime, dict[str, Any]]] = field(default_factory=deque, init=False)
    _has_failed: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Looks again and again; runs until cancelled."""
        while True:
            with self.faults.barrier("drill"):
                await self.sync()
            await self.clock.sleep(_READ_SECONDS if self.running is None else _MEASURE_SECONDS)

    @property
    def running(self) -> Drill | None:
        """The drill that runs."""
        return None if self._state is None else self._state.running

    def is_lost(self, site: str) -> bool:
        """Whether a site is treated as lost: nothing is received of it, nothing is sent to it."""
        running = self.running
        return running is not None and running.site == site

    def condition_of(self, site: str) -> Condition | None:
        """The condition of the site that a drill treats as lost; None of all others.

        Until it is known whether a drill goes on, a Site keeps what the leader before has said.
        """
        if self._state is None:
            known = self.sites.objects.sites.get(site)
            said = known.status.conditions if known is not None else ()
            return next((one for one in said if one.type == CONDITION), None)
        running = self.running
        if running is None or running.site != site:
            return None
        until = format_rfc3339(running.started_at + timedelta(seconds=running.for_seconds))
        by, why = running.by or "an operator", f": {running.why}" if running.why else ""
        return Condition(
            type=CONDITION,
            status="True",
            reason="TreatedAsLost",
            message=f"drill {running.id}, asked for by {by}{why}; until {until} nothing of the "
            "site is taken in and nothing is sent to it; what runs there runs on",
            last_transition_time=running.started_at.replace(microsecond=0),
        )

    async def sync(self) -> None:
        """One round. A drill ends in time also while neither hub nor ledger answers."""
        try:
            if self._state is None:
                await self._load()
            await self._measure()
            await self._append()
            now = self.clock.monotonic()
            if now - self._read_at_seconds >= _READ_SECONDS:
                await self._follow(await self._read_word())
                self._read_at_seconds = now
            await self._append()
            await self._write()
        except HubError as error:
            if not self._has_failed:
                _log.warning("drills: the hub is not read or written: %s", error)
            self._has_failed = True
        else:
            self._has_failed = False

    # ------------------------------------------------------------ what stands in the hub

    async def _load(self) -> None:
        """Reads what the leader before has left; goes on with its drill, or ends that."""
        try:
            body = await self.hub.get(CONFIG_MAPS, DRILL_STATE_MAP, NAMESPACE)
            state, self._taken_in = read_drill_state(body)
        except NotFound:
            state = _NOTHING
        else:
            self._written = (state, self._taken_in)
        self._state = state
        running = state.running
        if running is None:
            return
        passed = (self.clock.now() - running.started_at).total_seconds()
        passed = min(max(0.0, passed), running.for_seconds)
        self._begun_seconds = self.clock.monotonic() - passed
        _log.warning(
            "the drill of %s goes on, %.0f of %g s are over",
            running.site,
            passed,
            running.for_seconds,
            extra={"site": running.site},
        )
        if passed < running.for_seconds and running.detection_seconds is not None:
            self.clock_events.mark_silent(running.site)

    async def _read_word(self) -> DrillWord:
        try:
            return read_drill_word(await self.hub.get(CONFIG_MAPS, DRILL_MAP, NAMESPACE))
        except NotFound:
            # RBAC cannot name what is created: so operators need no right to create ConfigMaps.
            try:
                return read_drill_word(
                    await self.hub.create(CONFIG_MAPS, drill_word_body(DrillWord()))
                )
            except Conflict:
                return read_drill_word(await self.hub.get(CONFIG_MAPS, DRILL_MAP, NAMESPACE))

    async def _write(self) -> None:
        """Writes what is new: at once when a drill begins or ends, else now and then.

        An end is written only once its report is recorded, so that no kill loses the report.
        """
        state, now = self._state or _NOTHING, self.clock.monotonic()
        if self._unrecorded or self._written == (state, self._taken_in):
            return
        before, taken_in = self._written or (None, None)
        is_progress = (
            before is not None
            and taken_in == self._taken_in
            and before.running is not None
            and state.running is not None
        )
        if not is_progress or now - self._written_at_seconds >= _WRITE_SECONDS:
            await self._apply(state)

    async def _apply(self, state: DrillState) -> None:
        body = drill_state_body(state, self._taken_in)
        await self.hub.apply(CONFIG_MAPS, body, field_manager=_FIELD_MANAGER)
        self._written = (state, self._taken_in)
        self._written_at_seconds = self.clock.monotonic()

    # ------------------------------------------------------------ words

    async def _follow(self, word: DrillWord) -> None:
        """Does what a word asks for, once; what is not done has its reason in the hub."""
        if not word.id or word.id == self._taken_in:
            return
        refusal = None
        if word.action == "lose":
            refusal = self._why_not(word) or await self._begin(word)
        elif word.action == "end":
            running = self.running
            if running is not None and word.drill in ("", running.id):
                await self._end("operator")
            else:
                refusal = DrillRefusal("NoDrill", "no such drill runs")
        else:
            refusal = DrillRefusal("NotReadable", f"write the ConfigMap {DRILL_MAP} by kapok drill")
        self._taken_in = word.id
        if refusal is not None:
            _log.warning("no drill of %s: %s", word.site or "a site", refusal.message)
            refused = RefusedWord(id=word.id, reason=refusal.reason, message=refusal.message)
            self._state = msgspec.structs.replace(self._state or _NOTHING, refused=refused)

    def _why_not(self, word: DrillWord) -> DrillRefusal | None:
        said, now = word.said_at, self.clock.now()
        if said is None or abs((now - said).total_seconds()) > _MAX_WORD_AGE_SECONDS:
            return DrillRefusal(
                "WordTooOld",
                f"it was asked for more than {_MAX_WORD_AGE_SECONDS:g} s ago, or the clocks "
                "differ by as much; ask again",
            )
        known, state = self.sites.objects.sites.get(word.site), self.sites.states.get(word.site)
        site = None
        if known is not None and state is not None:
            site = SiteToLose(
                labels=known.metadata.labels,
                is_reporting=state.is_ready,
                silent_after_seconds=deadlines_of(
                    state.health, self.sites.health_limits
                ).silent_seconds,
            )
        return why_no_drill(
            word.site,
            word.seconds,
            site=site,
            known=self.sites.objects.sites,
            held_because=self.gate.why_not(word.site),
            running=self.running,
        )

    async def _begin(self, word: DrillWord) -> DrillRefusal | None:
        """Begins a drill, once that is recorded and stands in the hub."""
        work, unmeasured = self.meter.begin(word.site)
        drill = Drill(
            id=word.id,
            site=word.site,
            by=word.by,
            why=word.why,
            for_seconds=word.seconds,
            started_at=self.clock.now(),
            work=work,
            unmeasured=unmeasured,
        )
        content = {
            "phase": _BEGAN,
            "line": begun_line(drill),
            **{name: getattr(drill, name) for name in ("id", "site", "by", "why")},
            "forSeconds": drill.for_seconds,
            "workloads": len(work) + unmeasured,
        }
        try:
            await self._record(drill.started_at, content)
        except NotRecorded as error:
            return DrillRefusal("NotRecorded", f"the ledger cannot be written: {error}")
        self._taken_in = word.id
        state = DrillState(running=drill, last=(self._state or _NOTHING).last)
        try:
            await self._apply(state)
        except HubError:
            self._taken_in = ""  # it is asked for again in the next round
            raise
        self._state, self._begun_seconds = state, self.clock.monotonic()
        self._say("DrillBegan", content["line"], drill.site)
        return None

    # ------------------------------------------------------------ measuring and ending

    async def _measure(self) -> None:
        """Measures the drill that runs, and ends it when its time is over or its Site is gone."""
        running = self.running
        if running is None or self._state is None:
            return
        elapsed = self._elapsed()
        state = self.sites.states.get(running.site)
        if state is None or running.site not in self.sites.objects.sites:
            await self._end("site-gone")
            return
        if elapsed >= running.for_seconds:
            await self._end("time")
            return
        after = running
        if after.detection_seconds is None and state.health.is_absent:
            after = msgspec.structs.replace(after, detection_seconds=elapsed)
        if after.detection_seconds is not None:
            work = await self.meter.measure(after.site, after.work, elapsed)
            after = msgspec.structs.replace(after, work=work)
        if after != running:
            self._state = msgspec.structs.replace(self._state, running=after)

    def _elapsed(self) -> float:
        return round(max(0.0, self.clock.monotonic() - self._begun_seconds), 3)

    async def _end(self, by: EndedBy) -> None:
        running = self.running
        if running is None:
            return
        elapsed = min(self._elapsed(), running.for_seconds)
        state = self.sites.states.get(running.site)
        silent_seconds = None
        if running.detection_seconds is not None and state is not None:
            silent_seconds = self.clock.monotonic() - state.health.quiet_since_seconds
        now = self.clock.now()
        report = drill_report(
            running,
            seconds=elapsed,
            ended_at=now,
            ended_by=by,
            reasons=self.meter.reasons(running.site, running.work, silent_seconds=silent_seconds),
        )
        self._state = DrillState(last=report)
        self._unrecorded.append((now, {"phase": _ENDED, **report}))
        self._say("DrillEnded", report["line"], running.site)
        self.on_end(running.site)

    def _say(self, reason: str, message: str, site: str) -> None:
        _log.warning("%s: %s", reason, message, extra={"site": site})
        known = self.sites.objects.sites.get(site)
        if known is not None:
            self.events.record(known, reason=reason, message=message, is_warning=False)

    # ------------------------------------------------------------ the ledger

    async def _append(self) -> None:
        while self._unrecorded:
            at, content = self._unrecorded[0]
            try:
                await self._record(at, content)
            except NotRecorded as error:
                _log.warning("the report of a drill is not recorded yet: %s", error)
                return
            self._unrecorded.popleft()

    async def _record(self, at: datetime, content: dict[str, Any]) -> None:
        """Appends what the newest record does not say already, as after a kill in between."""
        last = self.recorder.last_drill() or {}
        if all(last.get(name) == content[name] for name in ("id", "phase")):
            return
        await self.recorder.record_drill(epoch=self.epoch(), at=at, content=content)
