"""The agent's side of nonces: what it carries, when it answers, and how it counts on."""

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.metrics.counters import Counters
from agents.mqtt.nonces import CarriedNonces, NonceAnswerer
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.router import MessageRouter
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.delta import decode_report
from agents.protocol.envelope import unseal
from agents.protocol.hub_requests import HUB_REQUEST, HigherBoot, HubNonce, HubRequest
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.data_dir import Boot, record_boot, record_higher_boot
from agents.sensors.sensor import Observation
from tests.support.fake_clock import FakeClock
from tests.support.wire_hub import WireHub


def nonce(asker: str, number: int, *, spread: float | None = None) -> HubNonce:
    return HubNonce(asker=asker, number=number, value=f"{asker}{number}", spread_seconds=spread)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5)), max_size=60))
def test_the_newest_nonce_of_each_scheduler_is_carried_and_of_few_only(
    asked: list[tuple[str, int]],
) -> None:
    carried = CarriedNonces()
    for asker, number in asked:
        before = carried.by_asker().get(asker)
        is_taken = carried.take(nonce(asker, number))
        after = carried.by_asker()
        assert len(after) <= 4
        assert is_taken == (before is None or before <= f"{asker}{number}")
        assert after[asker] == (f"{asker}{number}" if is_taken else before)


def test_nonces_that_are_played_again_push_out_no_scheduler_that_still_asks() -> None:
    carried = CarriedNonces()
    old = [nonce(f"old{i}", 1) for i in range(20)]
    for number in range(1, 30):
        assert carried.take(nonce("leader", number))
        assert carried.take(nonce("standby", number))
        for one in old[:2]:
            carried.take(one)
        assert {"leader", "standby"} <= carried.by_asker().keys()


def test_every_message_carries_the_nonces_and_an_agent_without_any_says_so() -> None:
    key = SigningKey.generate()
    builder = ReportBuilder(
        site="site-a", agent="main", boot=Boot("b", 1), key=key, full_interval_seconds=600.0
    )

    def built(now: float) -> dict[str, str] | None:
        message = builder.build_report_message(
            Observation(), None, observed_seconds_ago=0.0, now=now
        )
        payload = unseal(
            message, topic=builder.topic_of("report"), trusted=TrustedKeys([key.public])
        )
        return decode_report(payload).nonces

    assert built(0.0) == {}, "known and empty: not absent, as from a version before"
    builder.nonces.take(nonce("a", 1))
    assert built(1.0) == {"a": "a1"}, "a delta"
    builder.renew_boot(Boot("c", 2))
    assert built(2.0) == {"a": "a1"}, "a full report"


def test_a_hundred_agents_spread_their_answers_and_each_answers_once() -> None:
    clock, answered = FakeClock(), list[float]()

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number in range(100):
                answerer = NonceAnswerer(
                    nonces=CarriedNonces(),
                    answer=lambda _: answered.append(clock.monotonic()),
                    clock=clock,
                    jitter=random.Random(number),  # noqa: S311 - jitter
                )
                tasks.append(group.create_task(answerer.run()))
                for _ in range(3):
                    answerer.ask(nonce("a", 1), wants_full_report=False)
            await clock.settle()
            assert answered == [], "nobody answers in the same instant"
            await clock.advance(10.0)
            for task in tasks:
                task.cancel()

    asyncio.run(run())
    assert len(answered) == 100
    assert max(answered) < 2.0
    by_tenth = [sum(int(at / 0.2) == slot for at in answered) for slot in range(10)]
    assert max(by_tenth) <= 25, by_tenth


def test_one_answer_serves_all_that_arrive_before_it_and_a_full_report_is_not_forgotten() -> None:
    clock, answers = FakeClock(), list[bool]()

    async def run() -> None:
        answerer = NonceAnswerer(
            nonces=CarriedNonces(),
            answer=answers.append,
            clock=clock,
            jitter=random.Random(1),  # noqa: S311 - jitter
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(answerer.run())
            answerer.ask(nonce("a", 1, spread=1.0), wants_full_report=True)
            answerer.ask(nonce("b", 1, spread=1.0), wants_full_report=False)
            await clock.advance(3.0)
            assert not answerer.ask(nonce("a", 0), wants_full_report=True)
            await clock.advance(3.0)
            answerer.ask(nonce("a", 1, spread=0.0), wants_full_report=False)
            await clock.advance(3.0)
            task.cancel()

    asyncio.run(run())
    assert answers == [True, False]


class Routed:
    """A router, and what it passes on."""

    def __init__(self, folder: Path) -> None:
        self.hub = WireHub(site="site-a")
        self.calls: list[object] = []
        self.is_new = True
        self.router = MessageRouter(
            site="site-a",
            agent="main",
            intake=Intake(
                site="site-a",
                trusted_keys=TrustedKeys([self.hub.key.public]),
                journal=Journal(folder / "journal.sqlite"),
            ),
            counters=Counters(),
            on_index=lambda: None,
            on_order_content=lambda: None,
            on_order_part=lambda: None,
            on_hub_request=self.calls.append,
            on_nonce=self._on_nonce,
            on_higher_boot=self.calls.append,
        )

    def _on_nonce(self, one: HubNonce, wants_full: bool) -> bool:  # noqa: FBT001 - a callback
        self.calls.append((one.number, wants_full))
        return self.is_new

    def send(self, **words: object) -> list[object]:
        self.calls.clear()
        request = HubRequest(site="site-a", epoch=0, **words)  # type: ignore[arg-type]
        self.router.handle(*self.hub.sealed("hub", HUB_REQUEST.encode(request)))
        return self.calls


def test_what_comes_with_a_nonce_is_answered_with_it_and_the_rest_at_once(tmp_path: Path) -> None:
    routed = Routed(tmp_path)
    wants = ("status", "full-report", "fetch", "index-proof", "a word of later")
    assert routed.send(wants=wants, nonce=nonce("a", 1)) == [(1, True), "fetch", "index-proof"]
    assert routed.send(wants=("status",), nonce=nonce("a", 2)) == [(2, True)]
    routed.is_new = False
    assert routed.send(wants=("status",), nonce=nonce("a", 1)) == [(1, True), "status"]
    assert routed.send(wants=("full-report",)) == ["full-report"]
    boot = HigherBoot(agent="main", boot_id="b", above=7)
    assert routed.send(higher_boot=boot) == [boot]
    assert routed.send(agent="another", higher_boot=boot) == []


def test_a_nonce_that_the_hub_did_not_sign_is_not_carried(tmp_path: Path) -> None:
    routed = Routed(tmp_path)
    routed.hub.key = SigningKey.generate()
    assert routed.send(nonce=nonce("a", 1)) == []


@pytest.mark.parametrize("above", [1, 57, 2**52 - 2])
def test_a_higher_boot_is_on_disk_before_it_is_used_and_the_next_start_counts_on(
    tmp_path: Path, above: int
) -> None:
    lost = record_boot(tmp_path)
    renewed = record_higher_boot(tmp_path, above)
    assert renewed is not None
    assert (renewed.number, renewed.id != lost.id) == (above + 1, True)
    assert (tmp_path / "boots").read_text() == str(above + 1)


@pytest.mark.parametrize("above", [2**52 - 1, 2**52, -1])
def test_a_count_is_never_brought_to_its_end(tmp_path: Path, above: int) -> None:
    record_boot(tmp_path)
    assert record_higher_boot(tmp_path, above) is None
    assert record_boot(tmp_path).number == 2
