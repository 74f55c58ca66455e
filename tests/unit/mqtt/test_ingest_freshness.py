"""Ingest: what is withheld does not look fresh, and what was received is not received again."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from agents.protocol.delta import canonicalise_report, compute_delta
from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.report import (
    REPORT,
    REPORT_DELTA,
    FreeRow,
    Report,
    ReportedExecutor,
    ReportedIntensity,
    ReportedNodeClass,
    ReportedPower,
)
from agents.protocol.status import SITE_STATUS, SiteStatusMessage
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import OrderStatusReport, SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Site
from scheduler.mqtt.ingest import Ingest, OpenedMessage
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.received_messages import ReceivedMessages
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.nonces import asker_that_sends, carried
from tests.support.null_telemetry import NullTelemetry

KEY = SigningKey(bytes(range(32)))
GOLDEN = Path(__file__).parents[1] / "agents" / "protocol" / "golden"
Sealed = tuple[str, bytes]


class Hub(NullTelemetry):
    """One process of a hub: from the messages of the site m1 to what is known of it."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        asker: str = "hub-1",
        received: ReceivedMessages | None = None,
        **more: Any,  # noqa: ANN401 - fields of SiteAsker
    ) -> None:
        self.clock, self.bad = clock, list[str]()
        faults = make_faults(clock)
        objects = HubObjects(telemetry=self, on_change=lambda *_: None, faults=faults)
        objects.sites["m1"] = decode_as(
            {"metadata": {"name": "m1"}, "spec": {"tier": "edge"}}, Site
        )
        self.sites = Sites(
            objects=objects, clock=clock, silent_after_seconds=45.0, facts_sink=lambda *_: None
        )
        self.sites.admit("m1")
        self.asker, self.requests = asker_that_sends(clock, asker=asker, **more)
        self.asker.admit("m1")
        self.asker.ask_due()
        keyring = Keyring()
        keyring.admit("m1", [str(KEY.public)])
        self.ingest = Ingest(
            keyring=keyring,
            listener=self,  # type: ignore[arg-type]  # a site here goes neither offline nor unadmitted
            telemetry=self,
            clock=clock,
            faults=faults,
            asker=self.asker,
            received=received or ReceivedMessages(),
        )

    def count_bad_message(self, kind: str) -> None:
        self.bad.append(kind)

    def on_report(self, report: SiteReport) -> None:
        self.sites.on_report(report)

    def on_order_status(self, report: OrderStatusReport) -> None:
        self.sites.on_order_status(report)

    def receive(self, *messages: Sealed) -> None:
        for topic, payload in messages:
            self.ingest.handle(topic, payload)

    @property
    def nonces(self) -> dict[str, str]:
        return carried(self.asker, "m1")

    @property
    def age_seconds(self) -> float:
        """Age of the site's figures, as decisions see it."""
        report = self.sites.states["m1"].report
        return self.clock.monotonic() - report.observed_seconds if report else float("inf")

    @property
    def is_ready(self) -> bool:
        return self.sites.states["m1"].is_ready


def report(
    sequence: int,
    nonces: dict[str, str] | None,
    **more: Any,  # noqa: ANN401 - fields of Report
) -> Report:
    row = FreeRow(count=3, resources={"cpu": "4"})
    words: dict[str, Any] = {
        "boot_id": "boot-1",
        "boot_number": 1,
        "observed_seconds_ago": 0.0,
        "node_classes": (ReportedNodeClass(architecture="arm64", free=(row,)),),
        "executor": ReportedExecutor(is_active=True),
    }
    return Report(site="m1", sequence=sequence, nonces=nonces, **(words | more))


def sealed(message: Any) -> Sealed:  # noqa: ANN401 - any message of an agent
    is_status = isinstance(message, SiteStatusMessage)
    codec: Any = SITE_STATUS if is_status else REPORT if message.kind == "full" else REPORT_DELTA
    topic = site_topic("m1", "status" if is_status else "report")
    return topic, seal(codec.encode(message), topic=topic, key=KEY)


def status(sequence: int, nonces: dict[str, str] | None) -> SiteStatusMessage:
    return SiteStatusMessage(
        site="m1",
        boot_id="boot-1",
        boot_number=1,
        sequence=sequence,
        observed_seconds_ago=0.0,
        is_executing=True,
        nonces=nonces,
    )


def advance(clock: FakeClock, seconds: float, *hubs: Hub) -> None:
    """Time passes, and the hubs ask what is due."""
    step_seconds = 1.0 if seconds < 60 else 10.0
    for _ in range(int(seconds / step_seconds)):
        asyncio.run(clock.advance(step_seconds))
        for hub in hubs:
            hub.asker.ask_due()


def test_a_report_withheld_for_an_hour_is_an_hour_old_and_its_site_not_ready() -> None:
    hub = Hub(clock := FakeClock())
    hub.receive(sealed(report(1, hub.nonces)))
    assert (hub.age_seconds, hub.is_ready) == (0.0, True)
    advance(clock, 5, hub)
    intensity = ReportedIntensity(gco2_per_kwh=1.0, origin="measured", observed_seconds_ago=1.0)
    power = ReportedPower(watts=1.0, origin="measured")
    withheld = sealed(report(2, hub.nonces, intensity=intensity, power=power))
    withheld_status = sealed(status(3, hub.nonces))
    advance(clock, 3600, hub)
    hub.sites.mark_silent("m1")
    hub.receive(withheld, withheld_status)
    assert hub.age_seconds >= 3600 - 60
    assert not hub.is_ready
    state = hub.sites.states["m1"]
    assert clock.monotonic() - state.last_heard_seconds >= 3600 - 60
    figures = hub.sites.status_of("m1")
    assert figures.intensity is not None
    for at in (figures.observed_at, figures.intensity.observed_at):
        assert at is not None
        assert (clock.now() - at).total_seconds() >= 3600 - 60
    advance(clock, 3, hub)
    hub.receive(sealed(report(4, hub.nonces)))
    assert (hub.age_seconds, hub.is_ready) == (0.0, True), "the answer to the next nonce"


def test_what_is_read_beside_the_loop_is_judged_by_its_nonce_when_it_is_applied() -> None:
    hub = Hub(clock := FakeClock())
    read: list[OpenedMessage] = []
    for made in (report(1, hub.nonces), status(2, hub.nonces), report(3, {})):
        opened = hub.ingest.open(*sealed(made))
        assert opened is not None
        one = hub.ingest.read(opened)
        assert one is not None
        read.append(one)
    assert (hub.bad, hub.is_ready) == ([], False)
    hub.asker.ask_now("m1")
    hub.asker.ask_due()
    advance(clock, 30)
    assert [hub.ingest.apply(one) for one in read] == [True, True, False]
    assert (hub.bad, hub.age_seconds) == (["stale"], 30.0)
    assert clock.monotonic() - hub.sites.states["m1"].last_heard_seconds == 30.0


def test_a_site_that_reports_all_the_time_stays_fresh_when_a_request_is_lost() -> None:
    hub = Hub(clock := FakeClock())
    received = hub.nonces
    for sequence in range(1, 350):
        hub.receive(sealed(report(sequence, received)))
        assert hub.age_seconds <= 4.0
        assert hub.is_ready
        before = len(hub.requests.sent)
        advance(clock, 1, hub)
        # Of two requests in a row one is lost.
        if len(hub.requests.sent) > before and len(hub.requests.sent) % 2 == 0:
            received = hub.nonces
    assert hub.bad == []


@pytest.mark.parametrize("knows_nonces", [True, False])
def test_messages_of_before_the_restart_change_nothing_after_it(
    tmp_path: Path,
    knows_nonces: bool,  # noqa: FBT001 - a case
) -> None:
    """A recorded morning, played again to the process that received it and to the next one."""

    def nonces(hub: Hub) -> dict[str, str] | None:
        return hub.nonces if knows_nonces else None

    async def morning() -> list[Sealed]:
        recorded: list[Sealed] = []
        async with ReceivedMessages(folder=tmp_path) as received:
            hub = Hub(clock, asker="hub-1", received=received)
            for sequence in range(1, 60, 3):
                base = canonicalise_report(report(sequence, nonces(hub)))
                change = compute_delta(base, dataclasses.replace(base, sequence=sequence + 1))
                some = [sealed(base), sealed(change), sealed(status(sequence + 2, nonces(hub)))]
                hub.receive(*some)
                recorded += some
            assert hub.bad == []
            known = hub.sites.states["m1"]
            hub.receive(*recorded)
            assert hub.bad == ["stale"] * len(recorded)
            assert hub.sites.states["m1"] is known
        return recorded

    async def after(recorded: list[Sealed]) -> None:
        async with ReceivedMessages(folder=tmp_path) as received:
            hub = Hub(clock, asker="hub-2", received=received)
            hub.receive(*recorded)
            assert hub.bad == ["stale"] * len(recorded)
            assert hub.age_seconds == float("inf")
            assert not hub.is_ready
            hub.receive(sealed(report(100, nonces(hub))))
            assert hub.is_ready

    clock = FakeClock()
    asyncio.run(after(asyncio.run(morning())))


def test_what_was_withheld_over_a_restart_is_not_heard() -> None:
    clock = FakeClock()
    before = Hub(clock, asker="hub-1")
    withheld = [sealed(report(1, before.nonces)), sealed(status(2, before.nonces))]
    never_asked = sealed(report(3, {}))
    hub = Hub(clock, asker="hub-2")
    hub.receive(*withheld, never_asked)
    assert hub.bad == ["stale"] * 3
    assert (hub.age_seconds, hub.is_ready) == (float("inf"), False)
    base = canonicalise_report(report(3, {}))
    change = dataclasses.replace(base, sequence=4, nonces=hub.nonces)
    hub.receive(sealed(compute_delta(base, change)))
    assert hub.is_ready, "the base is kept, and the delta proves that it is still so"


def test_two_schedulers_hear_the_same_reports_by_their_own_nonces() -> None:
    clock = FakeClock()
    leader, standby = Hub(clock, asker="leader"), Hub(clock, asker="standby")
    for sequence in range(1, 40):
        message = sealed(report(sequence, leader.nonces | standby.nonces))
        for hub in (leader, standby):
            hub.receive(message)
            assert (hub.age_seconds, hub.is_ready, hub.bad) == (0.0, True, [])
        advance(clock, 10, leader, standby)


def test_figures_of_a_second_agent_age_while_it_is_silent() -> None:
    hub = Hub(clock := FakeClock())
    power = ReportedPower(watts=100.0, origin="measured", observed_seconds_ago=2.0)
    node = {"node_classes": None, "executor": None, "power": power, "agent": "node"}
    hub.receive(sealed(report(1, hub.nonces)), sealed(report(1, hub.nonces, **node)))
    for sequence in range(2, 12):
        advance(clock, 10, hub)
        hub.receive(sealed(report(sequence, hub.nonces)))
    figures = hub.sites.status_of("m1")
    assert figures.power is not None
    assert figures.power.observed_at is not None
    assert (clock.now() - figures.power.observed_at).total_seconds() == 102.0


@pytest.mark.parametrize("requires", [False, True])
def test_recorded_payloads_of_the_version_before_count_as_heard_unless_nonces_are_required(
    requires: bool,  # noqa: FBT001 - a case
) -> None:
    hub = Hub(FakeClock(), requires_nonce=requires)
    for name, kind in (("report", "report"), ("delta", "report"), ("status", "status")):
        payload = json.loads((GOLDEN / f"payload-{name}.json").read_text()) | {"site": "m1"}
        topic = site_topic("m1", kind)  # type: ignore[arg-type]
        hub.receive((topic, seal(json.dumps(payload).encode(), topic=topic, key=KEY)))
    assert hub.is_ready is not requires
    assert hub.bad == (["stale"] * 3 if requires else [])
    assert hub.asker.agents_without_nonce("m1") != []


def test_an_agent_that_lost_its_count_is_told_and_what_it_claims_stays_its_own() -> None:
    hub = Hub(clock := FakeClock())
    huge = 2**52 - 2
    hub.receive(sealed(report(1, hub.nonces, boot_number=huge, boot_id="before")))
    hub.receive(sealed(report(1, hub.nonces, agent="other")))
    hub.receive(sealed(report(1, hub.nonces)))
    advance(clock, 3, hub)
    told = [boot for *_, boot in hub.requests.sent if boot]
    assert [(one.agent, one.boot_id, one.above) for one in told] == [("main", "boot-1", huge)]
    hub.receive(sealed(report(2, hub.nonces, boot_number=huge + 1, boot_id="next")))
    assert hub.bad == ["stale"], "the site is received again, and the other agent always was"
