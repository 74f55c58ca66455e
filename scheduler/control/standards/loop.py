"""The loop that writes the standard objects behind everything else.

It asks at most every minute which of the kinds the hub serves; without them it does nothing else,
and no workload costs anything. It compares what the hub holds with what it should hold, so that a
pass that was cut off, or a write that was dropped, is made good by the next one.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from scheduler.control.ports.hub import ApiResource, HubError, NotFound, Refused
from scheduler.control.standards.decisions import DecisionMirror
from scheduler.control.standards.names import (
    CLUSTER_PROFILES,
    PLACEMENT_DECISIONS,
    STANDARD_RESOURCES,
)
from scheduler.control.standards.profiles import ProfileMirror
from scheduler.control.standards.requests import StandardRequests
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

_PASS_SECONDS, _IDLE_SECONDS = 1.0, 60.0
_MAX_PASS_SECONDS, _PAUSE_PER_PASS = 10.0, 20.0
"""Passes over a large fleet take at most a twentieth of the time: 70 ms over 10,000 sites and
workloads are followed by 1.4 s."""
_DISCOVERY_SECONDS = 60.0
_LIST_SECONDS = 600.0
"""What another client has changed or deleted is made good this often."""
_FIGURES_SECONDS_PER_PASS = 2.0
_MAX_PAUSE_SECONDS: Final = 60.0

IsServed = Callable[[ApiResource], Awaitable[bool]]
"""Whether the hub serves a kind; raises `HubError` when it does not answer."""


@dataclass(slots=True, kw_only=True)
class StandardsLoop:
    """Keeps ClusterProfiles and PlacementDecisions as the sites and workloads are.

    Attributes:
        profiles: the ClusterProfiles.
        decisions: the PlacementDecisions; None: they are switched off. They refer to profiles of
            ours, so they are written only beside them.
        requests: writes to the hub.
        is_served: asks whether the hub serves a kind.
        clock: for the intervals.
        faults: handles what fails.
        jitter: draws the pauses while the hub fails.
    """

    profiles: ProfileMirror
    decisions: DecisionMirror | None
    requests: StandardRequests
    is_served: IsServed
    clock: Clock
    faults: Faults
    jitter: random.Random
    _served: frozenset[ApiResource] = frozenset()
    _asked_seconds: float = field(default=float("-inf"), init=False)
    _listed_seconds: float = field(default=float("-inf"), init=False)

    async def run(self) -> None:
        """Runs until cancelled."""
        backoff = JitteredBackoff(
            first_seconds=2 * _PASS_SECONDS,
            max_seconds=_MAX_PAUSE_SECONDS,
            min_seconds=_PASS_SECONDS,
            jitter=self.jitter,
        )
        while True:
            pause, begin = _PASS_SECONDS, self.clock.monotonic()
            with self.faults.barrier("standards", "pass"):
                trouble = await self.write_due()
                if trouble is None:
                    backoff.reset()
                    took = self.clock.monotonic() - begin
                    long = min(_MAX_PASS_SECONDS, _PAUSE_PER_PASS * took)
                    pause = max(_PASS_SECONDS, long) if self._served else _IDLE_SECONDS
                else:
                    pause = backoff.next_seconds(trouble.retry_after_seconds)
            await self.clock.sleep(max(pause, self.faults.pause_seconds("standards", "pass")))

    async def write_due(self) -> HubError | None:
        """Makes one pass; returns what the hub says if it does not serve the scheduler."""
        try:
            await self._discover()
            if CLUSTER_PROFILES in self._served:
                await self._list_when_due()
            if CLUSTER_PROFILES in self._served:
                await self._write()
        except HubError as error:
            _log.debug("standard objects wait: %s", error)
            return error
        return None

    async def _discover(self) -> None:
        """Asks which kinds the hub serves, if that was not asked lately."""
        now = self.clock.monotonic()
        if now - self._asked_seconds < _DISCOVERY_SECONDS:
            return
        wanted = STANDARD_RESOURCES if self.decisions is not None else (CLUSTER_PROFILES,)
        served = frozenset([one for one in wanted if await self.is_served(one)])
        self._asked_seconds = now
        if served != self._served:
            self._begin_again(served)

    def _begin_again(self, served: frozenset[ApiResource]) -> None:
        self._served, self._listed_seconds = served, float("-inf")
        self.requests.forget_refusals()
        self.profiles.forget()
        if self.decisions is not None:
            self.decisions.forget()

    async def _list_when_due(self) -> None:
        """Lists what the hub has; kinds that may not be listed are left alone for a while."""
        now = self.clock.monotonic()
        if now - self._listed_seconds < _LIST_SECONDS:
            return
        try:
            await self.profiles.list_written()
            if self.decisions is not None and PLACEMENT_DECISIONS in self._served:
                await self.decisions.list_written()
        except (NotFound, Refused) as error:
            _log.info("standard objects are not written: %s", error)
            self._begin_again(frozenset())
            return
        self._listed_seconds = now
        self.requests.forget_refusals()

    async def _write(self) -> None:
        """Profiles first, then decisions that refer to them; no reference is left in the air."""
        profiles = self.profiles
        await profiles.write_changed()
        profiles.update_referable()
        is_complete = True
        if self.decisions is not None and PLACEMENT_DECISIONS in self._served:
            await self.decisions.write_changed(profiles.referable, profiles.version)
            is_complete = self.decisions.is_complete
        if is_complete:
            await profiles.delete_gone()
        await profiles.write_figures(self.clock.monotonic() + _FIGURES_SECONDS_PER_PASS)
