"""How `kapok drill` speaks with the hub: it says a word, and follows the drill until its report."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from scheduler.cli.moving.moves import who_asks
from scheduler.control.drills.drill_word import (
    DRILL_MAP,
    DRILL_STATE_MAP,
    DrillState,
    DrillWord,
    drill_word_body,
    read_drill_state,
    read_drill_word,
)
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    NAMESPACE,
    SITES,
    Conflict,
    HubError,
    NotFound,
    Object,
)
from scheduler.hub.client import HubClient
from scheduler.model.drills.drill import Drill
from scheduler.runtime.clock import SystemClock
from scheduler.whatif.scenario.words import nearest

_CONFIRMED_WITHIN_SECONDS: Final = 15.0
_ASK_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 60.0
"""So much longer than the drill its report is waited for: the scheduler may start again."""
_MAX_TRIES: Final = 5

Report = dict[str, Any]


class DrillNotBegun(Exception):
    """The drill does not begin; the message names why.

    Attributes:
        is_usage: the question was wrong, as for a site that does not exist.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.is_usage = reason in ("UnknownSite", "BadLength", "TooShort", "NoDrill")


@dataclass(slots=True, kw_only=True)
class DrillTalk:
    """One operator's conversation about drills.

    Attributes:
        client: of the hub.
        show: called with a line when something of the drill is new.
        report: of the drill, once it is over.
    """

    client: HubClient
    show: Callable[[str], None]
    report: Report | None = None
    _clock: SystemClock = field(default_factory=SystemClock)

    async def state(self) -> tuple[DrillState, str]:
        """What the leader says, and the last word that it has taken in."""
        try:
            return read_drill_state(await self.client.get(CONFIG_MAPS, DRILL_STATE_MAP, NAMESPACE))
        except NotFound:
            return DrillState(), ""

    async def lose(self, site: str, seconds: float, why: str) -> Report:
        """Has a site treated as lost, and follows that to its end.

        When it is cancelled, it ends the drill, and keeps the report.

        Raises:
            DrillNotBegun: it is refused, or no leader takes it in.
            HubError: the hub does not answer.
        """
        try:
            await self.client.get(SITES, site)
        except NotFound:
            listed = (await self.client.list(SITES)).items
            known = nearest(site, [str(one["metadata"]["name"]) for one in listed])
            message = f"there is no Site {site!r}{known}"
            raise DrillNotBegun("UnknownSite", message) from None
        word = DrillWord(
            id=uuid.uuid4().hex[:12],
            action="lose",
            site=site,
            seconds=seconds,
            by=(await who_asks(self.client))[:253],
            why=why,
            said_at=self._clock.now(),
        )
        await self._say(word)
        try:
            await self._wait_until_taken_in(word)
            return await self._follow(word.id, seconds)
        except asyncio.CancelledError:
            await self._end_quietly(word.id)
            raise

    async def end(self) -> Report:
        """Ends the drill that runs; returns its report.

        Raises:
            DrillNotBegun: none runs, or no leader takes the word in.
            HubError: the hub does not answer.
        """
        running = (await self.state())[0].running
        if running is None:
            raise DrillNotBegun("NoDrill", "no drill runs")
        await self._say_end(running.id)
        return await self._follow(running.id, 0.0)

    # ------------------------------------------------------------ words

    async def _say(self, word: DrillWord) -> None:
        """Writes a word that takes no other operator's place."""
        for tries_left in reversed(range(_MAX_TRIES)):
            state, taken_in = await self.state()
            if state.running is not None:
                raise DrillNotBegun("DrillRuns", runs_text(state.running))
            body = await self._word_body()
            before = read_drill_word(body) if body else DrillWord()
            is_fresh = before.said_at is not None and (
                abs((self._clock.now() - before.said_at).total_seconds()) < _GRACE_SECONDS
            )
            if before.id and before.id != taken_in and before.action == "lose" and is_fresh:
                who = before.by or "another operator"
                message = f"{who} asks for a drill of {before.site} just now"
                raise DrillNotBegun("DrillRuns", message)
            try:
                await self._write(word, body)
            except Conflict:
                if not tries_left:
                    raise
            else:
                return

    async def _say_end(self, drill: str) -> None:
        word = DrillWord(
            id=uuid.uuid4().hex[:12], action="end", drill=drill, said_at=self._clock.now()
        )
        for tries_left in reversed(range(_MAX_TRIES)):
            try:
                await self._write(word, await self._word_body())
            except Conflict:
                if not tries_left:
                    raise
            else:
                return

    async def _word_body(self) -> Object | None:
        try:
            return await self.client.get(CONFIG_MAPS, DRILL_MAP, NAMESPACE)
        except NotFound:  # no leader has made it yet
            return None

    async def _write(self, word: DrillWord, before: Object | None) -> None:
        if before is None:
            await self.client.create(CONFIG_MAPS, drill_word_body(word))
            return
        version = before["metadata"]["resourceVersion"]  # another word meanwhile is a conflict
        patch = {"metadata": {"resourceVersion": version}, "data": word.to_data()}
        await self.client.merge_patch(CONFIG_MAPS, DRILL_MAP, patch, namespace=NAMESPACE)

    async def _wait_until_taken_in(self, word: DrillWord) -> None:
        deadline = self._clock.monotonic() + _CONFIRMED_WITHIN_SECONDS
        while True:
            state, taken_in = await self.state()
            if taken_in == word.id:
                break
            if self._clock.monotonic() >= deadline:
                await self._say_end(word.id)
                raise DrillNotBegun(
                    "NoLeader", "no scheduler leads, so nothing begins; the word is taken back"
                )
            await self._clock.sleep(_ASK_SECONDS)
        if state.refused is not None and state.refused.id == word.id:
            raise DrillNotBegun(state.refused.reason, state.refused.message)

    # ------------------------------------------------------------ following

    async def _follow(self, drill: str, seconds: float) -> Report:
        """Waits for the report of a drill; a hub that does not answer for a while is waited for."""
        deadline = self._clock.monotonic() + seconds + _GRACE_SECONDS
        shown = ""
        while True:
            try:
                state, _ = await self.state()
            except HubError:
                if self._clock.monotonic() >= deadline:
                    raise
                state = DrillState()
            if state.last is not None and state.last.get("id") == drill:
                self.report = state.last
                return state.last
            line = progress_line(state.running) if state.running else ""
            if line and line != shown:
                self.show(line)
                shown = line
            if self._clock.monotonic() >= deadline:
                raise DrillNotBegun(
                    "NoReport", "the drill is over by its time, and no scheduler has reported on it"
                )
            await self._clock.sleep(_ASK_SECONDS)

    async def _end_quietly(self, drill: str) -> None:
        """Ends a drill because its command ends; what fails then, the drill's own time ends."""
        try:
            async with asyncio.timeout(_CONFIRMED_WITHIN_SECONDS):
                await self._say_end(drill)
                while self.report is None:
                    state, taken_in = await self.state()
                    if state.last is not None and state.last.get("id") == drill:
                        self.report = state.last
                    elif state.running is None and taken_in not in ("", drill):
                        return  # it was never begun
                    await self._clock.sleep(_ASK_SECONDS)
        except (HubError, TimeoutError):
            self.show("the drill is not ended from here; it ends by itself when its time is over")


def runs_text(running: Drill) -> str:
    """That a drill runs, with the way out."""
    by = f" by {running.by}" if running.by else ""
    return f"a drill of {running.site}{by} runs; wait, or end it with kapok drill end"


def progress_line(running: Drill) -> str:
    """How far a drill is, as one line."""
    count = len(running.work) + running.unmeasured
    if running.detection_seconds is None:
        return f"{running.site} is treated as lost; {count} workloads run there"
    ordered = [one for one in running.work if one.order_seconds is not None]
    ready = sum(1 for one in ordered if one.ready_seconds is not None)
    return (
        f"{running.site} counts as silent after {running.detection_seconds:.1f} s; "
        f"{len(ordered)} of {count} ordered elsewhere, {ready} ready"
    )


def as_running_report(running: Drill) -> Report:
    """A drill that runs, in the JSON form of `kapok drill show`."""
    found: Report = msgspec.to_builtins(running)
    return {**found, "endedAt": None, "line": progress_line(running)}
