"""A gate of evictions over some sites, whose time a test moves second by second."""

from scheduler.control.events.storm_notices import StormNotices
from scheduler.control.failover.freeze_record import FreezeRecord
from scheduler.control.failover.freeze_sync import SUBJECT, FreezeSync
from scheduler.control.failover.freeze_word import (
    EVICTIONS_MAP,
    FreezeWord,
    freeze_body,
    read_evictions,
)
from scheduler.control.failover.storm_gate import StormGate
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE
from scheduler.model.site_health import HealthLimits
from scheduler.model.storm import StormLimits, StormState
from tests.support.control_loops import EPOCH, ControlLoops
from tests.support.null_telemetry import NullTelemetry
from tests.support.sites import Raw, nodes, site

LIMITS = StormLimits(full_per_second=10.0, reduced_per_second=2.0)
SETTLE = int(LIMITS.settle_seconds)


class FreezeCounts(NullTelemetry):
    """Keeps the reason of each freeze that is counted."""

    def __init__(self) -> None:
        self.freezes: list[str] = []

    def count_freeze(self, reason: str) -> None:
        self.freezes.append(reason)


class StormRig:
    """A gate over some sites, whose time the test moves second by second."""

    def __init__(self, *, sites: int = 5, province: str = "", ring: str = "") -> None:
        self.loops = ControlLoops()
        self.loops.sites.limits = HealthLimits()
        self.connected: float | None = self.loops.clock.monotonic()
        self.gate = StormGate(
            sites=self.loops.sites,
            clock=self.loops.clock,
            limits=LIMITS,
            connected_since_seconds=lambda: self.connected,
        )
        self.counts = FreezeCounts()
        notices = StormNotices(
            events=self.loops.events,
            telemetry=self.counts,
            subject=SUBJECT,
            instant=self.gate.instant,
        )
        self.record = FreezeRecord(
            recorder=self.loops.recorder,
            gate=self.gate,
            clock=self.loops.clock,
            faults=self.loops.faults,
            epoch=lambda: EPOCH,
        )

        def on_change(before: StormState, after: StormState) -> None:
            notices.on_change(before, after)
            self.record.on_change(before, after)

        self.gate.on_change = on_change
        self.sync = FreezeSync(
            hub=self.loops.hub,
            gate=self.gate,
            clock=self.loops.clock,
            faults=self.loops.faults,
        )
        self.names = [f"m{number}" for number in range(sites)]
        self.province, self.ring = province, ring

    def objects(self) -> list[Raw]:
        found = []
        for number, name in enumerate(self.names):
            raw = site(name, nodes(8), observedAt="2026-11-24T08:00:00Z")
            is_first = number < 2
            far = self.province and is_first
            location = {"province": self.province if far else "CN-GD"}
            domains = [self.ring, self.ring, ""] if self.ring and is_first else []
            raw["spec"] = {**raw["spec"], "location": {**location, "failureDomains": domains}}
            found.append(raw)
        return found

    def pass_seconds(self, seconds: int, *reporting: str) -> None:
        """Lets seconds pass, in each of which some sites report and the gate looks."""
        for _ in range(seconds):
            self.loops.clock._seconds += 1  # noqa: SLF001 - a jump, which wakes no loop
            for name in reporting:
                self.loops.report(site(name, nodes(8)))
            self.loops.clock_events._check_health()  # noqa: SLF001 - one round of the loop
            self.gate.look()

    def reasons(self) -> list[str]:
        found = []
        while body := self.loops.events.pending.pop():
            if body["involvedObject"]["kind"] == "ConfigMap":
                found.append(body["reason"])
        return found

    async def say(self, word: FreezeWord) -> None:
        body = freeze_body(word)
        await self.loops.hub.apply(CONFIG_MAPS, body, field_manager="test")
        await self.sync.sync()

    async def state(self) -> dict[str, object]:
        body = await self.loops.hub.get(CONFIG_MAPS, EVICTIONS_MAP, NAMESPACE)
        return read_evictions(body)[0]
