"""Energy totals: two agents on copies of one disk are noticed, and each counts for itself."""

import asyncio
from typing import Any

import pytest

from agents.protocol.hub_requests import HigherBoot
from agents.protocol.report import Report, ReportedEnergy
from tests.support.fake_clock import FakeClock
from tests.unit.mqtt.test_ingest_freshness import Hub, report, sealed

A = {"boot_id": "a", "boot_number": 1}
B = {"boot_id": "b", "boot_number": 2}


class Copies(Hub):
    """A hub, and the agents that report to it under one identity."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.sequence = 0

    def says(self, boot: dict[str, Any], joules: float | None, counter: str = "c") -> None:
        """One agent reports its total."""
        self.sequence += 1
        energy = ReportedEnergy(counter_id=counter, it_joules=joules, unmeasured_seconds=1.0)
        said: Report = report(self.sequence, self.nonces, energy=energy, **boot)
        self.receive(sealed(said))

    def asked(self) -> list[tuple[str, int]]:
        """Who was asked to count as a later boot since the last call: id of its boot, number."""
        asyncio.run(self.clock.advance(2.0))
        self.asker.ask_due()
        told: list[HigherBoot] = [one for *_, one in self.requests.sent if one]
        self.requests.sent.clear()
        return [(one.boot_id, one.above) for one in told]


def test_a_counter_that_grows_is_left_alone_over_restarts() -> None:
    hub = Copies()
    for boot, joules in ((A, 100.0), (A, 100.0), (A, None), (A, 150.0), (B, 150.0), (B, 170.0)):
        hub.says(boot, joules)
    assert (hub.bad, hub.asked()) == ([], [])


def test_a_total_that_falls_is_named_and_its_agent_begins_anew() -> None:
    hub = Copies()
    hub.says(A, 150.0)
    hub.says(B, 120.0)
    assert (hub.bad, hub.asked()) == (["energy-counter"], [("b", 2)])
    hub.says({"boot_id": "b2", "boot_number": 3}, 5.0, counter="d")
    assert (hub.bad, hub.asked()) == (["energy-counter"], [])


def test_a_second_agent_is_noticed_also_if_the_totals_grow() -> None:
    hub = Copies()
    hub.says(A, 150.0)
    hub.says(B, 200.0)
    hub.says(A, 160.0)  # of a boot that is over, and it carries the newest nonce
    assert (hub.bad, hub.asked()) == (["stale"], [("a", 2)])
    hub.says(B, 210.0)
    assert (hub.bad[1:], hub.asked()) == (["energy-counter"], [("b", 2)])


def test_two_that_take_turns_are_said_at_the_third_time(caplog: pytest.LogCaptureFixture) -> None:
    hub = Copies()
    hub.says(B, 1.0)
    for _ in range(5):
        hub.says(A, 1.0)
    [said] = [one.getMessage() for one in caplog.records]
    assert said.startswith("Site m1: two agents with one identity take turns as agent main")


def test_an_agent_that_keeps_its_counter_is_not_asked_for_ever() -> None:
    hub = Copies()
    hub.says(A, 150.0)
    for number in range(2, 12):
        hub.says({"boot_id": f"b{number}", "boot_number": number}, 120.0)
    assert hub.bad == ["energy-counter"] * 3


@pytest.mark.parametrize("joules", [0.0, None])
def test_a_total_that_is_gone_has_fallen(joules: float | None) -> None:
    hub = Copies()
    hub.says(A, 150.0)
    hub.says(A, joules)
    assert hub.bad == ([] if joules is None else ["energy-counter"])
